"""A node that records: what it saw is in the file, also when it is killed; `dscsnet record`."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from dscsnet.pipeline.commands.record import record
from dscsnet.pipeline.config import Batching, Http, Inputs, Join, NodeConfig, Output, Overload
from dscsnet.pipeline.messages import End, Message, Targets, encode
from dscsnet.pipeline.recording import side_tap
from dscsnet.pipeline.recording.compare import Tolerance, compare, load_answers
from dscsnet.pipeline.recording.names import RecordingError
from dscsnet.pipeline.recording.reader import RecordingReader, recording_files
from dscsnet.pipeline.recording.settings import Recording
from dscsnet.pipeline.recording.side_tap import run_side_tap
from dscsnet.pipeline.replay import PlaySettings, play_recording
from dscsnet.pipeline.sockets import Channel, Receiver, Sender

ROOT = Path(__file__).parents[3]
LOCAL = "tcp://127.0.0.1:*"
START_S, WAIT_S = 180, 60


def picture(number: int) -> np.ndarray:
    generator = np.random.default_rng(number)
    pixels = generator.normal(1000, 5, (64, 64))
    pixels[30:33, 30:33] += [[60, 150, 60], [150, 400, 150], [60, 150, 60]]
    return pixels.astype(np.uint16)


def test_two_replays_of_a_recording_give_the_same_targets(harness: Any, tmp_path: Path) -> None:
    """Recorded in a node, replayed twice through one that records, compared."""
    options = {
        "overload": Overload(mode="lossless"),
        "join": Join(timeout_ms=30_000),
        "batch": Batching(across_frames=False),
    }
    first = tmp_path / "first.mcap"
    with harness(record=Recording(file=str(first)), **options) as it:
        for number in range(8):
            it.send_frame(number, picture(number))
            it.send_detections(
                number, [31.0, 10.0, 45.5][: number % 4], [31.0, 12.0, 50.0][: number % 4]
            )
        it.frames.send(End("cam", it.epoch, 7, 7))
        answers = [it.receive() for _ in range(9)]
        state = it.heartbeat().body["recorder"]
        assert state["dropped"] == {}
        assert state["error"] == ""
        status, page = it.get("metrics")
        assert status == 200
        assert "dscsnet_recorder_failing 0.0" in page
        assert 'dscsnet_recorder_written_total{kind="frame"}' in page or state["written"] == {}
    reader = RecordingReader(recording_files([str(tmp_path / "first-*.mcap")]))
    recorded = list(reader.messages())
    kept = [[bytes(p) for p in r.parts] for r in recorded if r.source == "targets"]
    assert [parts for parts in kept if not parts[0].startswith(b"status")] == [
        [bytes(p) for p in encode(answer)] for answer in answers
    ]
    frames = [r for r in recorded if r.message.kind == "frame"]
    assert [bytes(r.parts[2]) for r in frames] == [picture(n).tobytes() for n in range(8)]
    for name in ("again", "twice"):
        with harness(record=Recording(file=str(tmp_path / f"{name}.mcap")), **options) as it:
            source = {"frames": it.frames, "detections": it.detections}
            for sender in source.values():
                sender.close()
            play_recording(
                reader,
                PlaySettings(
                    frames=Channel(it.frames.endpoint, bind=True),
                    detections=Channel(it.detections.endpoint, bind=True),
                    rate=None,
                    wait_s=WAIT_S,
                ),
            )
            while not isinstance(it.receive(), End):
                pass
    runs = [load_answers(str(tmp_path / f"{n}-0001.mcap")) for n in ("first", "again", "twice")]
    for other in runs[1:]:
        outcome = compare(runs[0], other, Tolerance())
        assert outcome.is_equal, outcome.differences
        assert outcome.frames == 8
    assert sum(len(answer.targets["x"]) for answer in runs[0].values()) > 0


def test_a_recording_that_cannot_begin_stops_the_node_at_its_start(
    harness: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(AssertionError, match="cannot be recorded to"),
        harness(record=Recording(file=str(tmp_path / "file" / "out.mcap"))),
    ):
        pass


def test_a_node_that_is_killed_leaves_a_readable_recording(tmp_path: Path, scene: Any) -> None:
    with (
        Sender(Channel(LOCAL, bind=True)) as frames,
        Sender(Channel(LOCAL, bind=True)) as detections,
        Receiver(Channel(LOCAL, bind=True), kinds=("targets",)) as targets,
    ):
        config = NodeConfig(
            inputs=Inputs(
                frames=Channel(frames.endpoint, bind=False),
                detections=Channel(detections.endpoint, bind=False),
            ),
            output=Output(targets=Channel(targets.endpoint, bind=False), wait_s=START_S),
            record=Recording(file=str(tmp_path / "out.mcap")),
            http=Http(enabled=False),
        )
        (tmp_path / "node.yaml").write_bytes(msgspec.yaml.encode(config))
        command = [
            sys.executable,
            "-m",
            "dscsnet.pipeline",
            "node",
            "-c",
            str(tmp_path / "node.yaml"),
        ]
        with (tmp_path / "log").open("wb") as log:
            node = subprocess.Popen(command, cwd=ROOT, stderr=log)
        try:
            peers = _serve(targets, lambda: frames.wait_for_peers(1, 0.05), START_S)
            assert peers, (tmp_path / "log").read_text()
            assert detections.wait_for_peers(1, 30)
            epoch = b"k" * 16
            for number in range(20):
                for sender, message in (
                    (frames, scene("cam", epoch).frame(number)),
                    (detections, scene("cam", epoch).detections(number)),
                ):
                    sender.send(message)
                answer = targets.receive(WAIT_S * 1000)
                assert isinstance(answer, Targets)
            # Nothing more comes, and nobody closes the file: what came is in it soon all the same.
            assert _serve(targets, lambda: _recorded(tmp_path) == set(range(20)), WAIT_S)
            os.kill(node.pid, signal.SIGKILL)
        finally:
            node.kill()
            node.wait()
    reader = RecordingReader(recording_files([str(tmp_path)]))
    assert reader.lost, "a killed node writes no end"
    assert _recorded(tmp_path) == set(range(20))


def _recorded(folder: Path) -> set[int]:
    """Numbers of the frames that a recording under way holds."""
    try:
        reader = RecordingReader(recording_files([str(folder)]))
    except RecordingError:  # not one message yet
        return set()
    return {recorded.message.frame_id for recorded in reader.messages(("frame",))}


def _serve(receiver: Receiver, done: Callable[[], object], limit_s: float) -> bool:
    """Wait for something while a receiver looks after its connection."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        receiver.receive(0)
        if done():
            return True
    return False


def test_the_side_tap_records_all_channels(tmp_path: Path, scene: Any) -> None:
    stop, ready = threading.Event(), threading.Event()
    with (
        Sender(Channel(LOCAL, bind=True)) as frames,
        Sender(Channel(LOCAL, bind=True)) as detections,
        Sender(Channel(LOCAL, bind=True)) as targets,
    ):
        senders = {"frames": frames, "detections": detections, "targets": targets}
        channels = {name: Channel(sender.endpoint, bind=False) for name, sender in senders.items()}
        settings = Recording(file=str(tmp_path / "out.mcap"), segment_s=0, segment_mib=0)
        written: dict[str, int] = {}

        def tap() -> None:
            written.update(
                run_side_tap(
                    channels,  # type: ignore[arg-type]
                    settings,
                    streams=["cam"],
                    exit_on_end=True,
                    stop=stop,
                    ready=ready.set,
                )
            )

        thread = threading.Thread(target=tap)
        thread.start()
        try:
            assert ready.wait(30)
            for sender in senders.values():
                assert sender.wait_for_peers(1, 30)
            messages: list[tuple[str, Message]] = scene().all(5)
            frames.send(scene("another").frame(0))
            frames.socket.send_multipart([b"frame/cam", b"no map", b""])
            for source, message in messages:
                senders[source].send(message)
            thread.join(60)
        finally:
            stop.set()
            thread.join(30)
    assert written == {"frame": 5, "detections": 5, "targets": 5, "end": written["end"]}
    recorded = list(RecordingReader([tmp_path / "out.mcap"]).messages(("frame", "targets")))
    assert {r.message.stream for r in recorded} == {"cam"}
    got = [[bytes(p) for p in r.parts] for r in recorded if r.message.kind == "frame"]
    assert got == [[bytes(p) for p in encode(scene().frame(n))] for n in range(5)]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["out.bag"], "a name that ends with .mcap"),
        (
            ["out.mcap", *(f"--bind={each}" for each in "kbzamcxd")],
            "expected frames, detections or targets, got ['a', 'b', 'c', 'd', 'k', 'm', 'x', 'z']",
        ),
        (["out.mcap", "--server", "frames="], "expected frames=FILE"),
        (["out.mcap", "--server", "frames"], "expected frames=FILE"),
        (["out.mcap", "--server", "camera=a.key"], "expected frames=FILE"),
        (["out.mcap", "--frames", "5550"], "expected tcp://host:port"),
        (
            ["out.mcap", "--frames", "none", "--detections", "none", "--targets", "none"],
            "all channels are left out",
        ),
    ],
)
def test_wrong_use_is_told(arguments: list[str], complaint: str) -> None:
    app = typer.Typer()
    app.command()(record)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert complaint in " ".join(result.output.replace("│", " ").split())


def test_the_command_says_what_it_recorded_and_passes_its_options_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    written: Counter[str] = Counter()

    def run(channels: Any, settings: Any, **options: Any) -> Counter[str]:
        asked.update(options, channels=channels, settings=settings)
        return written

    monkeypatch.setattr(side_tap, "run_side_tap", run)
    app = typer.Typer()
    app.command()(record)
    given = ["--detections", "none", "--bind", "frames", "--stream", "a", "--seconds", "2.5"]
    given += ["--segment-s", "5", "--queue-messages", "7", "--no-sync", "--exit-on-end"]
    for numbers, words in (
        ({"targets": 4, "frame": 3, "end": 1, "detections": 2}, "2 detections, 1 end, 3 frame"),
        ({}, "nothing came"),
    ):
        written = Counter(numbers)
        result = CliRunner().invoke(app, [str(tmp_path / "out.mcap"), *given])
        assert result.exit_code == 0
        assert words in result.output
    assert list(asked["channels"]) == ["frames", "targets"]
    assert [channel.bind for channel in asked["channels"].values()] == [True, False]
    assert (asked["streams"], asked["seconds"], asked["exit_on_end"]) == (["a"], 2.5, True)
    settings = asked["settings"]
    assert (settings.segment_s, settings.segment_mib, settings.queue_messages) == (5.0, 0.0, 7)
    assert (settings.sync, settings.annotations, settings.images) == (False, True, False)
    assert CliRunner().invoke(app, [str(tmp_path / "out.mcap")]).exit_code == 0
    plain = Recording(file=str(tmp_path / "out.mcap"), segment_s=0.0, segment_mib=0.0)
    assert asked["settings"] == plain  # one file, whatever its size
    assert (asked["streams"], asked["seconds"], asked["exit_on_end"]) == ([], None, False)
    endpoints = [channel.endpoint for channel in asked["channels"].values()]
    assert endpoints == [f"tcp://127.0.0.1:{port}" for port in (5550, 5551, 5552)]


def test_the_command_records_for_a_time(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(record)
    given = ["--frames", "tcp://127.0.0.1:9", "--detections", "none", "--targets", "none"]
    path = tmp_path / "out.mcap"
    result = CliRunner().invoke(app, [str(path), *given, "--seconds", "0.1"])
    assert result.exit_code == 0
    path.write_bytes(b"")
    result = CliRunner().invoke(app, [str(path), *given, "--seconds", "0.1"])
    assert isinstance(result.exception, RecordingError)

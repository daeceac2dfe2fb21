"""A replay sends every frame once, in order, then `end`, whatever ends it."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from dscsnet.pipeline.commands import replay as command_module
from dscsnet.pipeline.commands.progress import plain_progress, summary
from dscsnet.pipeline.commands.replay import replay
from dscsnet.pipeline.errors import ChannelError, SourceError
from dscsnet.pipeline.messages import End, Frame, Message
from dscsnet.pipeline.replay import ReplayReport, ReplaySettings, run_replay
from dscsnet.pipeline.replay import frames as replay_module
from dscsnet.pipeline.sockets import Channel, Receiver
from dscsnet.pipeline.sources import Source, open_source

CHANNEL = Channel("tcp://127.0.0.1:*", bind=True)


def replayed(source: Source, **options: Any) -> ReplayReport:
    """Replay with `ReplaySettings`, `stop` and `progress` by their names."""
    run = {key: options.pop(key) for key in ("stop", "progress") if key in options}
    return run_replay(source, ReplaySettings(**options), **run)


class RecordingSender:
    """Takes the place of the socket: keeps messages, refuses while `full` returns True."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.waits: list[int] = []
        self.lossless: bool | None = None
        self.endpoint = "tcp://fake"
        self.peers = 1
        self.full: Callable[[Message], bool] = lambda message: False

    def __call__(self, channel: Channel, *, lossless: bool) -> "RecordingSender":
        self.channel, self.lossless = channel, lossless
        return self

    def __enter__(self) -> "RecordingSender":
        return self

    def __exit__(self, *_exception: object) -> None:
        pass

    def hurry(self, linger_ms: int) -> None:
        self.waits.append(linger_ms)

    def wait_for_peers(self, count: int, timeout_s: float) -> int:
        # A PUSH cannot count: one peer is as good as all.
        return count if self.peers and self.channel.kind == "pushpull" else self.peers

    def send(self, message: Message, timeout_ms: int = 0) -> bool:
        self.waits.append(timeout_ms)
        if self.full(message):
            return False
        self.messages.append(message)
        return True

    @property
    def frames(self) -> list[Frame]:
        return [message for message in self.messages if isinstance(message, Frame)]


@pytest.fixture
def sender(monkeypatch: pytest.MonkeyPatch) -> RecordingSender:
    recording = RecordingSender()
    monkeypatch.setattr(replay_module, "Sender", recording)
    return recording


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Six frames with times 1 ms apart; every pixel of frame k is k."""
    frames = np.broadcast_to(np.arange(6, dtype=np.uint16)[:, None, None], (6, 8, 9))
    path = tmp_path / "stack.npz"
    np.savez(path, frames=frames, timestamps_ns=10**18 + np.arange(6) * 1_000_000)
    return path


def assert_complete(messages: list[Message], frames: int) -> None:
    """One epoch; frame_id 0, 1, ... and then one `end` with the last of them."""
    assert [type(message) for message in messages] == [Frame] * frames + [End]
    assert [message.frame_id for message in messages] == [*range(frames), frames - 1]
    assert len({message.epoch for message in messages}) == 1
    times = [message.timestamp_ns for message in messages]
    assert times == sorted(times)


def test_passes_share_one_epoch_and_count_on(sender: RecordingSender, stack: Path) -> None:
    seen = []
    with open_source(stack, start=1) as source:
        report = replayed(
            source,
            channel=CHANNEL,
            stream="cam7",
            rate_hz=None,
            loop=3,
            saturation=4000.0,
            progress=lambda frames, total: seen.append((frames, total)),
        )
    assert_complete(sender.messages, 15)
    assert [int(frame.pixels[0, 0]) for frame in sender.frames] == [1, 2, 3, 4, 5] * 3
    assert {(frame.stream, frame.saturation) for frame in sender.frames} == {("cam7", 4000.0)}
    assert seen == [(number, 15) for number in range(1, 16)]
    assert (report.frames, report.passes, report.dropped) == (15, 3, 0)
    assert not report.interrupted
    assert sender.lossless
    # Recorded times, going on at the mean interval from pass to pass.
    first = 10**18 + 1_000_000
    assert [frame.timestamp_ns for frame in sender.frames] == [
        first + number * 1_000_000 for number in range(15)
    ]


def test_every_run_has_its_own_epoch(sender: RecordingSender, stack: Path) -> None:
    with open_source(stack) as source:
        for _run in range(2):
            replayed(source, channel=CHANNEL, stream="cam0", rate_hz=None)
    assert len({message.epoch for message in sender.messages}) == 2


@pytest.mark.parametrize(
    ("rate_hz", "kind", "lossless"),
    [(None, "pubsub", True), (1e5, "pubsub", False), ("recorded", "pushpull", True)],
)
def test_what_is_lossless(
    sender: RecordingSender, stack: Path, rate_hz: float, kind: str, lossless: bool
) -> None:
    channel = Channel("tcp://127.0.0.1:*", bind=True, kind=kind)  # type: ignore[arg-type]
    with open_source(stack) as source:
        replayed(source, channel=channel, stream="cam0", rate_hz=rate_hz)
    assert sender.lossless is lossless
    assert_complete(sender.messages, 6)


def test_lossless_waits_for_room(sender: RecordingSender, stack: Path) -> None:
    refusals = iter([True, True, False] * 100)
    sender.full = lambda message: next(refusals)
    with open_source(stack) as source:
        report = replayed(source, channel=CHANNEL, stream="cam0", rate_hz=None)
    assert_complete(sender.messages, 6)
    assert report.dropped == 0


def test_live_counts_what_found_no_room(sender: RecordingSender, stack: Path) -> None:
    sender.full = lambda message: isinstance(message, Frame) and message.frame_id in (2, 3)
    with open_source(stack) as source:
        report = replayed(source, channel=CHANNEL, stream="cam0", rate_hz=1e5)
    assert [message.frame_id for message in sender.messages] == [0, 1, 4, 5, 5]
    assert (report.frames, report.dropped) == (4, 2)


@pytest.mark.parametrize("blocked", [False, True])
def test_a_stop_ends_the_stream_properly(
    sender: RecordingSender, stack: Path, blocked: bool
) -> None:
    stop = threading.Event()

    def full(message: Message) -> bool:
        if message.frame_id == 4:
            stop.set()
        return blocked and isinstance(message, Frame) and message.frame_id == 4

    sender.full = full
    with open_source(stack) as source:
        report = replayed(source, channel=CHANNEL, stream="cam0", rate_hz=None, loop=0, stop=stop)
    assert report.interrupted
    assert_complete(sender.messages, 4 if blocked else 5)


def test_a_source_that_fails_still_ends_the_stream(sender: RecordingSender, tmp_path: Path) -> None:
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((5, 6), np.uint8))
    (tmp_path / "3.png").write_bytes(b"no image")
    with open_source(tmp_path) as source, pytest.raises(SourceError, match=r"3\.png: damaged"):
        replayed(source, channel=CHANNEL, stream="cam0", rate_hz=None)
    assert_complete(sender.messages, 3)


def test_a_blocking_call_keeps_a_stop_waiting_for_100_ms_and_the_end_for_2_s(
    sender: RecordingSender, stack: Path
) -> None:
    stop = threading.Event()

    def full(message: Message) -> bool:
        if message.frame_id == 1:
            stop.set()
        return isinstance(message, Frame) and message.frame_id == 1

    sender.full = full
    with open_source(stack) as source:
        replayed(source, channel=CHANNEL, stream="cam0", rate_hz=None, stop=stop)
    assert sender.waits == [100, 100, 2000, 2000]  # frame, frame, in a hurry, end
    assert_complete(sender.messages, 1)


def test_frames_over_a_millisecond_late_are_counted_and_the_worst_is_told(
    sender: RecordingSender, stack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = [0, 1_000_000, 1_000_001, 7_500_000, 2_000_000, 0]
    monkeypatch.setattr(replay_module.Pacer, "wait", lambda _, number: late[number])
    with open_source(stack) as source:
        report = replayed(source, channel=CHANNEL, stream="cam0")
    assert (report.frames, report.late, report.worst_late_ms) == (6, 3, 7.5)


def test_missing_peers_are_an_error(sender: RecordingSender, stack: Path) -> None:
    with open_source(stack) as source:
        expected = "1 of 2 subscribers came within 0 s"
        with pytest.raises(ChannelError, match=expected):
            replayed(source, channel=CHANNEL, stream="cam0", expected_peers=2, wait_s=0.0)
    assert not sender.messages


def test_one_peer_is_enough_for_pushpull(sender: RecordingSender, stack: Path) -> None:
    channel = Channel("tcp://127.0.0.1:*", bind=True, kind="pushpull")
    with open_source(stack) as source:
        replayed(source, channel=channel, stream="cam0", rate_hz=None, expected_peers=2)
    assert_complete(sender.messages, 6)


def test_a_stop_while_waiting_for_peers_sends_nothing(sender: RecordingSender, stack: Path) -> None:
    stop = threading.Event()
    stop.set()
    sender.peers = 0
    with open_source(stack) as source:
        report = replayed(source, channel=CHANNEL, stream="cam0", stop=stop)
    assert report == ReplayReport(interrupted=True)  # no pass was begun
    assert not sender.messages


def test_a_source_without_a_rate_cannot_be_played_at_it(
    sender: RecordingSender, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4), np.uint8))
    with open_source(tmp_path / "a.npy") as source:
        with pytest.raises(SourceError, match="no recorded rate or times; set a rate"):
            replayed(source, channel=CHANNEL, stream="cam0", rate_hz="recorded")
        assert replayed(source, channel=CHANNEL, stream="cam0", rate_hz=1e4).frames == 2


def free_endpoint() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def receive_all(channel: Channel) -> Callable[[], list[Message]]:
    """Receive in the background until `end`; the result is there once it came."""
    messages: list[Message] = []

    def receive() -> None:
        with Receiver(channel, kinds=("frame", "end")) as receiver:
            while not messages or not isinstance(messages[-1], End):
                message = receiver.receive(timeout_ms=30_000)
                assert message is not None
                messages.append(message)

    thread = threading.Thread(target=receive)
    thread.start()

    def result() -> list[Message]:
        thread.join()
        return messages

    return result


@pytest.mark.parametrize("kind", ["pubsub", "pushpull"])
def test_over_a_real_socket_nothing_is_lost(tmp_path: Path, kind: str) -> None:
    frames = np.random.default_rng(4).integers(0, 2**16, (60, 40, 50)).astype(np.uint16)
    np.save(tmp_path / "a.npy", frames)
    endpoint = free_endpoint()
    # A high-water mark far below the number of frames: the sender has to wait.
    receiving = receive_all(
        Channel(endpoint, bind=False, kind=kind, high_water_mark=2)  # type: ignore[arg-type]
    )
    channel = Channel(endpoint, bind=True, kind=kind, high_water_mark=2)  # type: ignore[arg-type]
    with open_source(tmp_path / "a.npy") as source:
        report = replayed(source, channel=channel, stream="cam0", rate_hz=None, loop=5, wait_s=30.0)
    messages = receiving()
    assert report.frames == 300
    assert_complete(messages, 300)
    for message in messages:
        if isinstance(message, Frame):
            np.testing.assert_array_equal(message.pixels, frames[message.frame_id % 60])


def application() -> typer.Typer:
    app = typer.Typer()
    app.command()(replay)
    return app


def test_command_plays_a_folder(tmp_path: Path) -> None:
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), np.full((6, 7), number, np.uint8))
    endpoint = free_endpoint()
    receiving = receive_all(Channel(endpoint, bind=False))
    arguments = [str(tmp_path), "--unpaced", "--endpoint", endpoint, "--wait", "30", "--stop", "11"]
    result = CliRunner().invoke(application(), arguments)
    assert result.exit_code == 0, result.output
    messages = receiving()
    assert_complete(messages, 11)
    frames = [message for message in messages if isinstance(message, Frame)]
    assert [int(frame.pixels[0, 0]) for frame in frames] == list(range(11))
    assert "12 images in folder" in result.stderr
    assert "7x6 uint8, unpaced, lossless; stream cam0 on" in result.stderr
    waits = "waiting up to 30 s for 1 subscriber (a node's first start compiles for about half a"
    assert waits in result.stderr
    assert "11 frames in" in result.stderr


def test_the_command_without_options_waits_for_one_subscriber_and_plays_once(
    stack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[ReplaySettings] = []

    def run(_: Source, settings: ReplaySettings, **__: object) -> ReplayReport:
        played.append(settings)
        return ReplayReport()

    monkeypatch.setattr(command_module, "run_replay", run)
    assert CliRunner().invoke(application(), [str(stack)]).exit_code == 0
    channel = Channel("tcp://127.0.0.1:5550", bind=True)
    plain = {"rate_hz": "recorded", "speed": 1.0, "loop": 1, "expected_peers": 1, "wait_s": 10.0}
    assert played == [ReplaySettings(channel, "cam0", **plain)]  # type: ignore[arg-type]
    assert played == [ReplaySettings(channel, "cam0")]
    for option, rate in ((["--rate", "10"], 10.0), (["--unpaced"], None)):
        assert CliRunner().invoke(application(), [str(stack), *option]).exit_code == 0
        assert played.pop().rate_hz == rate
    bare = stack.with_name("bare.npy")
    np.save(bare, np.zeros((2, 4, 4), np.uint8))
    assert CliRunner().invoke(application(), [str(bare), "--connect"]).exit_code == 0
    assert (played[1].rate_hz, played[1].channel.bind) == (25.0, False)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--rate", "10", "--unpaced"], "--rate excludes"),
        (["--rate", "0"], "--rate"),
        (["--kind", "radio"], "--kind"),
        (["--endpoint", "nowhere"], "endpoint: expected"),
    ],
)
def test_command_refuses_wrong_use(stack: Path, arguments: list[str], complaint: str) -> None:
    result = CliRunner().invoke(application(), [str(stack), *arguments])
    assert result.exit_code == 2
    assert complaint in result.output


def test_summary_names_only_what_happened() -> None:
    quiet = ReplayReport(frames=50, passes=1, seconds=2.0)
    assert summary(quiet) == "50 frames in 2.00 s (25.0 Hz)"
    loud = ReplayReport(50, 3, 1, 2.0, 4, 12.34, interrupted=True)
    assert summary(loud).endswith(
        "; 4 late, by up to 12.3 ms; 3 dropped: no room in the socket; interrupted"
    )


def test_plain_progress_writes_a_line_every_five_seconds() -> None:
    lines: list[str] = []
    now = [0.0]
    show = plain_progress(lines.append, clock=lambda: now[0])
    for tenth in range(1, 111):
        now[0] = tenth / 10
        show(tenth, 200)
    now[0] = 20.0
    show(111, None)
    assert lines == ["50 of 200 frames", "100 of 200 frames", "111 frames"]

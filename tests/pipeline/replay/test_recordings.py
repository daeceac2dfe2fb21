"""A replay of a recording is the recording: same bytes, same order, only under new epochs."""

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from dscsnet.pipeline.commands import replay as command_module
from dscsnet.pipeline.commands.replay import replay
from dscsnet.pipeline.errors import ChannelError, SourceError
from dscsnet.pipeline.messages import Detections, End, Frame, Message, Targets, encode
from dscsnet.pipeline.recording.reader import Recorded, RecordingReader, recording_files
from dscsnet.pipeline.replay import PlaySettings, Range, ReplayReport, play_recording
from dscsnet.pipeline.replay import recordings as play_module
from dscsnet.pipeline.replay.recordings import _Schedule
from dscsnet.pipeline.replay.selection import Selection
from dscsnet.pipeline.sockets import Channel, Receiver

Write = Callable[..., Path]
LOCAL = "tcp://127.0.0.1:*"


class FakeSender:
    """Takes the place of a socket: keeps parts; takes only what `room` allows."""

    def __init__(self, channel: Channel, *, lossless: bool) -> None:
        self.channel, self.lossless, self.endpoint = channel, lossless, channel.endpoint
        self.room = True
        self.peers = 1
        self.waits: list[int | None] = []
        self.sent: list[list[bytes]] = []
        self.order: list[bytes] = []

    def __enter__(self) -> "FakeSender":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def hurry(self, linger_ms: int) -> None:
        self.waits.append(linger_ms)

    def wait_for_peers(self, count: int, timeout_s: float) -> int:
        # A PUSH cannot count: one peer is as good as all.
        return count if self.peers and self.channel.kind == "pushpull" else self.peers

    def send_parts(self, parts: Any, timeout_ms: int | None) -> bool:
        self.waits.append(timeout_ms)
        if not self.room:
            return False
        self.sent.append([bytes(part) for part in parts])
        self.order.append(bytes(parts[0]))
        return True


class Sockets:
    """All senders of a replay, by endpoint."""

    def __init__(self) -> None:
        self.made: dict[str, FakeSender] = {}
        self.order: list[bytes] = []
        self.prepare: Callable[[FakeSender], None] = lambda sender: None

    def __call__(self, channel: Channel, *, lossless: bool) -> FakeSender:
        sender = self.made[channel.endpoint] = FakeSender(channel, lossless=lossless)
        sender.order = self.order
        self.prepare(sender)
        return sender

    def sent(self, name: str) -> list[list[bytes]]:
        return self.made[f"inproc://{name}"].sent


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Sockets:
    made = Sockets()
    monkeypatch.setattr(play_module, "Sender", made)
    return made


def settings(**changes: Any) -> PlaySettings:
    known: dict[str, Any] = {
        "frames": Channel("inproc://frames", bind=True),
        "detections": Channel("inproc://detections", bind=True),
        "rate": None,
    }
    return PlaySettings(**(known | changes))


def header(parts: list[bytes]) -> dict[str, Any]:
    fields: dict[str, Any] = msgpack.unpackb(parts[1])
    return fields


def ids(sent: list[list[bytes]], kind: bytes = b"") -> list[int]:
    return [header(parts)["frame_id"] for parts in sent if parts[0].startswith(kind)]


@pytest.fixture
def path(tmp_path: Path, scene: Any, write_recording: Write) -> Path:
    return write_recording(tmp_path / "out.mcap", scene().all(6))


def test_an_exact_replay_gives_every_byte_back(path: Path, scene: Any, sockets: Sockets) -> None:
    report = play_recording(RecordingReader([path]), settings(exact=True))
    expected = [(s, [bytes(p) for p in encode(m)]) for s, m in scene().all(6)]
    assert sockets.sent("frames") == [parts for source, parts in expected if source == "frames"]
    assert sockets.sent("detections") == [p for source, p in expected if source == "detections"]
    assert sockets.order == [p[0] for source, p in expected if source != "targets"]
    assert (report.frames, report.dropped, report.passes) == (6, 0, 1)


def test_only_the_epoch_is_new(path: Path, scene: Any, sockets: Sockets) -> None:
    play_recording(RecordingReader([path]), settings())
    sent = sockets.sent("frames") + sockets.sent("detections")
    [epoch] = {header(parts)["epoch"] for parts in sent}
    assert epoch != scene().epoch
    restored = [[p[0], p[1].replace(epoch, scene().epoch), *p[2:]] for p in sent]
    play_recording(RecordingReader([path]), settings(exact=True))
    assert restored == sockets.sent("frames") + sockets.sent("detections")


def test_an_epoch_that_looks_like_other_bytes_is_replaced_alone(
    tmp_path: Path, write_recording: Write, sockets: Sockets
) -> None:
    """Sixteen zeros are also two numbers that are 0."""
    frame = Frame("cam", bytes(16), 0, 0, np.zeros((2, 2), np.float32))
    detections = Detections("cam", bytes(16), 0, 0, x=[0.0, 0.0, 0.0], y=[0.0] * 3)
    messages: list[tuple[str, Message]] = [("frames", frame), ("detections", detections)]
    path = write_recording(tmp_path / "out.mcap", messages)
    play_recording(RecordingReader([path]), settings())
    [sent] = sockets.sent("detections")
    assert header(sent)["epoch"] != bytes(16)
    assert header(sent)["x"] == [0.0] * 3


def test_another_encoding_of_the_epoch_is_understood(
    tmp_path: Path, scene: Any, write_recording: Write, sockets: Sockets
) -> None:
    """msgpack may write 16 bytes in a longer form, as other publishers may."""
    path = write_recording(tmp_path / "a.mcap", scene().all(1))
    whole = path.read_bytes()
    assert b"\xa5epoch\xc4\x10" in whole
    reader = RecordingReader([path])
    [recorded] = list(reader.messages(("frame",)))
    odd = bytes(recorded.parts[1]).replace(b"\xc4\x10" + scene().epoch, b"\xc5\x00\x10" + b"e" * 16)
    changed = Recorded("frames", 1, [recorded.parts[0], odd, recorded.parts[2]], recorded.message)
    reader.messages = lambda *_, **__: iter([changed])  # type: ignore[method-assign]
    play_recording(reader, settings())
    assert header(sockets.sent("frames")[0])["epoch"] != scene().epoch
    assert header(sockets.sent("frames")[0])["height"] == 4


def test_each_pass_is_a_start_of_its_own(path: Path, sockets: Sockets) -> None:
    report = play_recording(RecordingReader([path]), settings(loop=3))
    sent = sockets.sent("frames")
    assert len({header(parts)["epoch"] for parts in sent}) == 3
    assert ids(sent, b"frame") == [0, 1, 2, 3, 4, 5] * 3
    assert ids(sent, b"end") == [5] * 3
    assert (report.frames, report.passes) == (18, 3)
    with pytest.raises(ValueError, match="second pass"):
        play_recording(RecordingReader([path]), settings(loop=2, exact=True))


@pytest.mark.parametrize(
    ("chosen", "frames"),
    [
        (Range(start=2), [2, 3, 4, 5]),
        (Range(stop=2), [0, 1]),
        (Range(start=1, stop=3), [1, 2]),
        (Range(start_s=0.0, stop_s=1e6), [0, 1, 2, 3, 4, 5]),
    ],
)
def test_a_range_has_its_frames_their_detections_and_an_end(
    path: Path, sockets: Sockets, chosen: Range, frames: list[int]
) -> None:
    report = play_recording(RecordingReader([path]), settings(chosen=chosen))
    assert ids(sockets.sent("frames"), b"frame") == frames
    assert ids(sockets.sent("detections")) == frames
    assert ids(sockets.sent("frames"), b"end") == [frames[-1]]
    assert report.frames == len(frames)


def test_a_range_in_seconds_counts_from_the_first_message(path: Path, sockets: Sockets) -> None:
    reader = RecordingReader([path])
    times = (reader.times(("frame",)).astype(float) - reader.start_ns) * 1e-9
    chosen = Range(start_s=(times[1] + times[2]) / 2, stop_s=(times[3] + times[4]) / 2)
    play_recording(reader, settings(chosen=chosen))
    assert ids(sockets.sent("frames"), b"frame") == [2, 3]
    assert ids(sockets.sent("detections")) == [2, 3]


def test_detections_that_came_late_or_early_go_with_their_frames(
    tmp_path: Path, scene: Any, write_recording: Write, sockets: Sockets
) -> None:
    it = scene()
    messages = [("detections", it.detections(2))]
    for number in range(6):
        messages.append(("frames", it.frame(number)))
        if number >= 3:
            messages.append(("detections", it.detections(number - 3)))
    messages += [("detections", it.detections(number)) for number in (3, 4, 5)]
    del messages[messages.index(("detections", it.detections(2)), 1)]
    path = write_recording(tmp_path / "out.mcap", messages)
    play_recording(RecordingReader([path]), settings(chosen=Range(start=2, stop=4)))
    assert ids(sockets.sent("frames"), b"frame") == [2, 3]
    assert sorted(ids(sockets.sent("detections"))) == [2, 3]


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [
        (Range(start=6), "no frame is in that range; it has 6 frames"),
        (Range(start_s=1e6), "no frame is in that range"),
        (Range(start=3, stop=3), "expected start < stop"),
        (Range(start_s=2.0, stop_s=1.0), "expected start time < stop time"),
    ],
)
def test_an_empty_range_says_so(path: Path, chosen: Range, complaint: str) -> None:
    with pytest.raises(SourceError, match=complaint):
        play_recording(RecordingReader([path]), settings(chosen=chosen))


def test_a_recording_without_frames_or_detections(
    tmp_path: Path,
    scene: Any,
    write_recording: Write,
    sockets: Sockets,
    caplog: pytest.LogCaptureFixture,
) -> None:
    messages = scene().all(3)
    none = write_recording(tmp_path / "none.mcap", [m for m in messages if m[0] == "targets"])
    with pytest.raises(SourceError, match="there are no frames in it"):
        play_recording(RecordingReader([none]), settings())
    path = write_recording(tmp_path / "f.mcap", [m for m in messages if m[0] != "detections"])
    play_recording(RecordingReader([path]), settings())
    assert list(sockets.made) == ["inproc://frames"]
    assert "no detections in it; a live detector is needed" in caplog.text


def test_streams_and_epochs(
    tmp_path: Path, scene: Any, write_recording: Write, sockets: Sockets
) -> None:
    """Two streams, one of which starts anew without an end."""
    broken_off = [m for m in scene("a", b"1" * 16).all(3) if not isinstance(m[1], End)]
    messages = [*broken_off, *scene("b", b"2" * 16).all(2), *scene("a", b"3" * 16).all(2)]
    path = write_recording(tmp_path / "out.mcap", messages)
    play_recording(RecordingReader([path]), settings())
    sent = [header(parts) for parts in sockets.sent("frames")]
    named = [(each["stream"], each["frame_id"]) for each in sent if "height" in each]
    assert named == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1), ("a", 0), ("a", 1)]
    assert len({each["epoch"] for each in sent}) == 3
    play_recording(RecordingReader([path]), settings(streams=["b"]))
    assert {header(parts)["stream"] for parts in sockets.sent("frames")} == {"b"}
    with pytest.raises(SourceError, match="no frames of c; there are a, b"):
        play_recording(RecordingReader([path]), settings(streams=["c"]))


def test_a_recording_that_broke_off_ends_all_the_same(
    tmp_path: Path, scene: Any, write_recording: Write, sockets: Sockets
) -> None:
    messages = [m for m in scene().all(4) if not isinstance(m[1], End)]
    path = write_recording(tmp_path / "out.mcap", messages)
    path.write_bytes(path.read_bytes()[:-200])
    play_recording(RecordingReader([path]), settings())
    assert ids(sockets.sent("frames"), b"end") == [3]


def test_a_full_channel_does_not_keep_the_other_waiting(
    tmp_path: Path, scene: Any, write_recording: Write, sockets: Sockets
) -> None:
    """The subscriber of the frames takes more only when the detections are there."""
    it = scene()
    frames = [("frames", it.frame(number)) for number in range(50)]
    late = [("detections", it.detections(number)) for number in range(50)]
    path = write_recording(tmp_path / "out.mcap", [*frames, *late])

    def prepare(sender: FakeSender) -> None:
        if sender.endpoint != "inproc://frames":
            return
        send = sender.send_parts

        def only_a_window(parts: Any, timeout_ms: int | None) -> bool:
            there = sockets.made.get("inproc://detections")
            answered = len(there.sent) if there else 0
            return len(sender.sent) < answered + 10 and send(parts, timeout_ms)

        sender.send_parts = only_a_window  # type: ignore[method-assign]

    sockets.prepare = prepare
    report = play_recording(RecordingReader([path]), settings())
    assert report.frames == 50
    assert ids(sockets.sent("frames"), b"frame") == list(range(50))


def test_a_paced_replay_drops_what_has_no_room(path: Path, sockets: Sockets) -> None:
    sockets.prepare = lambda sender: setattr(sender, "room", False)
    report = play_recording(RecordingReader([path]), settings(rate=1e6))
    assert (report.frames, report.dropped) == (0, 6)


def test_too_few_subscribers_are_an_error(path: Path, sockets: Sockets) -> None:
    sockets.prepare = lambda sender: setattr(sender, "peers", 0)
    with pytest.raises(ChannelError, match=r"frames \(frames\): 0 of 1 subscribers came"):
        play_recording(RecordingReader([path]), settings(wait_s=0.05))


@pytest.mark.parametrize(
    ("kind", "expected", "frames", "detections", "enough"),
    [
        *(("pubsub", 3, 3, 1, True), ("pubsub", 3, 2, 1, False), ("pubsub", 3, 3, 0, False)),
        *(("pubsub", 0, 0, 0, True), ("pushpull", 3, 1, 1, True), ("pushpull", 3, 0, 1, False)),
    ],
)
def test_subscribers_are_expected_of_the_frames_and_one_of_the_detections(
    path: Path,
    sockets: Sockets,
    kind: Any,
    expected: int,
    frames: int,
    detections: int,
    enough: bool,
) -> None:
    """Of a pushpull channel nobody can tell more than that there is one."""
    peers = {"inproc://frames": frames, "inproc://detections": detections}

    def prepare(sender: FakeSender) -> None:
        sender.peers = peers[sender.endpoint]

    sockets.prepare = prepare
    channels = {
        name: Channel(f"inproc://{name}", bind=True, kind=kind) for name in ("frames", "detections")
    }
    asked = settings(**channels, expected_peers=expected, wait_s=0.0)
    if enough:
        assert play_recording(RecordingReader([path]), asked).frames == 6
    else:
        with pytest.raises(ChannelError, match="subscribers came within 0 s"):
            play_recording(RecordingReader([path]), asked)
        assert not sockets.order


def test_far_ahead_it_waits_for_room_instead_of_asking_on_and_on(
    path: Path, sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room for one message only after it was waited for."""
    monkeypatch.setattr(play_module, "AHEAD_MESSAGES", 2)
    asked: list[int] = []

    def prepare(sender: FakeSender) -> None:
        def send_parts(parts: Any, timeout_ms: int) -> bool:
            assert len(asked) < 500, "it asks without a pause"
            asked.append(timeout_ms)
            if timeout_ms:
                sender.sent.append([bytes(part) for part in parts])
            return timeout_ms > 0

        sender.send_parts = send_parts  # type: ignore[method-assign, assignment]

    sockets.prepare = prepare
    report = play_recording(RecordingReader([path]), settings())
    assert ids(sockets.sent("frames"), b"frame") == [0, 1, 2, 3, 4, 5]
    assert (report.frames, report.dropped) == (6, 0)


@pytest.mark.parametrize(
    ("messages", "size", "far"),
    [(511, 10, False), (512, 10, True), (2, 2**25 - 1, False), (2, 2**25, True)],
)
def test_it_reads_ahead_by_512_messages_or_64_mebibytes(
    path: Path, messages: int, size: int, far: bool
) -> None:
    reader = RecordingReader([path])
    selection = Selection(reader, (), Range())
    play = play_module._Play(reader, selection, settings(), {}, True, threading.Event())
    buffer = memoryview(bytes(size))
    play._waiting = {"frames": deque([(End("a", bytes(16), 0, 0), [buffer])] * messages)}
    assert play._is_far_ahead() == far


def test_frames_over_a_millisecond_late_are_counted_and_the_worst_is_told(
    path: Path, sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = {0: 0, 1: 1_000_000, 2: 1_000_001, 3: 7_500_000, 4: 2_000_000, 5: 0}

    def wait(_: object, recorded: Recorded) -> int:
        message = recorded.message
        return late[message.frame_id] if isinstance(message, Frame) else 9_000_000

    monkeypatch.setattr(_Schedule, "wait", wait)
    report = play_recording(RecordingReader([path]), settings(rate=10.0))
    assert (report.frames, report.late, report.worst_late_ms) == (6, 3, 7.5)


@pytest.mark.parametrize(
    ("pause_s", "kept_s"), [(60.0, 60.0), (60.000000001, 1.0), (59.0, 59.0), (7200.0, 1.0)]
)
def test_a_pause_of_a_minute_is_the_longest_that_is_kept(
    scene: Any, monkeypatch: pytest.MonkeyPatch, pause_s: float, kept_s: float
) -> None:
    schedule = _Schedule(settings(rate="recorded", speed=2.0), threading.Event())
    offsets: list[int] = []
    monkeypatch.setattr(schedule._pacer, "wait_for", lambda offset: offsets.append(offset) or 0)
    for time_ns in (5, 5 + round(pause_s * 1e9)):
        schedule.wait(Recorded("frames", time_ns, [], scene().frame(0)))
    assert offsets == [0, round(kept_s * 1e9 / 2)]
    schedule.begin()  # another pass follows a second later
    schedule.wait(Recorded("frames", 5, [], scene().frame(0)))
    assert offsets[2] == round((kept_s + 1) * 1e9 / 2)


def test_a_replay_tells_how_far_it_is(path: Path, sockets: Sockets) -> None:
    seen: list[tuple[int, int | None]] = []
    report = play_recording(
        RecordingReader([path]), settings(loop=2), progress=lambda *now: seen.append(now)
    )
    assert seen[-1] == (12, 12)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert (report.frames, report.dropped, report.passes) == (12, 0, 2)
    assert not report.interrupted


def test_a_stop_ends_the_streams(path: Path, sockets: Sockets) -> None:
    stop = threading.Event()
    report = play_recording(
        RecordingReader([path]),
        settings(rate=1000.0),
        stop=stop,
        progress=lambda frames, total: stop.set() if frames == 3 else None,
    )
    assert report.interrupted
    assert ids(sockets.sent("frames"), b"frame") == [0, 1, 2]
    assert ids(sockets.sent("frames"), b"end") == [2]


@pytest.mark.usefixtures("sockets")
@pytest.mark.parametrize("loop", [0, 3])
def test_a_stop_leaves_out_the_passes_that_would_follow(path: Path, loop: int) -> None:
    stop = threading.Event()
    report = play_recording(
        RecordingReader([path]),
        settings(loop=loop),
        stop=stop,
        progress=lambda frames, total: stop.set() if frames == 8 else None,
    )
    assert report.interrupted
    assert (report.passes, report.frames) == (2, 8)


def test_the_end_of_a_stream_that_was_stopped_has_2_s_to_leave(
    path: Path, sockets: Sockets
) -> None:
    stop = threading.Event()
    play_recording(
        RecordingReader([path]),
        settings(),
        stop=stop,
        progress=lambda frames, total: stop.set() if frames == 1 else None,
    )
    assert sockets.made["inproc://frames"].waits == [0, 2000, 2000]


@pytest.mark.parametrize(("rate", "tries"), [(None, [100, 100, 100]), (1e6, [0])])
def test_an_end_waits_for_room_where_nothing_may_be_lost(
    path: Path, sockets: Sockets, rate: float | None, tries: list[int]
) -> None:
    asked: list[int | None] = []

    def prepare(sender: FakeSender) -> None:
        plain = sender.send_parts

        def send(parts: Any, timeout_ms: int | None) -> bool:
            if not bytes(parts[0]).startswith(b"end"):
                return plain(parts, timeout_ms)
            asked.append(timeout_ms)
            return len(asked) > 2

        sender.send_parts = send  # type: ignore[method-assign]

    sockets.prepare = prepare
    play_recording(RecordingReader([path]), settings(rate=rate, chosen=Range(stop=2)))
    assert asked == tries


def test_a_stop_while_subscribers_are_awaited_plays_nothing(path: Path, sockets: Sockets) -> None:
    stop = threading.Event()
    stop.set()
    report = play_recording(RecordingReader([path]), settings(), stop=stop)
    assert report == ReplayReport(interrupted=True)
    assert not sockets.order


def test_an_end_after_no_frame_of_its_own_is_played_all_the_same(
    tmp_path: Path, scene: Any, write_recording: Write, sockets: Sockets
) -> None:
    cam, other = scene(), scene("cam", b"o" * 16)
    ends = [("frames", other.end(7)), ("frames", cam.end(0)), ("frames", cam.end(0))]
    path = write_recording(tmp_path / "ends.mcap", [("frames", cam.frame(0)), *ends])
    play_recording(RecordingReader([path]), settings())
    assert ids(sockets.sent("frames"), b"end") == [7, 0, 0]
    sockets.made.clear()
    path = write_recording(tmp_path / "other.mcap", [*ends[2:], ("frames", cam.frame(0)), ends[0]])
    play_recording(RecordingReader([path]), settings())
    assert ids(sockets.sent("frames"), b"end") == [0, 7, 0]  # its own is missing, and comes last


def test_the_command_without_options_plays_all_once_at_the_recorded_times(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[PlaySettings] = []

    def play(_: RecordingReader, settings: PlaySettings, **__: object) -> ReplayReport:
        played.append(settings)
        return ReplayReport()

    monkeypatch.setattr(command_module, "play_recording", play)
    app = typer.Typer()
    app.command()(replay)
    assert CliRunner().invoke(app, [str(path)]).exit_code == 0
    channels = [Channel(f"tcp://127.0.0.1:{port}", bind=True) for port in (5550, 5551)]
    plain: dict[str, Any] = {"rate": "recorded", "speed": 1.0, "loop": 1, "exact": False}
    plain |= {"streams": [], "chosen": Range(0, None, None, None)}
    plain |= {"expected_peers": 1, "wait_s": 10.0}
    assert played == [PlaySettings(*channels, **plain)]
    assert played == [PlaySettings(*channels, streams=[])]
    assert CliRunner().invoke(app, [str(path), "--detections-connect"]).exit_code == 0
    assert played[1].detections == Channel(channels[1].endpoint, bind=False)


def test_times_are_kept_and_long_pauses_are_not(scene: Any, caplog: Any) -> None:
    waits: list[int] = []
    schedule = _Schedule(settings(rate="recorded", speed=10.0), threading.Event())
    schedule._pacer.wait_for = lambda offset: waits.append(offset) or 0  # type: ignore[func-returns-value, method-assign]
    second = 10**9
    for seconds in (5, 6, 8, 8 + 3600, 3610):
        schedule.wait(Recorded("frames", seconds * second, [], scene().frame(0)))
    assert waits == [0, second // 10, 3 * second // 10, 4 * second // 10, 6 * second // 10]
    assert "a pause of 3600 s is shortened" in caplog.text


def test_the_range_is_found_without_reading_all(path: Path) -> None:
    selection = Selection(RecordingReader([path]), (), Range(start=1, stop=2))
    assert (selection.frames, selection.first_ns) == (1, selection.last_ns)


def test_frames_count_in_the_order_in_which_they_were_recorded(
    tmp_path: Path, scene: Any, write_recording: Write, sockets: Sockets
) -> None:
    """One that came late is chosen by when it came, not by its number."""
    frames = [("frames", scene().frame(number)) for number in (0, 3, 2, 1, 4)]
    path = write_recording(tmp_path / "late.mcap", frames)
    for start, stop, chosen in ((1, 3, [3, 2]), (0, 2, [0, 3]), (2, 5, [2, 1, 4])):
        play_recording(RecordingReader([path]), settings(chosen=Range(start=start, stop=stop)))
        assert ids(sockets.sent("frames"), b"frame") == chosen


def test_over_real_sockets_nothing_is_lost(
    tmp_path: Path, scene: Any, write_recording: Write
) -> None:
    path = write_recording(tmp_path / "out.mcap", scene().all(300), segment_mib=0.01)
    reader = RecordingReader(recording_files([str(tmp_path)]))
    assert not path.exists()
    received: dict[str, list[int]] = {"frame": [], "detections": [], "end": []}
    errors: list[BaseException] = []
    with (
        Receiver(Channel(LOCAL, bind=True), kinds=("frame", "end")) as frames,
        Receiver(Channel(LOCAL, bind=True), kinds=("detections",)) as detections,
    ):

        def play() -> None:
            try:
                play_recording(
                    reader,
                    settings(
                        frames=Channel(frames.endpoint, bind=False, high_water_mark=4),
                        detections=Channel(detections.endpoint, bind=False, high_water_mark=4),
                        wait_s=30,
                    ),
                )
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=play)
        thread.start()
        deadline = time.monotonic() + 60
        while not received["end"] or len(received["detections"]) < 300:
            assert time.monotonic() < deadline, (received, errors)
            for receiver in (frames, detections):
                while (message := receiver.receive(5)) is not None:
                    received[message.kind].append(message.frame_id)
        thread.join(30)
    assert not errors
    assert received == {"frame": list(range(300)), "detections": list(range(300)), "end": [299]}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["{path}", "--loop", "2", "--exact"], "--exact excludes --loop"),
        (["{path}", "{image}"], "recordings and other sources do not mix"),
        (["{path}", "--saturation", "5"], "are not for recordings"),
        (["{image}", "{image}"], "several sources are for recordings"),
        (["{image}", "--start-time", "5"], "are for recordings"),
        (["{path}", "--detections-endpoint", "nowhere"], "expected tcp"),
    ],
)
def test_wrong_use_is_told(path: Path, arguments: list[str], complaint: str) -> None:
    app = typer.Typer()
    app.command()(replay)
    names = {"path": str(path), "image": str(path.with_name("frame.png"))}
    result = CliRunner().invoke(app, [argument.format(**names) for argument in arguments])
    assert result.exit_code == 2
    assert complaint in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize("stream", ["cam", "other"])
@pytest.mark.parametrize("chosen", [True, False])
def test_the_command_says_what_it_plays(
    tmp_path: Path, scene: Any, write_recording: Write, sockets: Sockets, stream: str, chosen: bool
) -> None:
    messages = scene("cam").all(3) + scene("other", b"o" * 16).all(3)
    path = write_recording(tmp_path / "two.mcap", messages)
    app = typer.Typer()
    app.command()(replay)
    given = ["--stream", stream] if chosen else []
    result = CliRunner().invoke(app, [str(path), "--unpaced", *given])
    assert result.exit_code == 0, result.output
    played = stream if chosen else "cam, other"
    first, waits, *_ = result.stderr.splitlines()
    assert first.endswith(
        f"6 frames, unpaced, lossless; streams {played} on tcp://127.0.0.1:5550, "
        "detections on tcp://127.0.0.1:5551"
    )
    assert waits.startswith("waiting up to 10 s for 1 subscriber ")
    assert f"{3 if chosen else 6} frames in" in result.stderr.splitlines()[-1]


def test_targets_are_not_published(path: Path, sockets: Sockets) -> None:
    assert any(isinstance(r.message, Targets) for r in RecordingReader([path]).messages())
    play_recording(RecordingReader([path]), settings())
    assert not any(topic.startswith(b"targets") for topic in sockets.order)

"""The side tap: channels in turn, what is wanted of them, and when it is done."""

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from dscsnet.pipeline.errors import MessageError
from dscsnet.pipeline.messages import End, Message, Status
from dscsnet.pipeline.recording import side_tap
from dscsnet.pipeline.recording.side_tap import BURST, _Tap


class Channel:
    """A receiver with a backlog of its own making."""

    socket = None

    def __init__(self, messages: list[Message | MessageError]) -> None:
        self.messages = deque(messages)
        self.tap: Callable[[Message, object], None] | None = None

    def receive(self, timeout_ms: int) -> Message | None:
        assert timeout_ms == 0
        message = self.messages.popleft() if self.messages else None
        if isinstance(message, MessageError):
            raise message
        if message is not None and self.tap is not None:
            self.tap(message, ())
        return message


class Recorder:
    """Takes what is recorded."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Message]] = []
        self.dropped: dict[str, int] = {}

    def tap(self, source: str) -> Callable[[Message, object], None]:
        return lambda message, _: self.taken.append((source, message))

    def snapshot(self) -> dict[str, Any]:
        return {"dropped": self.dropped}


def make_tap(streams: tuple[str, ...] = (), **channels: list[Any]) -> tuple[_Tap, Recorder]:
    recorder = Recorder()
    receivers = {source: Channel(messages) for source, messages in channels.items()}
    return _Tap(recorder, receivers, streams), recorder  # type: ignore[arg-type]


def end(number: int, stream: str = "cam") -> End:
    return End(stream, bytes(16), number, 7)


@pytest.fixture
def polls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts how often the sockets are looked at; too often fails the test."""
    seen: list[int] = []

    def select(*_: object) -> None:
        seen.append(len(seen))
        assert len(seen) < 50

    monkeypatch.setattr(side_tap, "zmq", SimpleNamespace(select=select))
    return seen


def test_at_the_end_it_reads_until_nothing_comes(
    polls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_tap, "DRAIN_S", 3600.0)
    tap, recorder = make_tap(frames=[end(number) for number in range(2 * BURST + 1)])
    tap.drain()
    assert [message.frame_id for _, message in recorder.taken] == list(range(2 * BURST + 1))
    assert len(polls) == 4  # three with messages, and one that finds nothing


def test_at_the_end_it_does_not_read_for_ever(
    polls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0

    def monotonic() -> float:
        nonlocal now
        now += 0.25
        return now

    monkeypatch.setattr(side_tap, "time", SimpleNamespace(monotonic=monotonic))
    tap, recorder = make_tap(frames=[end(number) for number in range(100 * BURST)])
    tap.drain()
    assert 1 <= len(polls) <= 4
    assert len(recorder.taken) == len(polls) * BURST


def test_a_channel_that_is_full_does_not_keep_the_others_from_being_read(
    polls: list[int],
) -> None:
    tap, recorder = make_tap(
        frames=[end(number) for number in range(3 * BURST)], targets=[end(0), end(1)]
    )
    tap.turn()
    assert [source for source, _ in recorder.taken] == ["frames"] * BURST + ["targets"] * 2


def test_only_wanted_streams_and_heartbeats_are_recorded_and_end_it(polls: list[int]) -> None:
    beat = Status(node="node0", timestamp_ns=1, body={})
    tap, recorder = make_tap(
        ("cam",), frames=[end(0, "other"), end(0)], targets=[end(1, "x"), beat]
    )
    assert tap.turn() == {"frames"}
    assert [(source, message.kind) for source, message in recorder.taken] == [
        ("frames", "end"),
        ("targets", "status"),
    ]


def test_a_malformed_message_is_told_once_a_reason(
    polls: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    broken = [MessageError("header", "cut short"), MessageError("header", "cut again")]
    tap, recorder = make_tap(frames=[*broken, MessageError("topic", "none"), end(5)])
    for _ in range(4):  # each ends the channel's turn
        tap.turn()
    assert [message.frame_id for _, message in recorder.taken] == [5]
    assert [record.getMessage() for record in caplog.records] == [
        "malformed message, not recorded (header): cut short",
        "malformed message, not recorded (topic): none",
    ]


def test_what_the_recorder_drops_is_told_when_it_grows(
    polls: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    monkeypatch.setattr(side_tap, "time", SimpleNamespace(monotonic=lambda: now))
    tap, recorder = make_tap(frames=[])
    recorder.dropped = {"queue": 2, "disk": 1}
    told = []
    for now in (0.0, 9.9, 10.0, 19.9, 20.0, 30.0, 40.0):
        if now == 30.0:
            recorder.dropped = {"queue": 5}
        tap.turn()
        told.append(len(caplog.records))
    assert told == [0, 0, 1, 1, 1, 2, 2]
    assert "3 messages dropped so far" in caplog.records[0].getMessage()
    assert "5 messages dropped so far" in caplog.records[1].getMessage()

"""The receiving thread: when it reads which input, and how long it waits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from msgspec.structs import replace

from dscsnet.pipeline.config import Batching, Inputs, Join, Overload
from dscsnet.pipeline.join import DETECTIONS, FRAMES, Joiner, Ledger, Ticket
from dscsnet.pipeline.messages import (
    Detections,
    End,
    EngineInfo,
    Frame,
    Message,
    Targets,
    TargetsStatus,
)
from dscsnet.pipeline.node import intake as intake_module
from dscsnet.pipeline.node.intake import BLOCKED_MS, IDLE_MS, InputProgress, Intake
from dscsnet.pipeline.sockets import Channel, Sender
from dscsnet.pipeline.worker import plain_answer

ENGINE = EngineInfo(runtime="none", model="none", sha256="", psf_sigma=0.5)
EPOCH = bytes(16)
WINDOW, SENT = 2, 6


class Turns:
    """Takes the place of the stop event: ends the loop after some turns, in this thread."""

    def __init__(self, most: int, until: Callable[[], bool] = lambda: False) -> None:
        self.left, self.until = most, until

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0 or self.until()

    def wait(self, seconds: float) -> bool:
        return False


def answer(ticket: Ticket, status: TargetsStatus, reason: str) -> Targets:
    return plain_answer(ticket, status, reason, ENGINE)


def image(frame_id: int) -> Frame:
    return Frame("cam", EPOCH, frame_id, 7, np.zeros((2, 2), np.uint8))


def spots(frame_id: int) -> Detections:
    return Detections("cam", EPOCH, frame_id, 7, x=[1.0], y=[1.0])


@contextmanager
def running(mode: str, join: Join) -> Iterator[tuple[Joiner, Intake, Sender, Sender]]:
    """A joiner, its intake, and what publishes frames and detections to it."""
    joiner = Joiner(join, Overload(mode=mode), Batching(), Ledger(), answer)  # type: ignore[arg-type]
    local = Channel("tcp://127.0.0.1:*", bind=True, kind="pushpull")
    intake = Intake(Inputs(frames=local, detections=local), joiner)
    try:
        frames, detections = (
            Sender(Channel(receiver.endpoint, bind=False, kind="pushpull"))
            for receiver in (intake.frames, intake.detections)
        )
        with frames, detections:
            yield joiner, intake, frames, detections
    finally:
        intake.close()


def send(sender: Sender, messages: list[Message]) -> None:
    for message in messages:
        assert sender.send(message, timeout_ms=10_000)


@pytest.mark.parametrize("kind", ["frame", "detections"])
def test_a_blocked_input_is_not_read_and_the_other_is(kind: str) -> None:
    make, other = (image, spots) if kind == "frame" else (spots, image)
    join = Join(max_frames=WINDOW, timeout_ms=600_000)
    with running("lossless", join) as (joiner, intake, frames, detections):
        blocked, free = (frames, detections) if kind == "frame" else (detections, frames)
        receiver = intake.frames if kind == "frame" else intake.detections
        read = joiner.ledger.messages
        send(blocked, [make(number) for number in range(SENT)])
        intake.run(Turns(10_000, lambda: any(joiner.blocked())))
        assert receiver.socket.poll(10_000)  # the next one is there
        intake.run(Turns(10))
        assert read == {kind: WINDOW}
        send(free, [other(0)])
        other_kind = other(0).kind
        intake.run(Turns(10_000, lambda: bool(read[other_kind])))
        assert read == {kind: WINDOW, other_kind: 1}
        # What is joined and published makes room.
        (ticket,) = joiner.take(0)
        joiner.finish(ticket, answer(ticket, "ok", ""))
        assert len(joiner.due(0)) == 1
        intake.run(Turns(10_000, lambda: read[kind] > WINDOW))
        assert read[kind] == WINDOW + 1


def test_a_live_node_reads_on_at_a_full_window() -> None:
    join = Join(max_frames=WINDOW, timeout_ms=600_000)
    with running("live", join) as (joiner, intake, frames, _):
        send(frames, [image(number) for number in range(SENT)])
        intake.run(Turns(10_000, lambda: joiner.ledger.messages["frame"] == SENT))
        assert joiner.ledger.drops == {"window": SENT - WINDOW}
        assert joiner.depths().waiting == WINDOW


def test_an_end_that_the_detector_passes_on_is_not_the_streams_end() -> None:
    with running("live", Join()) as (joiner, intake, frames, detections):
        send(detections, [End("cam", EPOCH, 0, 7), spots(1)])
        intake.run(Turns(10_000, lambda: bool(joiner.ledger.messages["detections"])))
        assert joiner.ledger.messages == {"detections": 1}
        send(frames, [End("cam", EPOCH, 1, 7)])
        intake.run(Turns(10_000, lambda: bool(joiner.ledger.messages["end"])))


def test_progress_is_remembered_of_256_streams() -> None:
    """Of one more, all others are forgotten: publishers choose the names."""
    progress = InputProgress()
    for number in range(256):
        progress.note(FRAMES, replace(image(5), stream=f"s{number}"))
    progress.note(DETECTIONS, replace(spots(9), stream="s0"))
    assert progress.next() == FRAMES  # of this stream they are behind
    progress.note(FRAMES, replace(image(5), stream="s255"))
    progress.note(FRAMES, replace(image(5), stream="s256"))
    assert sum(len(keys) for keys in progress._read) == 2
    progress.note(DETECTIONS, replace(spots(9), stream="s0"))
    progress.note(DETECTIONS, replace(spots(9), stream="s0"))
    assert progress.next() == FRAMES  # in turn, as nothing can be compared


@pytest.mark.parametrize("behind", [FRAMES, DETECTIONS])
def test_the_input_behind_is_read_64_times_before_the_other_has_its_turn(behind: int) -> None:
    make, other = (image, spots) if behind == FRAMES else (spots, image)
    progress = InputProgress()
    progress.note(1 - behind, other(1000))
    turns = []
    for number in range(130):
        turns.append(progress.next())
        progress.note(turns[-1], make(number) if turns[-1] == behind else other(1001))
    assert turns == [behind] * 64 + [1 - behind] + [behind] * 64 + [1 - behind]


def test_inputs_as_far_as_each_other_are_read_in_turn() -> None:
    progress = InputProgress()
    assert progress.next() == FRAMES
    progress.note(FRAMES, image(3))
    assert progress.next() == DETECTIONS
    progress.note(DETECTIONS, spots(3))
    assert progress.next() == FRAMES
    progress.note(FRAMES, None)  # a malformed message says nothing
    assert progress.next() == DETECTIONS
    progress.note(DETECTIONS, replace(spots(3), epoch=b"x" * 16))
    assert progress.next() == FRAMES  # epochs that differ cannot be compared


def test_no_more_than_64_messages_are_read_before_deadlines_are_looked_at() -> None:
    with running("live", Join(max_frames=1000)) as (joiner, intake, _, _):
        pending = [image(number) for number in range(300)]
        intake.frames.receive = lambda _: pending.pop(0) if pending else None  # type: ignore[method-assign]
        for read in (64, 128, 192, 256, 300, 300):
            intake._read([FRAMES])
            assert joiner.ledger.messages["frame"] == read


def test_it_waits_until_the_next_deadline_and_never_without_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 10**12
    clock = SimpleNamespace(monotonic_ns=lambda: now)
    monkeypatch.setattr(intake_module, "time", clock)
    wait = intake_module._wait_ms
    assert wait(None, False) == IDLE_MS + 1
    assert wait(None, True) == BLOCKED_MS + 1
    assert wait(now + 30_500_000, False) == 31
    assert wait(now + 30_500_000, True) == BLOCKED_MS + 1
    assert wait(now + 3600 * 10**9, False) == IDLE_MS + 1
    for past in (0, 1, 5 * 10**9):  # a negative wait would be one for ever
        assert wait(now - past, False) == 1

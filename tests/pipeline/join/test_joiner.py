"""The joiner: join, windows, order, epochs, ends, accounting; with a clock of its own."""

import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dscsnet.pipeline.config import Batching, Join, Overload
from dscsnet.pipeline.join import Joiner, Ledger, Ticket
from dscsnet.pipeline.join.joiner import MILLISECOND
from dscsnet.pipeline.messages import (
    Detections,
    End,
    EngineInfo,
    Frame,
    Status,
    Targets,
    TargetsStatus,
    encode,
)
from dscsnet.pipeline.worker import plain_answer

ENGINE = EngineInfo(runtime="none", model="none", sha256="", psf_sigma=0.5)
EPOCH, OTHER_EPOCH = b"a" * 16, b"b" * 16


class Clock:
    """A monotonic clock that moves when told to."""

    def __init__(self) -> None:
        self.now = 10**9

    def __call__(self) -> int:
        return self.now

    def advance(self, milliseconds: float) -> None:
        self.now += int(milliseconds * MILLISECOND)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_joiner(clock: Clock, **settings: object) -> Joiner:
    overload = Overload(
        mode=settings.pop("mode", "live"),  # type: ignore[arg-type]
        max_age_ms=settings.pop("max_age_ms", 200.0),  # type: ignore[arg-type]
    )
    batch = Batching(
        max_crops=settings.pop("max_crops", 256),  # type: ignore[arg-type]
        max_delay_ms=settings.pop("max_delay_ms", 0.0),  # type: ignore[arg-type]
        across_frames=settings.pop("across_frames", True),  # type: ignore[arg-type]
    )
    join = Join(**settings)  # type: ignore[arg-type]

    def answer(ticket: Ticket, status: TargetsStatus, reason: str) -> Targets:
        return plain_answer(ticket, status, reason, ENGINE)

    return Joiner(join, overload, batch, Ledger(), answer, clock)


def frame(frame_id: int, stream: str = "cam", epoch: bytes = EPOCH, side: int = 4) -> Frame:
    return Frame(stream, epoch, frame_id, 5, np.zeros((side, side), np.uint16))


def detections(
    frame_id: int, stream: str = "cam", epoch: bytes = EPOCH, number: int = 2
) -> Detections:
    return Detections(stream, epoch, frame_id, 5, x=[1.0] * number, y=[2.0] * number)


def end(frame_id: int, stream: str = "cam", epoch: bytes = EPOCH) -> End:
    return End(stream, epoch, frame_id, 5)


def work(joiner: Joiner) -> list[int]:
    """Answer everything that can be taken; returns the frame ids."""
    done = []
    while tickets := joiner.take(0):
        for ticket in tickets:
            joiner.finish(ticket, plain_answer(ticket, "ok", "", ENGINE))
            done.append(ticket.key.frame_id)
    return done


def published(joiner: Joiner) -> list[tuple[int, str, str]]:
    """(frame_id, status, reason) of everything due; an end has status `end`."""
    result: list[tuple[int, str, str]] = []
    for due in joiner.due(0):
        message = due.message
        if isinstance(message, Targets):
            result.append((message.frame_id, message.status, message.reason))
        else:
            result.append((message.frame_id, "end", ""))
    return result


def balance(joiner: Joiner) -> None:
    state = joiner.snapshot()
    assert state["received"] == state["published"] + state["pending"]  # type: ignore[operator]


@pytest.mark.parametrize("first", ["frame", "detections"])
def test_either_part_may_come_first(clock: Clock, first: str) -> None:
    joiner = make_joiner(clock)
    parts: list[Frame | Detections] = [frame(1), detections(1)]
    for part in parts if first == "frame" else reversed(parts):
        assert work(joiner) == []
        joiner.offer(part)
    assert work(joiner) == [1]
    assert published(joiner) == [(1, "ok", "")]
    balance(joiner)


def test_explicit_empty_list_completes_at_once(clock: Clock) -> None:
    joiner = make_joiner(clock)
    joiner.offer(frame(1))
    joiner.offer(detections(1, number=0))
    assert published(joiner) == [(1, "empty", "")]


@pytest.mark.parametrize(
    ("part", "status"), [(frame(1), "no_detections"), (detections(1), "no_frame")]
)
def test_missing_part_is_given_up_at_the_deadline(
    clock: Clock, part: Frame | Detections, status: str
) -> None:
    joiner = make_joiner(clock, timeout_ms=50)
    joiner.offer(part)
    assert joiner.expire() == clock.now + 50 * MILLISECOND
    clock.advance(49.9)
    joiner.expire()
    assert published(joiner) == []
    clock.advance(0.1)
    assert joiner.expire() is None
    assert published(joiner) == [(1, status, "timeout")]
    balance(joiner)


def test_part_after_its_answer_is_late_and_not_answered_again(clock: Clock) -> None:
    joiner = make_joiner(clock)
    joiner.offer(frame(1))
    clock.advance(60)
    joiner.expire()
    joiner.offer(detections(1))  # answered, not yet published
    assert len(published(joiner)) == 1
    joiner.offer(detections(1))  # published
    assert published(joiner) == []
    assert joiner.ledger.unanswered["late"] == 2
    balance(joiner)


def test_doubled_messages_are_counted_once(clock: Clock) -> None:
    joiner = make_joiner(clock)
    for message in (frame(1), frame(1), detections(1), detections(1), frame(1)):
        joiner.offer(message)
    work(joiner)
    assert published(joiner) == [(1, "ok", "")]
    assert joiner.ledger.unanswered["duplicate"] == 3
    assert joiner.ledger.received == 1


def test_order_holds_whatever_finishes_first(clock: Clock) -> None:
    joiner = make_joiner(clock)
    joiner.offer(frame(1))  # waits for its detections
    for frame_id in (3, 2):  # arrives out of order
        joiner.offer(frame(frame_id))
        joiner.offer(detections(frame_id))
    work(joiner)
    assert published(joiner) == []
    joiner.offer(detections(1))
    work(joiner)
    assert [row[0] for row in published(joiner)] == [1, 2, 3]


def test_jump_counts_as_lost_upstream(clock: Clock) -> None:
    joiner = make_joiner(clock)
    for frame_id in (10, 11, 15):
        joiner.offer(frame(frame_id))
        joiner.offer(detections(frame_id, number=0))
    published(joiner)
    assert joiner.ledger.lost_upstream == 3
    joiner.offer(end(18))
    assert published(joiner) == [(18, "end", "")]
    assert joiner.ledger.lost_upstream == 6


def test_window_in_frames_drops_the_oldest(clock: Clock) -> None:
    joiner = make_joiner(clock, max_frames=4)
    for frame_id in range(6):
        joiner.offer(frame(frame_id))
    assert published(joiner) == [(0, "dropped", "window"), (1, "dropped", "window")]
    assert joiner.depths().pending == 4
    balance(joiner)


def test_of_a_full_window_detections_go_first_whose_frame_was_overtaken(clock: Clock) -> None:
    joiner = make_joiner(clock, max_frames=4)
    for part in (frame(0), detections(0), detections(1), detections(2), frame(3), detections(4)):
        joiner.offer(part)
    # One and two wait for frames that three has overtaken; four may still get its own.
    assert published(joiner) == []
    joiner.offer(detections(5))
    joiner.offer(detections(3))
    assert joiner.ledger.drops == {"window": 2}
    assert work(joiner) == [0, 3]
    assert published(joiner) == [
        *((0, "ok", ""), (1, "dropped", "window"), (2, "dropped", "window"), (3, "ok", "")),
    ]
    balance(joiner)


def test_a_frame_that_was_answered_has_overtaken_those_before_it(clock: Clock) -> None:
    joiner = make_joiner(clock, max_frames=3)
    for part in (frame(0), detections(1), frame(2), detections(2)):
        joiner.offer(part)
    assert work(joiner) == [2]
    joiner.offer(detections(3))
    joiner.offer(detections(4))  # one too many waits: not frame 0, whose detections may come
    assert joiner.ledger.drops == {"window": 1}
    joiner.offer(detections(0))
    assert work(joiner) == [0]
    assert published(joiner) == [(0, "ok", ""), (1, "dropped", "window"), (2, "ok", "")]
    balance(joiner)


def test_window_in_bytes_drops_the_oldest(clock: Clock) -> None:
    side = 512  # half a MiB a frame
    joiner = make_joiner(clock, max_mib=1.0)
    for frame_id in range(3):
        joiner.offer(frame(frame_id, side=side))
    assert published(joiner) == [(0, "dropped", "window")]
    assert joiner.depths().bytes == 2**20


def test_answers_behind_a_stuck_frame_are_bounded(clock: Clock) -> None:
    joiner = make_joiner(clock, max_frames=4)
    joiner.offer(frame(0))
    joiner.offer(detections(0))
    (stuck,) = joiner.take(0)
    for frame_id in range(1, 100):
        joiner.offer(frame(frame_id))
        joiner.offer(detections(frame_id, number=0))
    assert joiner.depths().pending == 16
    assert joiner.ledger.unanswered["window"] == 2 * 84
    joiner.finish(stuck, plain_answer(stuck, "ok", "", ENGINE))
    assert [row[0] for row in published(joiner)] == list(range(16))
    balance(joiner)


def test_live_mode_does_not_infer_what_is_too_old(clock: Clock) -> None:
    joiner = make_joiner(clock, max_age_ms=200)
    for frame_id in (1, 2):
        joiner.offer(frame(frame_id))
        joiner.offer(detections(frame_id))
        clock.advance(150)
    assert work(joiner) == [2]
    assert published(joiner) == [(1, "dropped", "too_old"), (2, "ok", "")]


def test_lossless_mode_blocks_instead_of_dropping(clock: Clock) -> None:
    joiner = make_joiner(clock, mode="lossless", max_frames=3, timeout_ms=5000)
    for frame_id in range(3):
        assert joiner.blocked() == (False, False)
        joiner.offer(frame(frame_id))
    assert joiner.blocked() == (True, False)
    for frame_id in range(3):
        joiner.offer(detections(frame_id))
    clock.advance(1000)
    assert work(joiner) == [0, 1, 2]
    assert joiner.blocked() == (True, False)  # answers count until they are out
    assert [row[1] for row in published(joiner)] == ["ok"] * 3
    assert joiner.blocked() == (False, False)


def test_lossless_mode_blocks_detections_that_run_ahead(clock: Clock) -> None:
    joiner = make_joiner(clock, mode="lossless", max_frames=3)
    for frame_id in range(3):
        joiner.offer(detections(frame_id))
    assert joiner.blocked() == (False, True)


def test_new_epoch_resets_the_stream_in_order(clock: Clock) -> None:
    joiner = make_joiner(clock)
    joiner.offer(frame(7))
    joiner.offer(frame(8))
    joiner.offer(detections(8))
    joiner.offer(frame(0, epoch=OTHER_EPOCH))
    joiner.offer(detections(0, number=0, epoch=OTHER_EPOCH))
    assert published(joiner) == [(7, "no_detections", "new_epoch")]
    work(joiner)
    assert published(joiner) == [(8, "ok", ""), (0, "empty", "")]
    joiner.offer(detections(7))
    assert joiner.ledger.unanswered["stale_epoch"] == 1
    balance(joiner)


def test_end_follows_the_last_answer(clock: Clock) -> None:
    joiner = make_joiner(clock)
    joiner.offer(frame(1))
    joiner.offer(end(1))
    assert published(joiner) == []
    joiner.offer(detections(1))
    work(joiner)
    assert published(joiner) == [(1, "ok", ""), (1, "end", "")]
    joiner.offer(end(1))
    assert published(joiner) == []
    joiner.offer(frame(2))  # nothing may follow an end within its epoch
    assert joiner.ledger.unanswered["late"] == 1


def test_no_stream_blocks_another(clock: Clock) -> None:
    joiner = make_joiner(clock)
    joiner.offer(frame(1, stream="stuck"))
    joiner.offer(frame(1, stream="free"))
    joiner.offer(detections(1, stream="free"))
    work(joiner)
    assert published(joiner) == [(1, "ok", "")]


def test_batches_span_frames_and_take_streams_in_turn(clock: Clock) -> None:
    joiner = make_joiner(clock, max_crops=8)
    for frame_id in range(6):
        joiner.offer(frame(frame_id, stream="busy"))
        joiner.offer(detections(frame_id, stream="busy"))
    joiner.offer(frame(0, stream="quiet"))
    joiner.offer(detections(0, stream="quiet"))
    batch = joiner.take(0)
    assert len(batch) == 4  # 4 x 2 candidates
    assert {ticket.key.stream for ticket in batch} == {"busy", "quiet"}


@pytest.mark.parametrize("streams", ["ab", "abc", "abcd"])
@pytest.mark.parametrize("crops", [2, 300])
def test_every_stream_has_its_turn_where_a_batch_holds_one_frame(
    clock: Clock, streams: str, crops: int
) -> None:
    """Also where one frame alone is more than a batch should hold."""
    joiner = make_joiner(clock, max_crops=2)
    for frame_id in range(6):
        for stream in streams:
            joiner.offer(frame(frame_id, stream=stream))
            joiner.offer(detections(frame_id, stream=stream, number=crops))
    turns: list[str] = []
    while batch := joiner.take(0):
        (ticket,) = batch
        turns.append(ticket.key.stream)
        joiner.finish(ticket, plain_answer(ticket, "ok", "", ENGINE))
    rounds = [turns[i : i + len(streams)] for i in range(0, len(turns), len(streams))]
    assert [sorted(each) for each in rounds] == [list(streams)] * 6


def test_a_batch_takes_one_frame_of_each_stream_before_the_next_of_any(clock: Clock) -> None:
    joiner = make_joiner(clock, max_crops=12)
    for frame_id in range(4):
        for stream in "abc":
            joiner.offer(frame(frame_id, stream=stream))
            joiner.offer(detections(frame_id, stream=stream))
    batch = joiner.take(0)
    assert [ticket.key.frame_id for ticket in batch] == [0, 0, 0, 1, 1, 1]
    assert {ticket.key.stream for ticket in batch[:3]} == set("abc")


def test_a_batch_holds_as_many_candidates_as_it_may_and_none_beyond(clock: Clock) -> None:
    joiner = make_joiner(clock, max_crops=6)
    for frame_id, number in enumerate((2, 4, 3, 4)):
        joiner.offer(frame(frame_id))
        joiner.offer(detections(frame_id, number=number))
    batches = [[ticket.key.frame_id for ticket in joiner.take(0)] for _ in range(3)]
    assert batches == [[0, 1], [2], [3]]


def test_frames_that_share_no_run_come_one_by_one(clock: Clock) -> None:
    joiner = make_joiner(clock, across_frames=False)
    for frame_id in range(3):
        joiner.offer(frame(frame_id))
        joiner.offer(detections(frame_id))
    assert [len(joiner.take(0)) for _ in range(4)] == [1, 1, 1, 0]


@pytest.mark.parametrize(
    "window", [{"max_frames": 2}, {"max_mib": 2**-15}], ids=["frames", "bytes"]
)
def test_a_live_node_reads_on_at_a_full_window_and_a_lossless_one_does_not(
    clock: Clock, window: dict[str, Any]
) -> None:
    """Frames of 32 bytes: one fills the window of bytes."""
    live = make_joiner(clock, **window)
    lossless = make_joiner(clock, mode="lossless", **window)
    for frame_id in range(2):
        for joiner in (live, lossless):
            joiner.offer(frame(frame_id))
            joiner.offer(detections(frame_id + 10))
    assert live.blocked() == (False, False)
    assert lossless.blocked()[0]


def test_a_lossless_window_is_full_to_the_byte(clock: Clock) -> None:
    joiner = make_joiner(clock, mode="lossless", max_mib=64 / 2**20)
    joiner.offer(frame(0))
    assert joiner.blocked() == (False, False)  # 32 of 64 bytes
    joiner.offer(frame(1))
    assert joiner.blocked() == (True, False)


def test_a_live_window_holds_what_fits_to_the_byte(clock: Clock) -> None:
    joiner = make_joiner(clock, max_mib=64 / 2**20)
    joiner.offer(frame(0))
    joiner.offer(frame(1))
    assert published(joiner) == []
    joiner.offer(frame(2))
    assert published(joiner) == [(0, "dropped", "window")]


def test_a_stream_is_forgotten_for_a_new_one_after_ten_seconds_of_silence(clock: Clock) -> None:
    joiner = make_joiner(clock, max_streams=2)
    for name in "ab":
        joiner.offer(frame(1, stream=name))
        joiner.offer(detections(1, stream=name, number=0))
        clock.advance(1)
    published(joiner)
    clock.advance(9_997.9)  # 9,999.9 ms and 9,998.9 ms
    joiner.offer(frame(1, stream="c"))
    assert joiner.ledger.unanswered == {"streams": 1}
    clock.advance(0.1)
    joiner.offer(frame(1, stream="c"))  # in the place of the one silent for longest
    joiner.offer(frame(1, stream="b"))
    assert joiner.ledger.unanswered == {"streams": 1, "late": 1}
    assert joiner.depths().streams == 2


def test_sixteen_former_epochs_are_known_again(clock: Clock) -> None:
    """Their stragglers do not look like a restart; of one before these nobody knows."""
    joiner = make_joiner(clock)
    epochs = [bytes([number]) * 16 for number in range(18)]
    for epoch in epochs:
        joiner.offer(frame(0, epoch=epoch))
        joiner.offer(detections(0, epoch=epoch, number=0))
        published(joiner)
    joiner.offer(detections(1, epoch=epochs[1]))
    assert joiner.ledger.unanswered == {"stale_epoch": 1}
    joiner.offer(detections(1, epoch=epochs[0]))
    assert joiner.ledger.unanswered == {"stale_epoch": 1}
    assert joiner.depths().waiting == 1


def test_a_frame_is_too_old_beyond_its_age_only(clock: Clock) -> None:
    joiner = make_joiner(clock, max_age_ms=200)
    for frame_id in (1, 2):
        joiner.offer(frame(frame_id))
        joiner.offer(detections(frame_id))
        clock.now += 1
    clock.advance(200)
    clock.now -= 1
    assert work(joiner) == [2]  # 200 ms, and the other one a nanosecond more
    assert published(joiner) == [(1, "dropped", "too_old"), (2, "ok", "")]


@pytest.mark.parametrize("ending", ["crops", "end", "close", "delay"])
def test_a_batch_waits_until_it_is_full_or_nothing_more_comes(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    joiner = make_joiner(clock, max_crops=4, max_delay_ms=100)
    joiner.offer(frame(1))
    joiner.offer(detections(1))
    waits: list[float] = []

    def wait(seconds: float) -> None:
        """What happens while the worker waits, with the lock given up."""
        waits.append(seconds)
        joiner._lock.release()
        if ending == "crops" and len(waits) == 2:
            joiner.offer(frame(2))
            joiner.offer(detections(2))
        elif ending == "end" and len(waits) == 2:
            joiner.offer(end(1))
        elif ending == "close" and len(waits) == 2:
            joiner.close()
        joiner._lock.acquire()
        clock.advance(40)

    monkeypatch.setattr(joiner._work, "wait", wait)
    batch = joiner.take(0)
    assert [ticket.key.frame_id for ticket in batch] == ([1, 2] if ending == "crops" else [1])
    expected = [0.1, 0.06, 0.02] if ending == "delay" else [0.1, 0.06]
    assert waits == pytest.approx(expected)


@pytest.mark.parametrize(("delay_ms", "waited"), [(0.0, []), (0.5, [0.0005]), (1.0, [0.001])])
def test_a_batch_waits_however_short_the_wait(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, delay_ms: float, waited: list[float]
) -> None:
    joiner = make_joiner(clock, max_crops=4, max_delay_ms=delay_ms)
    joiner.offer(frame(1))
    joiner.offer(detections(1))
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(2)

    monkeypatch.setattr(joiner._work, "wait", wait)
    assert len(joiner.take(0)) == 1
    assert waits == pytest.approx(waited)


@pytest.mark.parametrize("delay_ms", [0.0, 100.0])
def test_nothing_is_taken_where_nothing_is_ready(clock: Clock, delay_ms: float) -> None:
    joiner = make_joiner(clock, max_delay_ms=delay_ms)
    assert joiner.take(0) == []
    joiner.offer(frame(1))
    assert joiner.take(0) == []


def test_an_end_that_is_said_twice_is_passed_on_once(clock: Clock) -> None:
    joiner = make_joiner(clock)
    joiner.offer(end(0))
    joiner.offer(end(0))  # before the first was passed on
    assert joiner.ledger.unanswered == {"duplicate": 1}
    assert published(joiner) == [(0, "end", "")]
    joiner.offer(end(0))  # after it
    assert joiner.ledger.unanswered == {"duplicate": 2}
    assert published(joiner) == []


def test_kinds_that_the_node_does_not_read_are_counted_and_open_nothing(clock: Clock) -> None:
    joiner = make_joiner(clock)
    for number in (1, 2):
        joiner.offer(Status(node="cam", timestamp_ns=1, body={}))
        assert joiner.ledger.unanswered == {"unexpected": number}
        assert joiner.ledger.messages == {"status": number}
    assert joiner.depths().streams == 0


def test_streams_are_bounded_and_idle_ones_forgotten(clock: Clock) -> None:
    joiner = make_joiner(clock, max_streams=2)
    joiner.offer(frame(1, stream="a"))
    clock.advance(1)
    joiner.offer(frame(1, stream="b"))
    joiner.offer(frame(1, stream="c"))
    assert joiner.ledger.unanswered["streams"] == 1
    clock.advance(20_000)
    joiner.expire()
    assert len(published(joiner)) == 2
    joiner.offer(frame(1, stream="c"))
    assert joiner.depths().streams == 2
    assert joiner.depths().pending == 1


def test_close_answers_what_waits_and_drains(clock: Clock) -> None:
    joiner = make_joiner(clock)
    joiner.offer(frame(1))
    joiner.offer(frame(2))
    joiner.offer(detections(2))
    joiner.close()
    assert not joiner.drained()
    work(joiner)
    assert published(joiner) == [(1, "no_detections", "shutdown"), (2, "ok", "")]
    assert joiner.drained()


@pytest.mark.parametrize("seed", range(20))
def test_random_traffic_is_answered_exactly_once_and_in_order(clock: Clock, seed: int) -> None:
    """Loss, doubling, reordering, restarts, expiry and work, mixed at random."""
    chance = random.Random(seed)
    joiner = make_joiner(clock, max_frames=8)
    epochs = [bytes([n]) * 16 for n in range(3)]
    traffic = []
    for position, epoch in enumerate(epochs):
        part = [m(i, epoch=epoch) for i in range(60) for m in (frame, detections)]
        traffic += [(position * 1000 + i + chance.uniform(0, 9), m) for i, m in enumerate(part)]
    traffic = [row for row in traffic if chance.random() > 0.1]
    traffic += [(when + 3, message) for when, message in traffic if chance.random() < 0.1]
    out: list[tuple[bytes, int]] = []
    for _, message in sorted(traffic, key=lambda row: row[0]):
        joiner.offer(message)
        clock.advance(chance.choice([0, 1, 20]))
        joiner.expire()
        if chance.random() < 0.3:
            work(joiner)
        if chance.random() < 0.5:
            out += [(d.message.epoch, d.message.frame_id) for d in joiner.due(0)]
        balance(joiner)
    joiner.close()
    work(joiner)
    out += [(d.message.epoch, d.message.frame_id) for d in joiner.due(0)]
    assert joiner.drained()
    assert len(out) == len(set(out)) == joiner.ledger.received == joiner.ledger.answered
    assert out == sorted(out)


def test_detections_of_an_older_epoch_do_not_take_the_stream_over(clock: Clock) -> None:
    """A detector that lags behind a restart still sends the epoch before; the node never saw it."""
    joiner = make_joiner(clock)
    joiner.offer(frame(0))
    joiner.offer(detections(0))
    joiner.offer(detections(57, epoch=OTHER_EPOCH))
    for frame_id in (1, 2):
        joiner.offer(frame(frame_id))
        joiner.offer(detections(58, epoch=OTHER_EPOCH))
        joiner.offer(detections(frame_id))
    work(joiner)
    assert [row[:2] for row in published(joiner)] == [
        *[(57, "no_frame"), (0, "ok"), (1, "ok"), (2, "ok")]
    ]
    assert joiner.ledger.unanswered["stale_epoch"] == 2
    balance(joiner)


def test_epoch_that_comes_back_answers_no_key_twice(clock: Clock) -> None:
    joiner = make_joiner(clock)
    joiner.offer(frame(0))
    joiner.offer(detections(9, epoch=OTHER_EPOCH))
    joiner.offer(frame(1))
    assert [row[:2] for row in published(joiner)] == [(9, "no_frame"), (0, "no_detections")]
    for frame_id in (0, 1):
        joiner.offer(frame(frame_id))
        joiner.offer(detections(frame_id, number=0))
    assert published(joiner) == [(1, "empty", "")]
    assert joiner.ledger.unanswered["late"] == 2
    balance(joiner)


def test_frames_left_over_from_before_a_restart_do_not_hold_it_up(clock: Clock) -> None:
    """The first detections of the new epoch overtake the last frame of the old one."""
    joiner = make_joiner(clock)
    joiner.offer(frame(7))
    joiner.offer(detections(0, epoch=OTHER_EPOCH))
    joiner.offer(frame(8))
    for frame_id in (1, 2):
        joiner.offer(frame(frame_id, epoch=OTHER_EPOCH))
        joiner.offer(detections(frame_id, epoch=OTHER_EPOCH))
    joiner.offer(frame(9))
    assert joiner.ledger.unanswered["stale_epoch"] == 1
    work(joiner)
    rows = [(due.message.epoch, due.message.frame_id) for due in joiner.due(0)]
    assert rows == [(EPOCH, 7), (EPOCH, 8), *((OTHER_EPOCH, n) for n in range(3))]
    balance(joiner)


def test_timestamp_is_that_of_the_frame(clock: Clock) -> None:
    joiner = make_joiner(clock)
    joiner.offer(Detections("cam", EPOCH, 1, 999, x=[], y=[]))
    joiner.offer(frame(1))
    ((answer, _),) = joiner.due(0)
    assert answer.timestamp_ns == 5


def test_end_is_passed_on_although_the_input_closed(clock: Clock) -> None:
    joiner = make_joiner(clock)
    joiner.offer(end(1))
    joiner.close()
    assert not joiner.drained()
    assert published(joiner) == [(1, "end", "")]
    assert joiner.drained()


def test_age_counts_from_the_first_part(clock: Clock) -> None:
    """Frame 1 is older than frame 2 but was joined after it."""
    joiner = make_joiner(clock, max_age_ms=200, timeout_ms=100)
    joiner.offer(frame(1))
    clock.advance(30)
    for part in (frame(2), detections(2), detections(1)):
        joiner.offer(part)
    clock.advance(180)
    assert work(joiner) == [2]
    assert published(joiner) == [(1, "dropped", "too_old"), (2, "ok", "")]


def test_frames_in_the_engine_take_no_place_of_those_that_wait(clock: Clock) -> None:
    joiner = make_joiner(clock, max_frames=2)
    for frame_id in range(7):
        joiner.offer(frame(frame_id))
        joiner.offer(detections(frame_id))
        if frame_id == 1:
            running = joiner.take(0)
    assert len(running) == 2
    for ticket in running:
        joiner.finish(ticket, plain_answer(ticket, "ok", "", ENGINE))
    assert work(joiner) == [5, 6]  # the newest: the oldest went first
    balance(joiner)


def test_nothing_grows_behind_a_stuck_engine(clock: Clock) -> None:
    joiner = make_joiner(clock, max_frames=4)
    joiner.offer(frame(0, stream="stuck"))
    joiner.offer(detections(0, stream="stuck"))
    (stuck,) = joiner.take(0)
    for number in range(500):
        for stream in ("stuck", "free"):
            joiner.offer(frame(number, stream=stream))
            joiner.offer(detections(number, stream=stream))
        joiner.offer(end(0, stream="stuck", epoch=number.to_bytes(16)))
        published(joiner)
    joiner.finish(stuck, plain_answer(stuck, "ok", "", ENGINE))
    for state in joiner._streams.values():
        assert max(len(state.ready), len(state.queues), len(state.retired)) <= 16
    balance(joiner)


def test_streams_in_use_are_not_forgotten(clock: Clock) -> None:
    """Else a late part of a stream that was forgotten would be answered as a new key."""
    joiner = make_joiner(clock, max_streams=1)
    joiner.offer(frame(1, stream="a"))
    clock.advance(60)
    joiner.expire()
    assert published(joiner) == [(1, "no_detections", "timeout")]
    joiner.offer(frame(1, stream="b"))
    joiner.offer(detections(1, stream="a"))
    assert joiner.ledger.unanswered == {"streams": 1, "late": 1}


def test_frame_ids_that_jump_far_do_not_break_the_heartbeat(clock: Clock) -> None:
    joiner = make_joiner(clock)
    for epoch in (EPOCH, OTHER_EPOCH):
        for frame_id in (0, 2**64 - 1):
            joiner.offer(frame(frame_id, epoch=epoch))
            joiner.offer(detections(frame_id, number=0, epoch=epoch))
            published(joiner)
    assert joiner.ledger.lost_upstream >= 2**63 - 1
    encode(Status(node="node0", timestamp_ns=1, body=joiner.snapshot()))


def test_answers_without_inference_say_where_their_time_went(clock: Clock) -> None:
    joiner = make_joiner(clock, timeout_ms=50, max_age_ms=200)
    joiner.offer(frame(1))
    joiner.offer(frame(2))
    clock.advance(20)
    joiner.offer(detections(2))
    clock.advance(30)
    joiner.expire()
    clock.advance(200)
    work(joiner)
    timings = [due.message.timing for due in joiner.due(0) if isinstance(due.message, Targets)]
    assert [(t.join, t.queue) for t in timings] == [
        (50 * MILLISECOND, 0),
        (20 * MILLISECOND, 230 * MILLISECOND),
    ]


def test_abandoning_answers_what_the_engine_has_not_taken(clock: Clock) -> None:
    joiner = make_joiner(clock, max_crops=2)
    for frame_id in (1, 2):
        joiner.offer(frame(frame_id))
        joiner.offer(detections(frame_id))
    (running,) = joiner.take(0)
    joiner.close()
    joiner.abandon()
    joiner.finish(running, plain_answer(running, "ok", "", ENGINE))
    assert published(joiner) == [(1, "ok", ""), (2, "dropped", "shutdown")]
    assert joiner.drained()


def test_full_window_ends_the_wait_for_a_batch() -> None:
    """With the window full the next frame would push one out while the engine idles."""
    joiner = make_joiner(Clock(), max_frames=2, max_delay_ms=10_000)
    for frame_id in (1, 2):
        joiner.offer(frame(frame_id))
        joiner.offer(detections(frame_id))
    assert len(joiner.take(0)) == 2  # with a clock that stands still it would wait for ever


def test_what_is_due_is_not_waited_for(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    joiner = make_joiner(clock)
    waits: list[float] = []
    monkeypatch.setattr(joiner._due, "wait", waits.append)
    joiner.due(3.0)
    assert waits == [3.0]
    joiner.offer(frame(1))
    joiner.offer(detections(1, number=0))
    assert len(joiner.due(3.0)) == 1
    joiner.close()
    assert joiner.due(3.0) == []  # nothing more will come
    assert waits == [3.0]


class WatchedLock:
    """Counts how often it is taken."""

    def __init__(self, lock: threading.Lock) -> None:
        self.lock, self.taken = lock, 0

    def __enter__(self) -> None:
        self.lock.acquire()
        self.taken += 1

    def __exit__(self, *_: object) -> None:
        self.lock.release()


@pytest.mark.parametrize(
    "act",
    [
        lambda joiner: joiner.offer(frame(9)),
        Joiner.expire,
        Joiner.blocked,
        Joiner.close,
        Joiner.abandon,
        lambda joiner: joiner.take(0),
        lambda joiner: joiner.finish(Ticket(frame(9).key, 5, 5), None),
        lambda joiner: joiner.due(0),
        Joiner.drained,
        Joiner.depths,
        Joiner.snapshot,
        lambda joiner: joiner.reject("header"),
    ],
)
def test_whatever_a_thread_does_it_holds_the_lock(
    clock: Clock, act: Callable[[Joiner], object]
) -> None:
    """Three threads share the state: without the lock a count or a ticket is lost now and then."""
    joiner = make_joiner(clock, mode="lossless")
    joiner.offer(frame(1))
    joiner.offer(detections(1))
    watched = WatchedLock(joiner._lock)
    joiner._lock = watched  # type: ignore[assignment]
    act(joiner)
    assert watched.taken == 1
    assert not watched.lock.locked()


class TestLosslessDeadlines:
    """What the node itself keeps from being read must not count as missing."""

    def test_detections_wait_for_frames_that_are_not_read(self, clock: Clock) -> None:
        joiner = make_joiner(clock, mode="lossless", max_frames=2, timeout_ms=50)
        for frame_id in (0, 1):
            joiner.offer(frame(frame_id))
            joiner.offer(detections(frame_id))
        joiner.offer(detections(2))
        taken = joiner.take(0)  # a slow run of the engine
        assert joiner.blocked() == (True, False)
        for _ in range(10):
            clock.advance(20)
            joiner.expire()
        for ticket in taken:
            joiner.finish(ticket, plain_answer(ticket, "ok", "", ENGINE))
        assert [row[1] for row in published(joiner)] == ["ok", "ok"]
        joiner.expire()
        joiner.offer(frame(2))
        work(joiner)
        assert published(joiner) == [(2, "ok", "")]

    def test_frames_wait_for_detections_that_are_not_read(self, clock: Clock) -> None:
        joiner = make_joiner(clock, mode="lossless", max_frames=2, timeout_ms=50)
        joiner.offer(frame(0))
        joiner.offer(detections(0))
        joiner.take(0)
        joiner.offer(frame(0, stream="other"))
        joiner.offer(detections(1))
        joiner.offer(detections(2))
        assert joiner.blocked() == (False, True)
        for _ in range(10):
            clock.advance(20)
            joiner.expire()
        joiner.offer(detections(0, stream="other"))
        assert work(joiner) == [0]

    def test_a_lost_frame_holds_the_stream_up_no_longer_than_the_deadline(
        self, clock: Clock
    ) -> None:
        joiner = make_joiner(clock, mode="lossless", max_frames=2, timeout_ms=50)
        joiner.offer(detections(0))
        for frame_id in (1, 2):
            joiner.offer(frame(frame_id))
            joiner.offer(detections(frame_id))
        work(joiner)
        assert joiner.blocked() == (True, False)
        clock.advance(50)
        joiner.expire()
        assert published(joiner)[0] == (0, "no_frame", "timeout")
        assert joiner.blocked() == (False, False)

    @pytest.mark.parametrize("seed", range(10))
    def test_nothing_is_lost_whatever_is_slow(self, clock: Clock, seed: int) -> None:
        """Two streams, each input in its own order; engine and publisher stop and go."""
        chance = random.Random(seed)
        joiner = make_joiner(clock, mode="lossless", max_frames=4, timeout_ms=50, max_crops=6)
        inputs = [
            [make(n, stream=s) for n in range(100) for s in chance.sample(["a", "b"], 2)]
            for make in (frame, detections)
        ]
        out: list[tuple[str, int, str]] = []
        running: list[Ticket] = []
        while len(out) < 200:
            clock.advance(chance.choice([1, 10, 40]))
            while readable := [p for p in (0, 1) if inputs[p] and not joiner.blocked()[p]]:
                joiner.offer(inputs[chance.choice(readable)].pop(0))
            joiner.expire()
            if chance.random() < 0.1:
                for ticket in running:
                    joiner.finish(ticket, plain_answer(ticket, "ok", "", ENGINE))
                running = joiner.take(0)
            if chance.random() < 0.1:
                answers = [due.message for due in joiner.due(0)]
                out += [(a.stream, a.frame_id, a.status) for a in answers]  # type: ignore[union-attr]
            balance(joiner)
        assert sorted(out) == [(s, n, "ok") for s in "ab" for n in range(100)]

    def test_windows_full_of_halves_are_given_up(self, clock: Clock) -> None:
        joiner = make_joiner(clock, mode="lossless", max_frames=2, timeout_ms=50)
        for frame_id in (0, 1):
            joiner.offer(frame(frame_id))
            joiner.offer(detections(frame_id + 10))
        assert joiner.blocked() == (True, True)
        clock.advance(50)
        joiner.expire()
        assert len(published(joiner)) == 4

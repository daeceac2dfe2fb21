"""Tickets of one epoch: their order, what is past, and how many ids were skipped."""

import numpy as np
import pytest

from dscsnet.pipeline.join.tickets import EpochQueue, State, Ticket
from dscsnet.pipeline.messages import Detections, End, EngineInfo, Frame, FrameKey
from dscsnet.pipeline.worker import plain_answer

EPOCH = bytes(16)
ENGINE = EngineInfo(runtime="none", model="none", sha256="", psf_sigma=0.5)


def ticket(frame_id: int, state: State = State.WAITING) -> Ticket:
    return Ticket(FrameKey("cam", EPOCH, frame_id), 0, 0, state=state)


def end(frame_id: int) -> End:
    return End("cam", EPOCH, frame_id, 0)


def queue_of(*tickets: Ticket) -> EpochQueue:
    queue = EpochQueue(EPOCH)
    for each in tickets:
        queue.add(each)
    return queue


def test_an_answer_lets_go_of_the_parts() -> None:
    each = ticket(1)
    each.frame = Frame("cam", EPOCH, 1, 0, np.zeros((2, 2), np.uint16))
    each.detections = Detections("cam", EPOCH, 1, 0, x=[1.0], y=[1.0])
    each.bytes, each.framed = 8, True
    answer = plain_answer(each, "dropped", "why", ENGINE)
    each.finish(answer)
    assert (each.answer, each.state, each.bytes) == (answer, State.DONE, 0)
    assert each.frame is each.detections is None
    assert each.framed


@pytest.mark.parametrize(
    ("joined", "taken", "expected"), [(0, 0, (9, 9)), (4, 0, (4, 9)), (4, 7, (4, 7))]
)
def test_stages_that_never_came_end_with_the_answer(
    joined: int, taken: int, expected: tuple[int, int]
) -> None:
    each = ticket(1)
    each.joined_ns, each.taken_ns = joined, taken
    each.settle(9)
    assert (each.joined_ns, each.taken_ns) == expected


def test_answers_come_in_order_and_skipped_ids_are_counted() -> None:
    queue = queue_of(ticket(9, State.DONE), ticket(4, State.DONE), ticket(5))
    first = queue.pop_done()
    assert first is not None
    assert (first[0].key.frame_id, first[1]) == (4, 0)  # what came before is not known
    assert queue.pop_done() is None
    assert queue.find(4) is None
    five = queue.find(5)
    assert five is not None
    five.state = State.DONE
    told = [(each[0].key.frame_id, each[1]) for each in iter(queue.pop_done, None) if each]
    assert told == [(5, 0), (9, 3)]
    assert queue.published == 9


def test_what_can_no_longer_come_in_order_is_past() -> None:
    queue = queue_of(ticket(4, State.DONE))
    assert not queue.is_past(0)
    queue.pop_done()
    assert [queue.is_past(k) for k in (3, 4, 5)] == [True, True, False]
    queue.end = end(7)
    assert not queue.is_past(5)
    queue.pop_end()
    assert queue.is_past(5)


@pytest.mark.parametrize(
    ("published", "last", "skipped"), [(None, 7, 0), (7, 7, 0), (4, 7, 3), (9, 7, 0)]
)
def test_an_end_says_how_many_last_ids_never_came(
    published: int | None, last: int, skipped: int
) -> None:
    queue = EpochQueue(EPOCH, published=published)
    assert queue.pop_end() is None
    assert queue.is_done
    queue.end = end(last)
    assert not queue.is_done
    assert queue.pop_end() == (end(last), skipped)
    assert queue.is_done
    assert queue.ended
    assert queue.pop_end() is None


def test_an_end_waits_for_every_ticket() -> None:
    queue = queue_of(ticket(4))
    queue.end = end(4)
    assert queue.pop_end() is None
    assert not queue.is_done

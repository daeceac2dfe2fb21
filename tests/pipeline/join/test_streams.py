"""One stream and its epochs: what it says of its tickets in each of their states."""

import numpy as np
import pytest

from dscsnet.pipeline.join.streams import REMEMBERED_EPOCHS, StreamState
from dscsnet.pipeline.join.tickets import EpochQueue, State, Ticket
from dscsnet.pipeline.messages import Detections, End, Frame, FrameKey

W, R, X, D = State.WAITING, State.READY, State.RUNNING, State.DONE
PIXELS = np.zeros((2, 3), np.uint16)


def epoch(number: int) -> bytes:
    return bytes([number]) * 16


def ticket(frame_id: int, state: State = W, *, framed: bool = False, of: int = 1) -> Ticket:
    """A ticket of an epoch; with its frame where `framed`, gone once it is done."""
    key = FrameKey("cam", epoch(of), frame_id)
    made = Ticket(key, 0, 0, state=state, framed=framed, bytes=12 if framed and state != D else 0)
    if framed and state is not D:
        made.frame = Frame("cam", epoch(of), frame_id, 0, PIXELS)
    return made


def stream_of(*tickets: Ticket, ended: bool = False) -> StreamState:
    """Each ticket in the queue of its epoch, in their order."""
    stream = StreamState()
    for each in tickets:
        if stream.current is None or stream.current.epoch != each.key.epoch:
            stream.queues.append(EpochQueue(each.key.epoch))
        assert stream.current is not None
        stream.current.add(each)
    if ended and stream.current is not None:
        stream.current.end = End("cam", stream.current.epoch, 99, 0)
    return stream


def test_tickets_come_in_the_order_of_epochs_and_frames() -> None:
    stream = stream_of(ticket(7), ticket(3), ticket(5), ticket(1, of=2))
    ids = [(each.key.epoch[0], each.key.frame_id) for each in stream.tickets()]
    assert ids == [(1, 3), (1, 5), (1, 7), (2, 1)]
    assert stream.current is stream.queues[1]
    assert StreamState().current is None


def test_tickets_are_counted_by_their_state_bytes_and_frames() -> None:
    stream = stream_of(
        *(ticket(1, D, framed=True), ticket(2, X, framed=True), ticket(3, R, framed=True)),
        *(ticket(4, W, framed=True), ticket(5, W), ticket(1, W, of=2)),
    )
    assert (stream.pending(), stream.waiting(), stream.framed()) == (6, 4, 4)
    assert stream.held_bytes() == 36


@pytest.mark.parametrize(
    ("states", "moves"),
    [
        ([], False),
        ([W], False),
        ([D], True),
        ([W, D], False),  # the answer waits behind an open key
        ([W, R], True),
        ([W, X], True),
        ([R], True),
    ],
)
def test_a_stream_moves_where_something_is_to_be_done(states: list[State], moves: bool) -> None:
    assert stream_of(*(ticket(k, state) for k, state in enumerate(states))).is_moving() == moves


def test_a_stream_is_done_when_nothing_is_left_to_publish() -> None:
    assert StreamState().is_done()
    assert not stream_of(ticket(1)).is_done()
    ended = stream_of(ticket(1, D), ended=True)
    assert ended.current is not None
    ended.current.pop_done()
    assert not ended.is_done()
    assert ended.current.pop_end() is not None
    assert ended.is_done()


def test_the_oldest_that_the_engine_has_not_taken_goes_first() -> None:
    assert StreamState().oldest_droppable() is None
    assert stream_of(ticket(1, D), ticket(2, X)).oldest_droppable() is None
    for state in (W, R):
        found = stream_of(ticket(1, X), ticket(2, state), ticket(3, W)).oldest_droppable()
        assert found is not None
        assert found.key.frame_id == 2


@pytest.mark.parametrize(
    ("tickets", "overtaken"),
    [
        ([], None),
        ([ticket(1), ticket(2)], None),
        ([ticket(1), ticket(2, R, framed=True)], 1),
        ([ticket(1), ticket(2), ticket(3, D, framed=True)], 1),
        ([ticket(1, W, framed=True), ticket(2)], None),
        ([ticket(1, R, framed=True), ticket(2), ticket(3, W, framed=True)], 2),
        ([ticket(1), ticket(2, D)], None),  # answered without its frame
    ],
)
def test_detections_whose_frame_was_overtaken(tickets: list[Ticket], overtaken: int | None) -> None:
    found = stream_of(*tickets).overtaken()
    assert (None if found is None else found.key.frame_id) == overtaken


def test_the_next_ready_is_the_oldest_that_was_not_dropped() -> None:
    stream = stream_of(ticket(1), ticket(2), ticket(3))
    assert stream.next_ready() is None
    for each in stream.tickets():
        stream.add_ready(each)
    one, two, _ = stream.tickets()
    one.state = State.DONE
    assert stream.next_ready() is stream.next_ready() is two
    assert len(stream.ready) == 2


def test_dropped_tickets_do_not_pile_up_behind_a_busy_engine() -> None:
    stream = StreamState()
    for k in range(9):
        queue = EpochQueue(epoch(1))
        stream.queues.clear()
        stream.queues.append(queue)
        each = ticket(k)
        queue.add(each)
        stream.add_ready(each)
        each.state = State.DONE
        assert len(stream.ready) <= 2


def test_past_epochs_are_known_as_long_as_they_are_remembered() -> None:
    stream = StreamState()
    queues = [EpochQueue(epoch(k)) for k in range(REMEMBERED_EPOCHS + 2)]
    for queue in queues:
        stream.begin(queue)
        stream.forget_published()
        assert stream.current is queue
    assert list(stream.queues) == queues[-1:]
    known = [stream.find(queue.epoch) for queue in queues]
    assert known == [None, *queues[1:]]
    stream.begin(queues[5])
    assert stream.current is queues[5]
    assert queues[5] not in stream.retired
    assert stream.find(epoch(5)) is queues[5]


def test_a_new_epoch_gives_up_what_still_waits_of_the_old() -> None:
    waits, ready = ticket(1), ticket(2, R, framed=True)
    stream = stream_of(waits, ready)
    old = stream.current
    fresh = EpochQueue(epoch(2))
    assert stream.begin(fresh) == [waits]
    assert list(stream.queues) == [old, fresh]
    stream.forget_published()  # there is still something to publish
    assert list(stream.queues) == [old, fresh]
    assert list(stream.retired) == [old]


@pytest.mark.parametrize(
    ("past", "current", "may"), [(0, 0, True), (0, 1, True), (1, 0, True), (1, 1, False)]
)
def test_an_epoch_resumes_unless_frames_of_both_were_seen(
    past: int, current: int, may: bool
) -> None:
    stream = StreamState()
    queue = EpochQueue(epoch(1), framed=bool(past))
    assert stream.may_resume(queue)
    stream.begin(queue)
    stream.begin(EpochQueue(epoch(2), framed=bool(current)))
    assert stream.may_resume(queue) == may


def test_detections_alone_hold_no_bytes() -> None:
    each = ticket(1)
    each.detections = Detections("cam", epoch(1), 1, 0, x=[1.0], y=[1.0])
    assert stream_of(each).held_bytes() == 0

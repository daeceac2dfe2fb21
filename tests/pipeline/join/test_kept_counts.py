"""What the joiner keeps up to date is what a walk over all tickets finds, after every step."""

import random
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from dscsnet.pipeline.join import Joiner, Ticket
from dscsnet.pipeline.join.joiner import MILLISECOND
from dscsnet.pipeline.join.streams import StreamState
from dscsnet.pipeline.join.tickets import State
from dscsnet.pipeline.messages import Message
from dscsnet.pipeline.worker import plain_answer
from tests.pipeline.join.test_joiner import (
    ENGINE,
    Clock,
    balance,
    detections,
    end,
    frame,
    make_joiner,
)

MAX_FRAMES, TIMEOUT_MS, SIDE = 3, 50.0, 4
MAX_BYTES = 4 * SIDE * SIDE * 2
STREAMS = "abc"
WAITING, READY, RUNNING, DONE = State


class Walked:
    """Everything about one stream, found by looking at each of its tickets."""

    def __init__(self, stream: StreamState) -> None:
        self.queues = list(stream.queues)
        self.tickets = [ticket for queue in self.queues for ticket in queue.tickets]
        self.by_state = [sum(t.state is state for t in self.tickets) for state in State]
        self.framed = sum(t.framed for t in self.tickets)
        self.bytes = sum(t.frame.pixels.nbytes for t in self.tickets if t.frame is not None)
        self.full = self.framed >= MAX_FRAMES or self.bytes >= MAX_BYTES
        self.ahead = len(self.tickets) - self.framed >= MAX_FRAMES
        busy = any(t.state in (READY, RUNNING) for t in self.tickets)
        self.moving = busy or bool(self.tickets and self.tickets[0].state is DONE)
        self.ending = any(queue.end is not None for queue in self.queues)
        self.open = bool(self.tickets) or self.ending
        self.ready = [t for t in self.tickets if t.state is READY]

    def due(self) -> bool:
        for queue in self.queues:
            if queue.tickets:
                return queue.tickets[0].state is DONE
            if queue.end is not None:
                return True
        return False

    def droppable(self) -> Ticket | None:
        return next((t for t in self.tickets if t.state in (WAITING, READY)), None)

    def overtaken(self) -> Ticket | None:
        for place, ticket in enumerate(self.tickets):
            if ticket.state is WAITING and ticket.frame is None:
                return ticket if any(t.framed for t in self.tickets[place:]) else None
        return None


def check(joiner: Joiner, clock: Clock, unread_ns: list[int]) -> None:
    """Compare what is kept with what a walk finds."""
    streams = list(joiner._streams.values())
    walked = [Walked(stream) for stream in streams]
    for stream, true in zip(streams, walked, strict=True):
        counts = stream.counts()
        assert counts.by_state == true.by_state
        assert (counts.framed, counts.bytes) == (true.framed, true.bytes)
        assert (stream in joiner._table.due) == true.due()
        assert stream.oldest_droppable() is true.droppable()
        assert stream.overtaken() is true.overtaken()
        assert (stream in joiner._ready._turns) == bool(true.ready)
        assert len(stream.ready) <= (len(true.tickets) + 1 if true.ready else 0)
    for name in ("full", "ahead", "moving", "ending", "open"):
        assert getattr(joiner._table, name) == sum(getattr(true, name) for true in walked), name
    ready = [ticket for true in walked for ticket in true.ready]
    assert set(joiner._ready._tickets) == set(ready)
    assert joiner._ready.crops == sum(len(t.detections.x) for t in ready if t.detections)
    if ready:
        assert joiner._ready.first_joined_ns() == min(t.joined_ns for t in ready)
    waits = [t for true in walked for t in true.tickets if t.state is WAITING]
    deadlines = [
        max(t.received_ns, unread_ns[t.frame is not None]) + int(TIMEOUT_MS * MILLISECOND)
        for t in waits
    ]
    assert joiner._deadlines.nearest() == min(deadlines, default=None)
    assert set(joiner._deadlines.tickets()) == set(waits)
    expired = {t for t, at in zip(waits, deadlines, strict=True) if at <= clock.now}
    assert set(joiner._deadlines.expired(clock.now)) == expired
    depths = joiner.depths()
    oldest = min((t.received_ns for true in walked for t in true.tickets), default=clock.now)
    assert depths.oldest_ms == (clock.now - oldest) / MILLISECOND
    assert depths.bytes == sum(true.bytes for true in walked)
    balance(joiner)


def traffic(chance: random.Random) -> Iterator[Message]:
    """Both parts of frames, now and then an end or another epoch; late, doubled and lost ones."""
    heads, epochs = dict.fromkeys(STREAMS, 0), dict.fromkeys(STREAMS, 0)
    while True:
        name = chance.choice(STREAMS)
        epochs[name] += chance.random() < 0.03
        heads[name] += chance.random() < 0.5
        of_old = chance.random() < 0.1 and epochs[name] > 0
        epoch = bytes([epochs[name] - of_old]) * 16
        frame_id = max(0, heads[name] + chance.choice([-2, -1, 0, 0, 0, 0, 1, 2]))
        kind = chance.random()
        if kind < 0.03:
            yield end(frame_id, name, epoch)
        elif kind < 0.5:
            yield frame(frame_id, name, epoch, side=chance.choice([1, SIDE, 2 * SIDE]))
        else:
            yield detections(frame_id, name, epoch, number=chance.choice([0, 1, 2, 5]))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    mode=st.sampled_from(["live", "lossless"]),
    max_crops=st.sampled_from([1, 4, 256]),
)
def test_kept_counts_are_those_of_a_walk(seed: int, mode: str, max_crops: int) -> None:
    clock, chance = Clock(), random.Random(seed)
    joiner = make_joiner(
        *(clock,),
        mode=mode,
        max_crops=max_crops,
        max_frames=MAX_FRAMES,
        max_mib=MAX_BYTES / 2**20,
        timeout_ms=TIMEOUT_MS,
        max_age_ms=60.0,
        max_streams=2,
    )
    messages, running = traffic(chance), list[Ticket]()
    unread_ns = [0, 0]
    for _ in range(120):
        clock.advance(chance.choice([0.001, 1, 20, *([11_000] if chance.random() < 0.05 else [])]))
        step = chance.random()
        if step < 0.6:
            joiner.offer(next(messages))
        elif step < 0.7:
            moving = any(Walked(stream).moving for stream in joiner._streams.values())
            for part, blocked in enumerate(joiner.blocked()):
                if blocked and moving:
                    unread_ns[part] = clock.now
            joiner.expire()
        elif step < 0.8:
            running += joiner.take(0)
        elif step < 0.9 and running:
            ticket = running.pop(chance.randrange(len(running)))
            joiner.finish(ticket, plain_answer(ticket, "ok", "", ENGINE))
        else:
            joiner.due(0)
        check(joiner, clock, unread_ns)
    joiner.close()
    joiner.abandon()
    for ticket in running:
        joiner.finish(ticket, plain_answer(ticket, "ok", "", ENGINE))
    check(joiner, clock, unread_ns)
    joiner.due(0)
    assert joiner.drained()
    assert joiner.ledger.received == joiner.ledger.answered

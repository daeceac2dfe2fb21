"""The state of one stream: its epochs, its unpublished tickets and what they hold.

Nothing here grows with the number of tickets but what is done once an epoch.
"""

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from dscsnet.pipeline.join.tickets import Counts, EpochQueue, State, Ticket

#: Epochs remembered after they ended.
REMEMBERED_EPOCHS = 16


@dataclass(eq=False)
class StreamState:
    """One stream; the last queue is the current epoch's, those before it are being published.

    Attributes:
        ready: tickets with both parts, in the order of joining; some may have been dropped since.
        retired: epochs that ended, so that their stragglers do not look like a restart.
        last_seen_ns: monotonic clock, for forgetting idle streams.
    """

    queues: deque[EpochQueue] = field(default_factory=deque)
    ready: deque[Ticket] = field(default_factory=deque)
    retired: deque[EpochQueue] = field(default_factory=lambda: deque(maxlen=REMEMBERED_EPOCHS))
    last_seen_ns: int = 0

    @property
    def current(self) -> EpochQueue | None:
        """The queue of the newest epoch."""
        return self.queues[-1] if self.queues else None

    def tickets(self) -> Iterator[Ticket]:
        """Unpublished tickets, in the order in which they will be published."""
        for queue in self.queues:
            yield from queue.tickets

    def counts(self) -> Counts:
        """Of all its tickets; not to be changed."""
        if len(self.queues) == 1:
            return self.queues[0].counts
        total = Counts()
        for queue in self.queues:
            total.include(queue.counts)
        return total

    def pending(self) -> int:
        """Unpublished tickets."""
        return sum(len(queue.tickets) for queue in self.queues)

    def waiting(self) -> int:
        """Tickets that wait for a part or for the engine."""
        by_state = self.counts().by_state
        return by_state[State.WAITING] + by_state[State.READY]

    def framed(self) -> int:
        """Unpublished tickets whose frame was here."""
        return self.counts().framed

    def is_done(self) -> bool:
        """Whether nothing is left to publish."""
        return all(queue.is_done for queue in self.queues)

    def is_moving(self) -> bool:
        """Whether the engine or the publisher has something to do for this stream."""
        by_state = self.counts().by_state
        if by_state[State.READY] or by_state[State.RUNNING]:
            return True
        first = next(self.tickets(), None) if by_state[State.DONE] else None
        return first is not None and first.state is State.DONE

    def is_ending(self) -> bool:
        """Whether an end is known that was not passed on yet."""
        if len(self.queues) == 1:
            return self.queues[0].end is not None
        return any(queue.end is not None for queue in self.queues)

    def has_due(self) -> bool:
        """Whether something can be published now."""
        if not self.queues:
            return False
        first = self.queues[0]  # past epochs that are done are forgotten
        return first.tickets[0].state is State.DONE if first.tickets else first.end is not None

    def held_bytes(self) -> int:
        """Bytes of pixels held."""
        return self.counts().bytes

    def find(self, epoch: bytes) -> EpochQueue | None:
        """The queue of an epoch that is current, is being published or is remembered."""
        known = itertools.chain(reversed(self.queues), self.retired)
        return next((queue for queue in known if queue.epoch == epoch), None)

    def begin(self, queue: EpochQueue) -> list[Ticket]:
        """Make an epoch the current one; returns the other epochs' tickets that still wait."""
        if self.current is not None:
            self.retired.append(self.current)
        waiting = [ticket for ticket in self.tickets() if ticket.state is State.WAITING]
        for past in (self.queues, self.retired):
            if queue in past:
                past.remove(queue)
        self.queues.append(queue)
        self.forget_published()
        return waiting

    def may_resume(self, queue: EpochQueue) -> bool:
        """Whether a frame of this past epoch makes it the current one again.

        Not where frames of both were seen: then the later one was a restart.
        """
        return not queue.framed or self.current is None or not self.current.framed

    def add_ready(self, ticket: Ticket) -> None:
        """Queue a joined ticket for the engine."""
        ticket.move(State.READY)
        self.next_ready()  # nothing else takes dropped tickets out while the engine is busy
        self.ready.append(ticket)
        if len(self.ready) > self.pending():
            self.ready = deque(t for t in self.ready if t.state is State.READY)

    def forget_published(self) -> None:
        """Let go of past epochs that have nothing left to publish."""
        while len(self.queues) > 1 and self.queues[0].is_done:
            self.queues.popleft()

    def oldest_droppable(self) -> Ticket | None:
        """The oldest ticket that the engine has not taken and that has no answer yet."""
        found = (queue.oldest_droppable() for queue in self.queues)
        return next((ticket for ticket in found if ticket is not None), None)

    def overtaken(self) -> Ticket | None:
        """The oldest ticket that waits for its frame although a later one has been here.

        Only the current epoch has such: with a new one, what waits of the others is given up.
        """
        return self.current.overtaken() if self.current is not None else None

    def next_ready(self) -> Ticket | None:
        """The oldest ticket that the engine may take, left in place."""
        while self.ready and self.ready[0].state is not State.READY:
            self.ready.popleft()
        return self.ready[0] if self.ready else None

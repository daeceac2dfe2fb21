"""The state of one stream: its epochs, its unpublished tickets and what they hold."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.tickets import EpochQueue, State, Ticket

#: Epochs remembered after they ended, so that their stragglers do not look like a restart.
REMEMBERED_EPOCHS = 16


@dataclass
class StreamState:
    """One stream; the last queue is the current epoch's, those before it are being published.

    Attributes:
        ready: tickets with both parts, oldest first; some may have been dropped since.
        last_seen_ns: monotonic clock, for forgetting idle streams.
    """

    queues: deque[EpochQueue] = field(default_factory=deque)
    ready: deque[Ticket] = field(default_factory=deque)
    retired: deque[bytes] = field(default_factory=lambda: deque(maxlen=REMEMBERED_EPOCHS))
    last_seen_ns: int = 0

    @property
    def current(self) -> EpochQueue | None:
        """The queue of the newest epoch."""
        return self.queues[-1] if self.queues else None

    def tickets(self) -> Iterator[Ticket]:
        """Unpublished tickets, in the order in which they will be published."""
        for queue in self.queues:
            yield from queue.tickets

    def pending(self) -> int:
        """Unpublished tickets."""
        return sum(len(queue.tickets) for queue in self.queues)

    def unanswered(self) -> int:
        """Tickets that have no answer yet."""
        return sum(ticket.state is not State.DONE for ticket in self.tickets())

    def held_bytes(self) -> int:
        """Bytes of pixels held."""
        return sum(ticket.bytes for ticket in self.tickets())

    def begin_epoch(self, epoch: bytes) -> list[Ticket]:
        """Make `epoch` the current one; returns the old epoch's tickets that still wait."""
        if self.current is not None:
            self.retired.append(self.current.epoch)
        waiting = [ticket for ticket in self.tickets() if ticket.state is State.WAITING]
        self.queues.append(EpochQueue(epoch))
        return waiting

    def forget_published(self) -> None:
        """Let go of past epochs that have nothing left to publish."""
        while len(self.queues) > 1 and not self.queues[0].tickets and not self.queues[0].end:
            self.queues.popleft()

    def oldest_droppable(self) -> Ticket | None:
        """The oldest ticket that the engine has not taken and that has no answer yet."""
        for ticket in self.tickets():
            if ticket.state in (State.WAITING, State.READY):
                return ticket
        return None

    def next_ready(self) -> Ticket | None:
        """The oldest ticket that the engine may take, left in place."""
        while self.ready and self.ready[0].state is not State.READY:
            self.ready.popleft()
        return self.ready[0] if self.ready else None

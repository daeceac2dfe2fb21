"""Joined tickets that await the engine, streams in turn."""

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Iterator

from dscsnet.pipeline.config import Batching
from dscsnet.pipeline.join.streams import StreamState
from dscsnet.pipeline.join.tickets import State, Ticket


class ReadyTickets:
    """What the next batch is made of.

    Args:
        by_age: whether `older_than` will be asked.

    Attributes:
        crops: candidates of all ready tickets.
    """

    def __init__(self, batch: Batching, *, by_age: bool) -> None:
        self._batch = batch
        self.crops = 0
        self._tickets: OrderedDict[Ticket, None] = OrderedDict()  # in the order of joining
        self._turns: OrderedDict[StreamState, None] = OrderedDict()  # those with ready tickets
        self._ages: list[tuple[int, int, Ticket]] | None = [] if by_age else None
        self._serial = itertools.count()

    def __len__(self) -> int:
        return len(self._tickets)

    def add(self, stream: StreamState, ticket: Ticket) -> None:
        """Take in a ticket that has both parts."""
        stream.add_ready(ticket)
        self._tickets[ticket] = None
        self._turns.setdefault(stream)
        self.crops += _crops(ticket)
        if self._ages is not None:
            heapq.heappush(self._ages, (ticket.received_ns, next(self._serial), ticket))
            # Those that left otherwise stay until they are the oldest: not without end.
            if len(self._ages) > 2 * len(self) + 64:
                self._ages = [row for row in self._ages if row[2].state is State.READY]
                heapq.heapify(self._ages)

    def remove(self, stream: StreamState, ticket: Ticket) -> None:
        """Let go of a ready ticket, before its state changes."""
        del self._tickets[ticket]
        self.crops -= _crops(ticket)
        if stream.counts().by_state[State.READY] == 1:
            del self._turns[stream]
            stream.ready.clear()  # what is left was dropped: an idle stream holds no answers
        if self._ages and not self._tickets:
            self._ages.clear()

    def older_than(self, limit_ns: int) -> Iterator[Ticket]:
        """Tickets received before this; each is to be removed before the next."""
        while self._ages and (first := self._ages[0][2]).received_ns < limit_ns:
            heapq.heappop(self._ages)
            if first.state is State.READY:
                yield first

    def first_joined_ns(self) -> int:
        """When the one that is ready for longest was joined; there must be one."""
        return next(iter(self._tickets)).joined_ns

    def pick(self, now_ns: int, most: int) -> list[Ticket]:
        """Tickets for one batch, running from now on; streams in turn.

        So a busy stream cannot keep the others waiting.

        Args:
            most: candidates in all, unless the first ticket has more.
        """
        taken: list[Ticket] = []
        crops = 0
        while self._turns:
            stream = next(iter(self._turns))
            ticket = stream.next_ready()
            assert ticket is not None, "a stream has its turn while it has a ready ticket"
            crops += _crops(ticket)
            if taken and (crops > most or not self._batch.across_frames):
                break
            self._turns.move_to_end(stream)
            stream.ready.popleft()
            self.remove(stream, ticket)
            ticket.move(State.RUNNING)
            ticket.taken_ns = now_ns
            taken.append(ticket)
        return taken


def _crops(ticket: Ticket) -> int:
    assert ticket.detections is not None, "a ready ticket has its detections"
    return len(ticket.detections.x)

"""Answers to tickets that are not unmixed."""

from collections.abc import Callable

from dscsnet.pipeline.join.deadlines import Deadlines
from dscsnet.pipeline.join.ledger import Ledger
from dscsnet.pipeline.join.ready import ReadyTickets
from dscsnet.pipeline.join.streams import StreamState
from dscsnet.pipeline.join.tickets import State, Ticket
from dscsnet.pipeline.messages import Targets, TargetsStatus

Answer = Callable[[Ticket, TargetsStatus, str], Targets]


class Settlement:
    """Ends a ticket's wait, whatever it waits for, with an answer that says why.

    Args:
        answer: makes the message, from status and reason.
        clock: monotonic nanoseconds.
    """

    def __init__(
        self,
        deadlines: Deadlines,
        ready: ReadyTickets,
        ledger: Ledger,
        answer: Answer,
        clock: Callable[[], int],
    ) -> None:
        self._deadlines, self._ready, self._ledger = deadlines, ready, ledger
        self._answer, self._clock = answer, clock

    def complete(
        self, stream: StreamState, ticket: Ticket, status: TargetsStatus, reason: str
    ) -> None:
        """Answer a ticket that the engine has not taken."""
        if ticket.state is State.READY:
            self._ready.remove(stream, ticket)
        else:
            self._deadlines.remove(ticket)
        ticket.settle(self._clock())
        ticket.finish(self._answer(ticket, status, reason))
        if reason:
            self._ledger.drops[reason] += 1

    def give_up(self, stream: StreamState, ticket: Ticket, reason: str) -> None:
        """Answer a ticket whose other part will not come."""
        missing: TargetsStatus = "no_frame" if ticket.frame is None else "no_detections"
        self.complete(stream, ticket, missing, reason)

"""Tickets that wait for their other part, and until when."""

from collections import OrderedDict

from dscsnet.pipeline.join.tickets import Ticket

FRAMES, DETECTIONS = 0, 1  # the inputs


class Deadlines:
    """All waiting tickets, by the input that they await.

    Each wait is as long as any other, so that tickets in the order in which they were opened are in
    the order of their deadlines: the first tells of all.
    """

    def __init__(self, timeout_ns: int) -> None:
        self._timeout_ns = timeout_ns
        self._waiting: tuple[OrderedDict[Ticket, None], ...] = (OrderedDict(), OrderedDict())
        self._unread_ns = [0, 0]  # when each input was last kept from being read

    def add(self, ticket: Ticket) -> None:
        """Wait for the part that a new ticket does not have."""
        self._waiting[_awaited(ticket)][ticket] = None

    def remove(self, ticket: Ticket) -> None:
        """Wait no longer; also where it was not waited for."""
        self._waiting[_awaited(ticket)].pop(ticket, None)

    def keep_from_reading(self, awaited: int, now_ns: int) -> None:
        """What this input would bring is not missing before now."""
        self._unread_ns[awaited] = now_ns

    def expired(self, now_ns: int) -> list[Ticket]:
        """Tickets whose deadline is past."""
        found = []
        for awaited, waiting in enumerate(self._waiting):
            for ticket in waiting:
                if self._deadline(awaited, ticket) > now_ns:
                    break
                found.append(ticket)
        return found

    def nearest(self) -> int | None:
        """The next deadline, ns; None: nothing waits."""
        firsts = (
            self._deadline(awaited, next(iter(waiting)))
            for awaited, waiting in enumerate(self._waiting)
            if waiting
        )
        return min(firsts, default=None)

    def tickets(self) -> list[Ticket]:
        """All that wait."""
        return [ticket for waiting in self._waiting for ticket in waiting]

    def _deadline(self, awaited: int, ticket: Ticket) -> int:
        return max(ticket.received_ns, self._unread_ns[awaited]) + self._timeout_ns


def _awaited(ticket: Ticket) -> int:
    return FRAMES if ticket.frame is None else DETECTIONS

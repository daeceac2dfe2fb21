"""From messages to tickets: which open one, which complete one, and which are only counted."""

from collections.abc import Callable

from dscsnet.pipeline.config import Join
from dscsnet.pipeline.join.deadlines import Deadlines
from dscsnet.pipeline.join.ledger import Ledger
from dscsnet.pipeline.join.ready import ReadyTickets
from dscsnet.pipeline.join.settlement import Settlement
from dscsnet.pipeline.join.streams import StreamState
from dscsnet.pipeline.join.tickets import EpochQueue, State, Ticket
from dscsnet.pipeline.messages import Detections, End, Frame

#: Unpublished keys of a stream, answered ones included, over the window of those that wait.
ANSWERS_PER_WINDOW = 4


class Admission:
    """Puts each message to its stream; for one thread at a time.

    Args:
        lossless: nothing is dropped to keep a window: the input is not read while one is full.
        clock: monotonic nanoseconds.
    """

    def __init__(
        self,
        join: Join,
        ledger: Ledger,
        deadlines: Deadlines,
        ready: ReadyTickets,
        settlement: Settlement,
        *,
        lossless: bool,
        clock: Callable[[], int],
    ) -> None:
        self._ledger, self._deadlines, self._ready = ledger, deadlines, ready
        self._settlement, self._lossless, self._clock = settlement, lossless, clock
        self._max_frames, self._max_bytes = join.max_frames, int(join.max_mib * 2**20)
        self._max_answers = ANSWERS_PER_WINDOW * join.max_frames

    def offer(self, stream: StreamState, message: Frame | Detections | End) -> None:
        """Take one message of a stream."""
        queue = self._queue(stream, message)
        if queue is None:
            return
        if not isinstance(message, End):
            self._offer_part(stream, queue, message)
        elif queue.ended or queue.end is not None:
            self._ledger.unanswered["duplicate"] += 1
        else:
            queue.end = message

    def _queue(self, stream: StreamState, message: Frame | Detections | End) -> EpochQueue | None:
        """The current epoch's queue, if the message belongs there or begins it.

        Detections may begin an epoch, too, but only a frame proves it: a detector that lags behind
        a restart sends an epoch of the past, which a first look cannot tell from a new one.
        """
        queue, current = stream.find(message.epoch), stream.current
        framed = not isinstance(message, Detections)
        if queue is None:
            if len(stream.queues) >= self._max_answers:
                self._ledger.unanswered["window"] += 1
                return None
            queue = EpochQueue(message.epoch)
        elif queue is not current and not (framed and stream.may_resume(queue)):
            self._ledger.unanswered["stale_epoch"] += 1
            return None
        if queue is not current:
            for ticket in stream.begin(queue):
                self._settlement.give_up(stream, ticket, "new_epoch")
        queue.framed = queue.framed or framed
        return queue

    def _offer_part(self, stream: StreamState, queue: EpochQueue, part: Frame | Detections) -> None:
        ticket = queue.find(part.frame_id)
        if ticket is None:
            if queue.is_past(part.frame_id):
                self._ledger.unanswered["late"] += 1
                return
            if not self._has_place(stream):
                self._ledger.unanswered["window"] += 1
                return
            ticket = Ticket(part.key, part.timestamp_ns, self._clock())
            self._ledger.received += 1
            queue.add(ticket)
            queue.attach(ticket, part)
            self._deadlines.add(ticket)
        elif ticket.state is State.DONE:
            self._ledger.unanswered["late"] += 1
            return
        elif (ticket.frame if isinstance(part, Frame) else ticket.detections) is not None:
            self._ledger.unanswered["duplicate"] += 1
            return
        else:
            self._deadlines.remove(ticket)
            queue.attach(ticket, part)
            self._join(stream, ticket)
        if not self._lossless:
            self._make_room(stream)

    def _join(self, stream: StreamState, ticket: Ticket) -> None:
        """Both parts are there."""
        ticket.joined_ns = self._clock()
        if ticket.detections is not None and ticket.detections.x:
            self._ready.add(stream, ticket)
        else:
            self._settlement.complete(stream, ticket, "empty", "")

    def _make_room(self, stream: StreamState) -> None:
        """Live mode: keep the window, in frames and bytes, by dropping the oldest frames.

        Of too many, detections go first whose frame will not come: they would push out others'.
        """
        while (full := stream.held_bytes() > self._max_bytes) or self._is_over(stream):
            ticket = (None if full else stream.overtaken()) or stream.oldest_droppable()
            if ticket is None:
                return
            self._settlement.complete(stream, ticket, "dropped", "window")

    def _is_over(self, stream: StreamState) -> bool:
        return stream.waiting() > self._max_frames

    def _has_place(self, stream: StreamState) -> bool:
        """Whether one more key may be opened: answers, too, wait in bounded number.

        They pile up only behind a key that is still open, or where publishing itself is slow.
        """
        if self._lossless or stream.pending() < self._max_answers:
            return True
        first = next(stream.tickets())
        if first.state in (State.WAITING, State.READY):
            self._settlement.complete(stream, first, "dropped", "window")
            return True
        return False

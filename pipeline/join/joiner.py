"""Join frames and detections by key, and keep every key until it is published in order.

One lock guards all state; the threads of a node meet here: the receiver offers messages, workers
take joined frames and give answers back, the publisher takes what is due. What each does costs the
same whatever waits, in however many streams.
"""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from dscsnet.pipeline.config import Batching, Join, Overload
from dscsnet.pipeline.join.admission import Admission
from dscsnet.pipeline.join.deadlines import DETECTIONS, FRAMES, Deadlines
from dscsnet.pipeline.join.ledger import Ledger
from dscsnet.pipeline.join.ready import ReadyTickets
from dscsnet.pipeline.join.settlement import Answer, Settlement
from dscsnet.pipeline.join.streams import StreamState
from dscsnet.pipeline.join.table import StreamTable
from dscsnet.pipeline.join.tickets import Counts, State, Ticket
from dscsnet.pipeline.messages import Detections, End, Frame, Message, Targets

MILLISECOND = 1_000_000
#: Candidates below which a batch is not shared among workers: a run costs as much as some crops.
LEAST_SHARE = 16
JOINED = (Frame, Detections, End)


class Due(NamedTuple):
    """One message to publish; `ticket` is None for an end of stream."""

    message: Targets | End
    ticket: Ticket | None


class Depths(NamedTuple):
    """How much waits in the node."""

    waiting: int
    ready: int
    running: int
    done: int
    bytes: int
    oldest_ms: float
    streams: int

    @property
    def pending(self) -> int:
        """Frame keys received and not yet published."""
        return self.waiting + self.ready + self.running + self.done


class Joiner:
    """The node's only shared state.

    Args:
        answer: makes the message of a ticket that is not unmixed, from its status and reason.
        clock: monotonic nanoseconds.
    """

    def __init__(
        self,
        join: Join,
        overload: Overload,
        batch: Batching,
        ledger: Ledger,
        answer: Answer,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.ledger = ledger
        self._batch, self._clock = batch, clock
        self._lossless = overload.mode == "lossless"
        self._max_age_ns = int(overload.max_age_ms * MILLISECOND)
        self._table = StreamTable(join)
        self._streams = self._table.by_name
        self._deadlines = Deadlines(int(join.timeout_ms * MILLISECOND))
        self._ready = ReadyTickets(batch, by_age=not self._lossless)
        self._settlement = Settlement(self._deadlines, self._ready, ledger, answer, clock)
        self._admission = Admission(
            *(join, ledger, self._deadlines, self._ready, self._settlement),
            lossless=self._lossless,
            clock=clock,
        )
        self._closed = False
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._due = threading.Condition(self._lock)

    # The receiver's side

    def offer(self, message: Message) -> None:
        """Take one received message."""
        with self._lock:
            self.ledger.messages[message.kind] += 1
            if not isinstance(message, JOINED):
                self.ledger.unanswered["unexpected"] += 1
                return
            if (stream := self._table.find(message.stream, self._clock())) is None:
                self.ledger.unanswered["streams"] += 1
                return
            ready = len(self._ready)
            self._admission.offer(stream, message)
            if len(self._ready) > ready or isinstance(message, End):
                self._work.notify()
            self._note(stream)

    def expire(self) -> int | None:
        """Answer what has waited too long; returns the next deadline, monotonic ns."""
        with self._lock:
            now = self._clock()
            if self._lossless:
                self._note_unread(now)
            for ticket in self._deadlines.expired(now):
                stream = self._streams[ticket.key.stream]
                self._settlement.give_up(stream, ticket, "timeout")
                self._note(stream)
            return self._deadlines.nearest()

    def blocked(self) -> tuple[bool, bool]:
        """Lossless mode: whether frames, and detections, must not be read just now."""
        if not self._lossless:
            return False, False
        with self._lock:
            return self._table.blocked()

    def close(self) -> None:
        """No more input: answer what waits for a part; the rest is still taken and published."""
        with self._lock:
            self._closed = True
            for ticket in self._deadlines.tickets():
                stream = self._streams[ticket.key.stream]
                self._settlement.give_up(stream, ticket, "shutdown")
                self._note(stream)
            self._work.notify_all()
            self._due.notify_all()

    def abandon(self) -> None:
        """After `close`: answer what the engine has not taken."""
        with self._lock:
            for stream in self._streams.values():
                for ticket in [t for t in stream.tickets() if t.state is State.READY]:
                    self._settlement.complete(stream, ticket, "dropped", "shutdown")
                self._note(stream)

    # The worker's side

    def take(self, timeout_s: float, among: int = 1) -> list[Ticket]:
        """Joined frames for one batch, streams in turn; empty when nothing came in time.

        Args:
            among: workers that have nothing to do, the caller included: it takes its share, if
                that is worth a run of the engine.
        """
        with self._lock:
            if not self._work.wait_for(lambda: len(self._ready) > 0, timeout_s):
                return []
            self._wait_for_more()
            if not self._lossless:
                self._drop_old()
            share = self._batch.max_crops
            if among > 1:
                share = max(LEAST_SHARE, -(-self._ready.crops // among))
            return self._ready.pick(self._clock(), min(share, self._batch.max_crops))

    def finish(self, ticket: Ticket, answer: Targets) -> None:
        """Hand in the answer of a ticket that was taken."""
        with self._lock:
            ticket.finish(answer)
            self._note(self._streams[ticket.key.stream])

    # The publisher's side

    def due(self, timeout_s: float) -> list[Due]:
        """What can be published now, in order within each stream; may be empty."""
        with self._lock:
            messages = self._pop_due()
            if not messages and not self._drained():
                self._due.wait(timeout_s)
                messages = self._pop_due()
            return messages

    def drained(self) -> bool:
        """Whether the input is closed and everything was published."""
        with self._lock:
            return self._drained()

    # Observers

    def depths(self) -> Depths:
        """How much waits, by state."""
        with self._lock:
            return self._depths()

    def snapshot(self) -> dict[str, object]:
        """Ledger and depths of the same moment."""
        with self._lock:
            depths = self._depths()
            return {**self.ledger.snapshot(depths.pending), "queue": depths._asdict()}

    def reject(self, reason: str) -> None:
        """Count a malformed message."""
        with self._lock:
            self.ledger.rejected[reason] += 1

    # Below, the lock is held

    def _note(self, stream: StreamState) -> None:
        self._table.note(stream)
        if self._table.due:
            self._due.notify()

    def _note_unread(self, now: int) -> None:
        """Lossless mode: what an input would bring that is not read just now is not missing.

        Where nothing moves it is: then keys that wait for a part fill the windows, and flow goes on
        only when one of them is given up.
        """
        if self._table.moving:
            for part, blocked in zip((FRAMES, DETECTIONS), self._table.blocked(), strict=True):
                if blocked:
                    self._deadlines.keep_from_reading(part, now)

    def _wait_for_more(self) -> None:
        """Optionally let a batch fill; a full window, an end of stream or a shutdown ends it."""
        if self._batch.max_delay_ms <= 0:
            return
        deadline = self._ready.first_joined_ns() + int(self._batch.max_delay_ms * MILLISECOND)
        while (left := deadline - self._clock()) > 0 and not self._full_or_ending():
            self._work.wait(left / 1e9)

    def _full_or_ending(self) -> bool:
        full = self._ready.crops >= self._batch.max_crops or self._table.full > 0
        return self._closed or full or self._table.ending > 0

    def _drop_old(self) -> None:
        for ticket in self._ready.older_than(self._clock() - self._max_age_ns):
            stream = self._streams[ticket.key.stream]
            self._settlement.complete(stream, ticket, "dropped", "too_old")
            self._note(stream)

    def _pop_due(self) -> list[Due]:
        messages: list[Due] = []
        streams, self._table.due = self._table.due, {}
        for stream in streams:
            for queue in stream.queues:
                while (done := queue.pop_done()) is not None:
                    messages.append(self._count(*done))
                if queue.tickets:
                    break  # later epochs wait, so that the stream stays in order
                if (end := queue.pop_end()) is not None:
                    self.ledger.ends += 1
                    self.ledger.lose(end[1])
                    messages.append(Due(end[0], None))
            stream.forget_published()
            self._table.note(stream)
        return messages

    def _count(self, ticket: Ticket, skipped: int) -> Due:
        answer = ticket.answer
        assert answer is not None, "a ticket is done when it has its answer"
        self.ledger.published[answer.status] += 1
        self.ledger.lose(skipped)
        self.ledger.spots += len(answer.spots)
        self.ledger.targets += len(answer.targets)
        return Due(answer, ticket)

    def _drained(self) -> bool:
        return self._closed and not self._table.open

    def _depths(self) -> Depths:
        total, now = Counts(), self._clock()
        for stream in self._streams.values():
            total.include(stream.counts())
        tickets = (t for stream in self._streams.values() for t in stream.tickets())
        oldest = min((t.received_ns for t in tickets), default=now)
        waiting, ready, running, done = total.by_state
        return Depths(
            *(waiting, ready, running, done, total.bytes),
            oldest_ms=(now - oldest) / MILLISECOND,
            streams=len(self._streams),
        )

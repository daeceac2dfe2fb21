"""Join frames and detections by key, and keep every key until it is published in order.

One lock guards all state; three threads meet here: the receiver offers messages, the worker takes
joined frames and gives answers back, the publisher takes what is due.
"""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from dscsnet.pipeline.config import Batching, Join, Overload
from dscsnet.pipeline.join.ledger import Ledger
from dscsnet.pipeline.join.streams import StreamState
from dscsnet.pipeline.join.tickets import EpochQueue, State, Ticket
from dscsnet.pipeline.messages import Detections, End, Frame, Message, Targets, TargetsStatus

Answer = Callable[[Ticket, TargetsStatus, str], Targets]
MILLISECOND = 1_000_000
FRAMES, DETECTIONS = 0, 1  # the inputs

#: Unpublished keys of a stream, answered ones included, over the window of those that wait.
ANSWERS_PER_WINDOW = 4

#: A stream is forgotten for the sake of a new one once it has been silent for this long.
IDLE_NS = 10_000 * MILLISECOND


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
        self._join, self._batch, self._answer, self._clock = join, batch, answer, clock
        self._lossless = overload.mode == "lossless"
        self._timeout_ns = int(join.timeout_ms * MILLISECOND)
        self._max_age_ns = int(overload.max_age_ms * MILLISECOND)
        self._max_bytes = int(join.max_mib * 2**20)
        self._streams: dict[str, StreamState] = {}
        self._unread_ns = [0, 0]  # when each input was last kept from being read
        self._turn = 0
        self._closed = False
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._due = threading.Condition(self._lock)

    # The receiver's side

    def offer(self, message: Message) -> None:
        """Take one received message."""
        with self._lock:
            self.ledger.messages[message.kind] += 1
            if not isinstance(message, Frame | Detections | End):
                self.ledger.unanswered["unexpected"] += 1
                return
            if (stream := self._stream(message.stream)) is None:
                return
            if (queue := self._queue(stream, message)) is None:
                return
            if isinstance(message, End):
                self._offer_end(queue, message)
            else:
                self._offer_part(stream, queue, message)

    def expire(self) -> int | None:
        """Answer what has waited too long; returns the next deadline, monotonic ns."""
        with self._lock:
            now, nearest = self._clock(), None
            if self._lossless:
                self._note_unread(now)
            for stream in self._streams.values():
                for ticket in [t for t in stream.tickets() if t.state is State.WAITING]:
                    awaited = FRAMES if ticket.frame is None else DETECTIONS
                    since = max(ticket.received_ns, self._unread_ns[awaited])
                    deadline = since + self._timeout_ns
                    if deadline <= now:
                        self._give_up(ticket, "timeout")
                    elif nearest is None or deadline < nearest:
                        nearest = deadline
            return nearest

    def blocked(self) -> tuple[bool, bool]:
        """Lossless mode: whether frames, and detections, must not be read just now."""
        if not self._lossless:
            return False, False
        with self._lock:
            return self._blocked()

    def close(self) -> None:
        """No more input: answer what waits for a part; the rest is still taken and published."""
        with self._lock:
            self._closed = True
            for stream in self._streams.values():
                for ticket in [t for t in stream.tickets() if t.state is State.WAITING]:
                    self._give_up(ticket, "shutdown")
            self._work.notify_all()
            self._due.notify_all()

    def abandon(self) -> None:
        """After `close`: answer what the engine has not taken."""
        with self._lock:
            for stream in self._streams.values():
                for ticket in [t for t in stream.tickets() if t.state is State.READY]:
                    self._complete(ticket, "dropped", "shutdown")

    # The worker's side

    def take(self, timeout_s: float) -> list[Ticket]:
        """Joined frames for one batch, streams in turn; empty when nothing came in time."""
        with self._lock:
            if not self._work.wait_for(self._any_ready, timeout_s):
                return []
            self._wait_for_more()
            if not self._lossless:
                self._drop_old()
            return self._pick()

    def finish(self, ticket: Ticket, answer: Targets) -> None:
        """Hand in the answer of a ticket that was taken."""
        with self._lock:
            ticket.finish(answer)
            self._due.notify()

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

    def _stream(self, name: str) -> StreamState | None:
        stream = self._streams.get(name)
        if stream is None:
            if len(self._streams) >= self._join.max_streams and not self._forget_idle():
                self.ledger.unanswered["streams"] += 1
                return None
            stream = self._streams[name] = StreamState()
        stream.last_seen_ns = self._clock()
        return stream

    def _forget_idle(self) -> bool:
        limit = self._clock() - IDLE_NS
        idle = [
            (stream.last_seen_ns, name)
            for name, stream in self._streams.items()
            if stream.last_seen_ns <= limit and stream.is_done()
        ]
        if idle:
            del self._streams[min(idle)[1]]
        return bool(idle)

    def _queue(self, stream: StreamState, message: Frame | Detections | End) -> EpochQueue | None:
        """The current epoch's queue, if the message belongs there or begins it.

        Detections may begin an epoch, too, but only a frame proves it: a detector that lags behind
        a restart sends an epoch of the past, which a first look cannot tell from a new one.
        """
        queue, current = stream.find(message.epoch), stream.current
        framed = not isinstance(message, Detections)
        if queue is None:
            if len(stream.queues) >= ANSWERS_PER_WINDOW * self._join.max_frames:
                self.ledger.unanswered["window"] += 1
                return None
            queue = EpochQueue(message.epoch)
        elif queue is not current and not (framed and stream.may_resume(queue)):
            self.ledger.unanswered["stale_epoch"] += 1
            return None
        if queue is not current:
            for ticket in stream.begin(queue):
                self._give_up(ticket, "new_epoch")
        queue.framed = queue.framed or framed
        return queue

    def _offer_end(self, queue: EpochQueue, end: End) -> None:
        if queue.ended or queue.end is not None:
            self.ledger.unanswered["duplicate"] += 1
            return
        queue.end = end
        self._work.notify()
        self._due.notify()

    def _offer_part(self, stream: StreamState, queue: EpochQueue, part: Frame | Detections) -> None:
        ticket = queue.find(part.frame_id)
        if ticket is None:
            if queue.is_past(part.frame_id):
                self.ledger.unanswered["late"] += 1
                return
            if not self._has_place(stream):
                self.ledger.unanswered["window"] += 1
                return
            ticket = Ticket(part.key, part.timestamp_ns, self._clock())
            self.ledger.received += 1
            queue.add(ticket)
        elif ticket.state is State.DONE:
            self.ledger.unanswered["late"] += 1
            return
        elif (ticket.frame if isinstance(part, Frame) else ticket.detections) is not None:
            self.ledger.unanswered["duplicate"] += 1
            return
        self._attach(stream, ticket, part)
        if not self._lossless:
            self._make_room(stream)

    def _attach(self, stream: StreamState, ticket: Ticket, part: Frame | Detections) -> None:
        if isinstance(part, Frame):
            ticket.frame, ticket.framed, ticket.bytes = part, True, part.pixels.nbytes
            ticket.timestamp_ns = part.timestamp_ns  # the frame's publisher chooses it
        else:
            ticket.detections = part
        if ticket.frame is None or ticket.detections is None:
            return
        ticket.joined_ns = self._clock()
        if not ticket.detections.x:
            self._complete(ticket, "empty", "")
            return
        stream.add_ready(ticket)
        self._work.notify()

    def _make_room(self, stream: StreamState) -> None:
        """Live mode: keep the window, in frames and bytes, by dropping the oldest frames.

        Of too many, detections go first whose frame will not come: they would push out others'.
        """
        while (full := stream.held_bytes() > self._max_bytes) or self._is_over(stream):
            ticket = (None if full else stream.overtaken()) or stream.oldest_droppable()
            if ticket is None:
                return
            self._complete(ticket, "dropped", "window")

    def _is_over(self, stream: StreamState) -> bool:
        return stream.waiting() > self._join.max_frames

    def _has_place(self, stream: StreamState) -> bool:
        """Whether one more key may be opened: answers, too, wait in bounded number.

        They pile up only behind a key that is still open, or where publishing itself is slow.
        """
        if self._lossless or stream.pending() < ANSWERS_PER_WINDOW * self._join.max_frames:
            return True
        first = next(stream.tickets())
        if first.state in (State.WAITING, State.READY):
            self._complete(first, "dropped", "window")
            return True
        return False

    def _give_up(self, ticket: Ticket, reason: str) -> None:
        """Answer a ticket whose other part will not come."""
        self._complete(ticket, "no_frame" if ticket.frame is None else "no_detections", reason)

    def _complete(self, ticket: Ticket, status: TargetsStatus, reason: str) -> None:
        ticket.settle(self._clock())
        ticket.finish(self._answer(ticket, status, reason))
        if reason:
            self.ledger.drops[reason] += 1
        self._due.notify()

    def _is_full(self, stream: StreamState) -> bool:
        return stream.framed() >= self._join.max_frames or stream.held_bytes() >= self._max_bytes

    def _blocked(self) -> tuple[bool, bool]:
        streams = self._streams.values()
        most = self._join.max_frames
        return (
            any(self._is_full(stream) for stream in streams),
            any(stream.pending() - stream.framed() >= most for stream in streams),
        )

    def _note_unread(self, now: int) -> None:
        """Lossless mode: what an input would bring that is not read just now is not missing.

        Where nothing moves it is: then keys that wait for a part fill the windows, and flow goes on
        only when one of them is given up.
        """
        if any(blocked := self._blocked()) and any(s.is_moving() for s in self._streams.values()):
            for part in (FRAMES, DETECTIONS):
                if blocked[part]:
                    self._unread_ns[part] = now

    def _any_ready(self) -> bool:
        return any(stream.next_ready() is not None for stream in self._streams.values())

    def _wait_for_more(self) -> None:
        """Optionally let a batch fill; a full window, an end of stream or a shutdown ends it."""
        if self._batch.max_delay_ms <= 0:
            return
        oldest = min(t.joined_ns for s in self._streams.values() if (t := s.next_ready()))
        deadline = oldest + int(self._batch.max_delay_ms * MILLISECOND)
        while (left := deadline - self._clock()) > 0 and not self._full_or_ending():
            self._work.wait(left / 1e9)

    def _full_or_ending(self) -> bool:
        crops = sum(
            len(ticket.detections.x)
            for stream in self._streams.values()
            for ticket in stream.ready
            if ticket.detections is not None
        )
        ending = any(queue.end for s in self._streams.values() for queue in s.queues)
        full = any(self._is_full(stream) for stream in self._streams.values())
        return self._closed or ending or full or crops >= self._batch.max_crops

    def _drop_old(self) -> None:
        limit = self._clock() - self._max_age_ns
        for stream in self._streams.values():
            for ticket in stream.ready:
                if ticket.state is State.READY and ticket.received_ns < limit:
                    self._complete(ticket, "dropped", "too_old")

    def _pick(self) -> list[Ticket]:
        """Streams in turn, so that a busy one cannot keep the others waiting."""
        taken: list[Ticket] = []
        crops, now = 0, self._clock()
        names = list(self._streams)
        self._turn = (self._turn + 1) % len(names)  # there is one: something of it is ready
        order = names[self._turn :] + names[: self._turn]
        while order:
            name = order.pop(0)
            ticket = self._streams[name].next_ready()
            if ticket is None or ticket.detections is None:
                continue
            crops += len(ticket.detections.x)
            if taken and (crops > self._batch.max_crops or not self._batch.across_frames):
                break
            self._streams[name].ready.popleft()
            ticket.state, ticket.taken_ns = State.RUNNING, now
            taken.append(ticket)
            order.append(name)
        return taken

    def _pop_due(self) -> list[Due]:
        messages: list[Due] = []
        for stream in self._streams.values():
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
        return self._closed and all(stream.is_done() for stream in self._streams.values())

    def _depths(self) -> Depths:
        tickets = [t for stream in self._streams.values() for t in stream.tickets()]
        states = [t.state for t in tickets]
        oldest = min((t.received_ns for t in tickets), default=self._clock())
        return Depths(
            waiting=states.count(State.WAITING),
            ready=states.count(State.READY),
            running=states.count(State.RUNNING),
            done=states.count(State.DONE),
            bytes=sum(t.bytes for t in tickets),
            oldest_ms=(self._clock() - oldest) / MILLISECOND,
            streams=len(self._streams),
        )

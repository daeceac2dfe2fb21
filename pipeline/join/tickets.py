"""One frame key on its way through the node, and the keys of one epoch in order."""

import bisect
import enum
from collections import deque
from dataclasses import dataclass, field

from dscsnet.pipeline.join.cursor import Cursor
from dscsnet.pipeline.messages import Detections, End, Frame, FrameKey, Targets


class State(enum.IntEnum):
    """Where a ticket is."""

    WAITING = 0  # one part is there, the other is awaited
    READY = 1  # both parts are there, the engine is awaited
    RUNNING = 2  # the engine has it
    DONE = 3  # the answer is there; its turn to be published is awaited


class Counts:
    """How many tickets are in each state and what they hold, kept as tickets change.

    Attributes:
        by_state: tickets in each `State`.
        framed: tickets whose frame was here.
        bytes: of pixels.
    """

    __slots__ = ("by_state", "bytes", "framed")

    def __init__(self) -> None:
        self.by_state = [0] * len(State)
        self.framed = self.bytes = 0

    def include(self, other: "Counts") -> None:
        """Count what another one counts, too."""
        self.by_state = [a + b for a, b in zip(self.by_state, other.by_state, strict=True)]
        self.framed += other.framed
        self.bytes += other.bytes


@dataclass(slots=True, eq=False)
class Ticket:
    """One frame key, from its first part to its answer.

    Attributes:
        received_ns, joined_ns, taken_ns: monotonic clock: first part, second part, engine; where
            one of these never came, when the answer was made without it.
        bytes: what its pixels hold in memory.
        framed: whether its frame was ever here; the parts themselves are let go when it is done.
        counts: where it is counted, if anywhere.
    """

    key: FrameKey
    timestamp_ns: int
    received_ns: int
    frame: Frame | None = None
    detections: Detections | None = None
    state: State = State.WAITING
    joined_ns: int = 0
    taken_ns: int = 0
    bytes: int = 0
    framed: bool = False
    answer: Targets | None = None
    counts: Counts | None = None

    def move(self, state: State) -> None:
        """Go on to another state."""
        if self.counts is not None:
            self.counts.by_state[self.state] -= 1
            self.counts.by_state[state] += 1
        self.state = state

    def settle(self, now_ns: int) -> None:
        """Put down the times of the stages that will not come any more."""
        self.joined_ns = self.joined_ns or now_ns
        self.taken_ns = self.taken_ns or now_ns

    def finish(self, answer: Targets) -> None:
        """Hold the answer and let go of the parts."""
        self.move(State.DONE)
        if self.counts is not None:
            self.counts.bytes -= self.bytes
        self.answer, self.bytes = answer, 0
        self.frame = self.detections = None


@dataclass(eq=False)
class EpochQueue:
    """Unpublished tickets of one epoch of a stream, in order of their frame_id.

    Attributes:
        published: highest frame_id that was published; None before the first.
        end: the stream's end, once it is known and until it is passed on.
        ended: the end was passed on.
        framed: a frame or the end was seen, so that its publisher is known to have started it.
        counts: of its tickets.
        last_framed: highest frame_id whose frame was here.
    """

    epoch: bytes
    tickets: deque[Ticket] = field(default_factory=deque)
    published: int | None = None
    end: End | None = None
    ended: bool = False
    framed: bool = False
    counts: Counts = field(default_factory=Counts)
    last_framed: int = -1
    _by_id: dict[int, Ticket] = field(default_factory=dict)
    _droppable: Cursor[Ticket] = field(init=False)
    _headless: Cursor[Ticket] = field(init=False)

    def __post_init__(self) -> None:
        """Both kinds of tickets that a full window asks for are searched where they can be."""
        self._droppable = Cursor(self.tickets, lambda t: t.state in (State.WAITING, State.READY))
        self._headless = Cursor(
            self.tickets, lambda t: t.state is State.WAITING and t.frame is None
        )

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to publish."""
        return not self.tickets and self.end is None

    def find(self, frame_id: int) -> Ticket | None:
        """The unpublished ticket of a frame."""
        return self._by_id.get(frame_id)

    def is_past(self, frame_id: int) -> bool:
        """Whether a new ticket of this frame could no longer be published in order."""
        return self.ended or (self.published is not None and frame_id <= self.published)

    def add(self, ticket: Ticket) -> None:
        """Insert at its place; nearly always the last."""
        frame_id, place = ticket.key.frame_id, len(self.tickets)
        if place and frame_id < self.tickets[-1].key.frame_id:
            place = bisect.bisect(self.tickets, frame_id, key=lambda t: t.key.frame_id)
        self.tickets.insert(place, ticket)
        self._droppable.inserted(place)
        self._headless.inserted(place)
        self._by_id[frame_id] = ticket
        self.counts.by_state[ticket.state] += 1
        self.counts.framed += ticket.framed
        self.counts.bytes += ticket.bytes
        ticket.counts = self.counts
        if ticket.framed:
            self.last_framed = max(self.last_framed, frame_id)

    def attach(self, ticket: Ticket, part: Frame | Detections) -> None:
        """Put a part to the ticket of its key."""
        if isinstance(part, Detections):
            ticket.detections = part
            return
        ticket.frame, ticket.framed, ticket.bytes = part, True, part.pixels.nbytes
        ticket.timestamp_ns = part.timestamp_ns  # the frame's publisher chooses it
        self.counts.framed += 1
        self.counts.bytes += ticket.bytes
        self.last_framed = max(self.last_framed, part.frame_id)

    def oldest_droppable(self) -> Ticket | None:
        """The oldest ticket that the engine has not taken and that has no answer yet."""
        return self._droppable.first()

    def overtaken(self) -> Ticket | None:
        """The oldest ticket that waits for its frame although a later one has been here.

        A publisher sends its frames in order: that one was lost on the way.
        """
        first = self._headless.first()
        return first if first is not None and first.key.frame_id < self.last_framed else None

    def pop_done(self) -> tuple[Ticket, int] | None:
        """The next ticket to publish, if its answer is there, and how many ids were skipped."""
        if not self.tickets or self.tickets[0].state is not State.DONE:
            return None
        ticket = self.tickets.popleft()
        self._droppable.popped()
        self._headless.popped()
        frame_id = ticket.key.frame_id
        del self._by_id[frame_id]
        self.counts.by_state[State.DONE] -= 1
        self.counts.framed -= ticket.framed
        ticket.counts = None
        skipped = 0 if self.published is None else frame_id - self.published - 1
        self.published = frame_id
        return ticket, skipped

    def pop_end(self) -> tuple[End, int] | None:
        """The end, once every ticket is published, and how many last ids never came."""
        if self.end is None or self.tickets:
            return None
        end, self.end, self.ended = self.end, None, True
        skipped = 0 if self.published is None else max(0, end.frame_id - self.published)
        return end, skipped

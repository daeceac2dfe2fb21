"""One frame key on its way through the node, and the keys of one epoch in order."""

import bisect
import enum
from dataclasses import dataclass, field

from dscsnet.pipeline.messages import Detections, End, Frame, FrameKey, Targets


class State(enum.Enum):
    """Where a ticket is."""

    WAITING = "waiting"  # one part is there, the other is awaited
    READY = "ready"  # both parts are there, the engine is awaited
    RUNNING = "running"  # the engine has it
    DONE = "done"  # the answer is there; its turn to be published is awaited


@dataclass(slots=True, eq=False)
class Ticket:
    """One frame key, from its first part to its answer.

    Attributes:
        received_ns, joined_ns, taken_ns: monotonic clock: first part, second part, engine; where
            one of these never came, when the answer was made without it.
        bytes: what its pixels hold in memory.
        framed: whether its frame was ever here; the parts themselves are let go when it is done.
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

    def settle(self, now_ns: int) -> None:
        """Put down the times of the stages that will not come any more."""
        self.joined_ns = self.joined_ns or now_ns
        self.taken_ns = self.taken_ns or now_ns

    def finish(self, answer: Targets) -> None:
        """Hold the answer and let go of the parts."""
        self.answer, self.state = answer, State.DONE
        self.frame = self.detections = None
        self.bytes = 0


@dataclass(eq=False)
class EpochQueue:
    """Unpublished tickets of one epoch of a stream, in order of their frame_id.

    Attributes:
        published: highest frame_id that was published; None before the first.
        end: the stream's end, once it is known and until it is passed on.
        ended: the end was passed on.
        framed: a frame or the end was seen, so that its publisher is known to have started it.
    """

    epoch: bytes
    tickets: list[Ticket] = field(default_factory=list)
    published: int | None = None
    end: End | None = None
    ended: bool = False
    framed: bool = False
    _by_id: dict[int, Ticket] = field(default_factory=dict)

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
        bisect.insort(self.tickets, ticket, key=lambda t: t.key.frame_id)
        self._by_id[ticket.key.frame_id] = ticket

    def pop_done(self) -> tuple[Ticket, int] | None:
        """The next ticket to publish, if its answer is there, and how many ids were skipped."""
        if not self.tickets or self.tickets[0].state is not State.DONE:
            return None
        ticket = self.tickets.pop(0)
        frame_id = ticket.key.frame_id
        del self._by_id[frame_id]
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

"""The streams that are known, and what is so of any of them, without asking each."""

from collections import OrderedDict

from dscsnet.pipeline.config import Join
from dscsnet.pipeline.join.streams import StreamState

#: A stream is forgotten for the sake of a new one once it has been silent for this long.
IDLE_NS = 10_000_000_000


#: Of a stream, each 0 or 1: full, ahead, moving, ending, open.
Standing = tuple[int, int, int, int, int]
NOTHING: Standing = (0, 0, 0, 0, 0)


class StreamTable:
    """Streams by name, and how many of them are full, ahead and so on.

    Attributes:
        by_name: the one silent for longest comes first.
        due: streams of which something can be published.
        full, ahead: streams of which no more frames, and no more detections, should be read.
        moving: those for which the engine or the publisher has something to do.
        ending: those with an end that waits to be passed on.
        open: those with anything left to publish.
    """

    def __init__(self, join: Join) -> None:
        self._join, self._max_bytes = join, int(join.max_mib * 2**20)
        self.by_name: OrderedDict[str, StreamState] = OrderedDict()
        self.due: dict[StreamState, None] = {}
        self._standing: dict[StreamState, Standing] = {}
        self.full = self.ahead = self.moving = self.ending = self.open = 0

    def find(self, name: str, now_ns: int) -> StreamState | None:
        """The stream, seen now; a new one if there is a place for it, else None."""
        stream = self.by_name.get(name)
        if stream is None:
            if len(self.by_name) >= self._join.max_streams and not self._forget_idle(now_ns):
                return None
            stream = self.by_name[name] = StreamState()
            self._standing[stream] = NOTHING
        else:
            self.by_name.move_to_end(name)
        stream.last_seen_ns = now_ns
        return stream

    def note(self, stream: StreamState) -> None:
        """Take in what has changed of a stream.

        To be called whenever a ticket was opened, joined, answered or published.
        """
        before, after = self._standing[stream], self._look_at(stream)
        if after != before:
            self._standing[stream] = after
            full, ahead, moving, ending, still_open = before
            self.full += after[0] - full
            self.ahead += after[1] - ahead
            self.moving += after[2] - moving
            self.ending += after[3] - ending
            self.open += after[4] - still_open

    def blocked(self) -> tuple[bool, bool]:
        """Whether some stream has too many frames, and too many detections ahead of frames."""
        return self.full > 0, self.ahead > 0

    def _look_at(self, stream: StreamState) -> Standing:
        counts, most = stream.counts(), self._join.max_frames
        waiting, ready, running, done = counts.by_state
        pending = waiting + ready + running + done
        ending = stream.is_ending()
        if (done or ending) and stream.has_due():
            self.due[stream] = None
        else:
            self.due.pop(stream, None)  # an earlier frame came in before what was due
        return (
            counts.framed >= most or counts.bytes >= self._max_bytes,
            pending - counts.framed >= most,
            ready + running > 0 or (done > 0 and stream.is_moving()),
            ending,
            ending or pending > 0,
        )

    def _forget_idle(self, now_ns: int) -> bool:
        """Make a place: of the streams that were silent for long, the first that is done goes."""
        for name, stream in self.by_name.items():
            if stream.last_seen_ns > now_ns - IDLE_NS:
                break
            if stream.is_done():
                del self.by_name[name], self._standing[stream]
                return True
        return False

"""Which part of a recording is meant: from one frame to another, and what belongs to these."""

from collections.abc import Collection
from dataclasses import dataclass

from dscsnet.pipeline.errors import SourceError
from dscsnet.pipeline.messages import End, Frame, FrameKey
from dscsnet.pipeline.recording.reader import Recorded, RecordingReader

#: A frame's detections are looked for this long before and after it.
NEIGHBOURHOOD_NS = 10 * 10**9


@dataclass(frozen=True)
class Range:
    """What a user asks for; frames count from 0 over all streams, times from the first message.

    Attributes:
        start, stop: first frame, and the frame before which to stop.
        start_s, stop_s: likewise in seconds of recording.
    """

    start: int = 0
    stop: int | None = None
    start_s: float | None = None
    stop_s: float | None = None

    def check(self) -> None:
        """Raise SourceError where it is empty whatever the recording."""
        if self.stop is not None and self.stop <= self.start:
            raise SourceError(f"expected start < stop, got {self.start}, {self.stop}")
        if self.start_s is not None and self.stop_s is not None and self.stop_s <= self.start_s:
            raise SourceError(f"expected start time < stop time, got {self.start_s}, {self.stop_s}")


class Selection:
    """The frames of a range, and the detections and ends of just these frames.

    Args:
        reader: the recording.
        streams: only these; none: all.
        chosen: the range.

    Attributes:
        frames: how many frames are chosen.
        first_ns, last_ns: log times of the first and the last of them.

    Raises:
        SourceError: no frame is in that range, or none at all in these streams.
    """

    def __init__(self, reader: RecordingReader, streams: Collection[str], chosen: Range) -> None:
        chosen.check()
        times = reader.times(("frame",), streams)
        if not times.size:
            raise SourceError(_no_frames(reader, streams))
        seconds = (times.astype("i8") - reader.start_ns) * 1e-9
        first, last = 0.0 if chosen.start_s is None else chosen.start_s, chosen.stop_s
        inside = seconds >= first
        if last is not None:
            inside &= seconds < last
        inside[: chosen.start] = False
        if chosen.stop is not None:
            inside[chosen.stop :] = False
        selected = times[inside]
        if not selected.size:
            raise SourceError(
                f"{reader.description}: no frame is in that range; it has {len(times)} frames, "
                f"from {seconds[0]:.3f} s to {seconds[-1]:.3f} s"
            )
        self.frames = len(selected)
        self.first_ns, self.last_ns = int(selected[0]), int(selected[-1])
        self._whole = self.frames == len(times)
        self._firsts: dict[str, FrameKey] = {}
        self._lasts: dict[str, FrameKey] = {}
        if not self._whole:
            self._find_bounds(reader, streams)

    def span(self) -> tuple[int, int]:
        """Return the log times between which to read."""
        if self._whole:
            return 0, 2**64 - 1
        before = max(0, self.first_ns - NEIGHBOURHOOD_NS)
        return before, self.last_ns + NEIGHBOURHOOD_NS

    def has(self, recorded: Recorded) -> bool:
        """Tell whether a message belongs to the range."""
        message = recorded.message
        if self._whole:
            return True
        if isinstance(message, Frame):
            return self.first_ns <= recorded.log_time <= self.last_ns
        first, last = self._firsts.get(message.stream), self._lasts.get(message.stream)
        if first is None or last is None:
            return False
        epoch, number = message.epoch, message.frame_id
        if epoch == last.epoch and number > last.frame_id:
            return False
        if epoch == first.epoch:
            # An end belongs to the frames before it.
            return number >= first.frame_id or isinstance(message, End)
        return epoch == last.epoch or self.first_ns <= recorded.log_time <= self.last_ns

    def _find_bounds(self, reader: RecordingReader, streams: Collection[str]) -> None:
        """Read the first and the last chosen frame of each stream."""
        for stream in streams or reader.streams():
            times = reader.times(("frame",), (stream,))
            times = times[(times >= self.first_ns) & (times <= self.last_ns)]
            if times.size:
                self._firsts[stream] = _key_at(reader, stream, int(times[0]))
                self._lasts[stream] = _key_at(reader, stream, int(times[-1]))


def _key_at(reader: RecordingReader, stream: str, time_ns: int) -> FrameKey:
    found = reader.messages(("frame",), (stream,), first_ns=time_ns, last_ns=time_ns)
    for recorded in found:
        return recorded.message.key
    raise SourceError(
        f"{reader.description}: the first or last frame of the range is damaged; choose another"
    )


def _no_frames(reader: RecordingReader, streams: Collection[str]) -> str:
    there = ", ".join(reader.streams())
    if streams and there:
        return f"{reader.description}: no frames of {', '.join(streams)}; there are {there}"
    return f"{reader.description}: there are no frames in it"

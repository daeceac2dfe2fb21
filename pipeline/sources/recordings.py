"""The frames of a recording as a source of images, for whoever wants the pixels alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dscsnet.pipeline.errors import SourceError
from dscsnet.pipeline.messages import Frame
from dscsnet.pipeline.recording.reader import RecordingReader


class RecordedFrames:
    """One stream of a recording; a reader as in `dscsnet.pipeline.sources.readers`.

    Raises:
        SourceError: the recording cannot be read, or holds no frames, or those of several streams.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._reader = RecordingReader(paths)
        streams = self._reader.streams()
        if len(streams) != 1:
            found = f"frames of {len(streams)} streams" if streams else "no frames"
            raise SourceError(f"{self._reader.description}: expected one stream, got {found}")
        times = self._reader.times(("frame",))
        self.frame_count: int | None = len(times)
        self.timestamps_ns: NDArray[np.int64] | None = times.astype(np.int64)
        span = int(times[-1] - times[0])
        self.rate_hz: float | None = (len(times) - 1) * 1e9 / span if span else None
        self.description = f"{len(times)} frames of {self._reader.description}"

    def name(self, index: int) -> str:
        """Return what frame `index` is called in an error."""
        return f"{self._reader.description}, frame {index}"

    def frames(self, start: int, stop: int | None) -> Iterator[NDArray[np.generic]]:
        """Yield the pixels of frames start ... stop - 1."""
        assert self.timestamps_ns is not None, "set when it was opened"
        chosen = self.timestamps_ns[start:stop]
        if not chosen.size:
            return
        for recorded in self._reader.messages(
            ("frame",), first_ns=int(chosen[0]), last_ns=int(chosen[-1])
        ):
            if isinstance(recorded.message, Frame):
                yield recorded.message.pixels

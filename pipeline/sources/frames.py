"""`dscsnet.open_recording`: the frames of any replay source, one after another, with their keys."""

import os
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dscsnet.pipeline.errors import SourceError
from dscsnet.pipeline.messages import Frame
from dscsnet.pipeline.recording.reader import RecordingReader, recording_files
from dscsnet.pipeline.sources.source import Source, open_source

#: Of what was not recorded from a chain: no publisher ever started it.
NO_EPOCH = bytes(16)
#: What a stream's name is made of, and how long it is at most.
_OTHER_LETTERS, _LONGEST = re.compile(r"[^A-Za-z0-9._-]+"), 64


@dataclass(frozen=True, eq=False)
class RecordedFrame:
    """One frame of a recording.

    Attributes:
        pixels: (H, W) uint8, uint16 or float32 counts; may be read-only.
        stream: name of the camera's stream; of files without one, the file's or folder's name.
        epoch: 16 bytes that tell one start of the publisher from another; zeros where there was
            none.
        frame_id: number of the frame in its stream; of files without numbers, counted from 0.
        timestamp_ns: UTC nanoseconds since 1970, mid-exposure; None where the files do not say.
        saturation: count at which a pixel saturates; None where the files do not say.
    """

    pixels: NDArray[np.generic]
    stream: str
    epoch: bytes
    frame_id: int
    timestamp_ns: int | None
    saturation: float | None = None


class Recording(Iterator[RecordedFrame]):
    """Frames in order, once through; closes its files after the last one. A context manager.

    Attributes:
        description: one phrase for people.
        frame_count: frames in all; None if the files do not say.
    """

    def __init__(
        self,
        frames: Generator[RecordedFrame, None, None],
        description: str,
        frame_count: int | None,
    ) -> None:
        self._frames, self.description, self.frame_count = frames, description, frame_count

    def __enter__(self) -> Self:
        """Return the recording itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def __iter__(self) -> Self:
        """Return the recording itself: where one loop ended, the next goes on."""
        return self

    def __next__(self) -> RecordedFrame:
        """Return the next frame.

        Raises:
            SourceError: it cannot be read.
        """
        return next(self._frames)

    def __repr__(self) -> str:
        """Return the description."""
        return f"<Recording: {self.description}>"

    def close(self) -> None:
        """Close the files; there are no frames after that. More calls do nothing."""
        self._frames.close()


def open_recording(
    path: str | os.PathLike[str],
    *,
    streams: tuple[str, ...] = (),
    start: int = 0,
    stop: int | None = None,
    allow_mixed_sizes: bool = False,
) -> Recording:
    """Open a recording, or anything else that `dscsnet replay` plays, frame by frame.

    Args:
        path: an `.mcap` recording, or a folder or glob of its files; a folder or glob of images
            (PNG, TIFF, BMP; in the order of the numbers in their names), one image, a multi-page
            TIFF, a `.npy` or `.npz` file, or a video.
        streams: of an `.mcap` recording: only these; none: all.
        start, stop: frames before the first of these and from the second on are left out.
        allow_mixed_sizes: images may differ in size and type.

    Raises:
        SourceError: there is no such thing, it has no frames in that range, or the first cannot
            be read. Going through the frames raises it for later ones.

    Examples:
        >>> import dscsnet, numpy, pathlib, tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = pathlib.Path(folder.name) / "night.npy"
        >>> numpy.save(file, numpy.arange(24, dtype="uint16").reshape(2, 3, 4))
        >>> for frame in dscsnet.open_recording(file):
        ...     print(frame.stream, frame.frame_id, frame.pixels.shape, frame.pixels.max())
        night 0 (3, 4) 11
        night 1 (3, 4) 23
        >>> folder.cleanup()
    """
    spec = os.fspath(path)
    if files := recording_files([spec]):
        return _recorded(RecordingReader(files), streams, start, stop)
    if streams:
        raise SourceError(f"{spec}: streams are told apart in .mcap recordings only")
    source = open_source(spec, start=start, stop=stop, allow_mixed_sizes=allow_mixed_sizes)
    return Recording(_counted(source, spec), source.description, source.frame_count)


def _recorded(
    reader: RecordingReader, streams: tuple[str, ...], start: int, stop: int | None
) -> Recording:
    there = len(reader.times(("frame",), streams))
    if not 0 <= start < there or (stop is not None and stop <= start):
        asked = f"frames {start} to {'the last' if stop is None else stop - 1}"
        raise SourceError(f"{reader.description}: it has {there} frames, not {asked}")
    last = there if stop is None else min(stop, there)
    frames = _messages(reader, streams, start, last)
    return Recording(frames, f"{last - start} frames of {reader.description}", last - start)


def _messages(
    reader: RecordingReader, streams: tuple[str, ...], start: int, stop: int
) -> Generator[RecordedFrame, None, None]:
    for number, recorded in enumerate(reader.messages(("frame",), streams)):
        if number >= stop:
            return
        frame = recorded.message
        if number >= start and isinstance(frame, Frame):
            yield RecordedFrame(frame.pixels, *frame.key, frame.timestamp_ns, frame.saturation)


def _counted(source: Source, spec: str) -> Generator[RecordedFrame, None, None]:
    stem = _OTHER_LETTERS.sub("-", Path(spec).stem)[:_LONGEST].strip("-") or "frames"
    with source:
        for frame in source:
            yield RecordedFrame(frame.pixels, stem, NO_EPOCH, frame.index, frame.timestamp_ns)

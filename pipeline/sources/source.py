"""Replay sources: image folders, TIFF, NumPy arrays, videos and recordings, frame by frame."""

import glob
import logging
import re
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from dscsnet.pipeline.errors import SourceError
from dscsnet.pipeline.recording.reader import recording_files
from dscsnet.pipeline.sources.readers import ArrayFrames, ImageFiles, Reader, Video
from dscsnet.pipeline.sources.recordings import RecordedFrames
from dscsnet.pipeline.sources.tiff import TIFF_SUFFIXES, TiffPages

IMAGE_SUFFIXES = (".png", *TIFF_SUFFIXES, ".bmp")
READ_AHEAD_FRAMES = 8

logger = logging.getLogger(__name__)
Item = TypeVar("Item")


@dataclass(frozen=True)
class SourceFrame:
    """One frame of a source.

    Attributes:
        index: number of the frame in the source, from 0, whatever `start` is.
        pixels: (H, W) uint8, uint16 or float32, C order, counts.
        timestamp_ns: when it was recorded, UTC; None if the source does not say.
    """

    index: int
    pixels: NDArray[np.generic]
    timestamp_ns: int | None


class Source:
    """Frames `start` ... `stop` - 1 of a reader; a context manager. Each `iter` is a new pass.

    Frames are decoded ahead in one background thread a pass, at most `READ_AHEAD_FRAMES` of them;
    what goes wrong there is raised at the frame it belongs to.

    Attributes:
        frame_count: frames in one pass; None if the container does not say. For a video it is
            what the container states: a pass ends where decoding ends.
        shape: (H, W) of the first frame, and of all others unless mixed sizes are allowed.
        dtype: uint8, uint16 or float32, of the first frame, and likewise.
        rate_hz: the recorded rate; None if the source does not know it.
        timestamps_ns: (frame_count,) recorded times, UTC; None if the source has none.
        description: one phrase for people.
    """

    def __init__(
        self, reader: Reader, start: int, stop: int | None, allow_mixed_sizes: bool
    ) -> None:
        self._reader = reader
        self._start, self._stop = _bounds(reader, start, stop)
        self._allow_mixed_sizes = allow_mixed_sizes
        self._passes: WeakSet[Generator[SourceFrame, None, None]] = WeakSet()
        first = next(iter(reader.frames(self._start, self._start + 1)), None)
        if first is None:
            raise SourceError(f"{reader.description}: there is no frame {self._start}")
        self.shape: tuple[int, int] = (first.shape[0], first.shape[1])
        self.dtype: np.dtype = first.dtype
        self.rate_hz = reader.rate_hz
        times = reader.timestamps_ns
        self.timestamps_ns = None if times is None else times[self._start : self._stop]
        self.frame_count = None if self._stop is None else self._stop - self._start
        self.description = reader.description

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the passes that are still under way, and their threads."""
        for running in list(self._passes):
            running.close()

    def __len__(self) -> int:
        if self.frame_count is None:
            raise TypeError(f"{self.description}: its length is not known before it was played")
        return self.frame_count

    def __iter__(self) -> Iterator[SourceFrame]:
        frames = self._frames()
        self._passes.add(frames)
        return frames

    def _frames(self) -> Generator[SourceFrame, None, None]:
        count = 0
        for pixels in read_ahead(self._checked(), READ_AHEAD_FRAMES):
            recorded = None if self.timestamps_ns is None else int(self.timestamps_ns[count])
            yield SourceFrame(self._start + count, pixels, recorded)
            count += 1
        if self.frame_count is not None and count < self.frame_count:
            logger.warning(
                "%s ended after %d frames; its header promised %d",
                self.description,
                count,
                self.frame_count,
            )

    def _checked(self) -> Generator[NDArray[np.generic], None, None]:
        frames = self._reader.frames(self._start, self._stop)
        for index, pixels in enumerate(frames, self._start):
            if not self._allow_mixed_sizes and (
                pixels.shape != self.shape or pixels.dtype != self.dtype
            ):
                raise SourceError(
                    f"{self._reader.name(index)}: expected {_layout(self.shape, self.dtype)} like "
                    f"the first frame, got {_layout(pixels.shape, pixels.dtype)}; "
                    "give --allow-mixed-sizes if these are unrelated frames"
                )
            yield pixels


def open_source(
    spec: str | Path, *, start: int = 0, stop: int | None = None, allow_mixed_sizes: bool = False
) -> Source:
    """Open a replay source.

    Args:
        spec: a folder or a glob of images (PNG, TIFF, BMP) in natural order (frame2 before
            frame10), one image, a multi-page TIFF, a `.npy` or `.npz` file, a video, or the
            frames of a recording (`.mcap`, or a folder or glob of its files) of one stream.
            Arrays are (T, H, W) or (H, W); an `.npz` file has them under `frames` or as its only
            3-D array, and may have `timestamps_ns` (T,). How stored types travel is in
            `dscsnet.pipeline.messages.pixels.WIRE_DTYPES`.
        start: first frame.
        stop: the frame before which to stop, like a slice; None for all.
        allow_mixed_sizes: let frames of changing size and type through (unrelated single images).

    Raises:
        SourceError: the source does not exist, holds no frames in that range, or its first frame
            cannot be read. Iterating raises it for later frames.
    """
    return Source(_open_reader(str(spec)), start, stop, allow_mixed_sizes)


def _open_reader(spec: str) -> Reader:
    path = Path(spec)
    if files := recording_files([spec]):
        return RecordedFrames(files)
    if path.is_dir():
        return _image_files(_entries(path), f"folder {spec}")
    if not path.exists():
        if not glob.has_magic(spec):
            raise SourceError(f"{spec}: no such file or folder")
        matches = [Path(match) for match in glob.glob(spec, recursive=True)]
        return _image_files(matches, f"glob {spec}")
    suffix = path.suffix.lower()
    if suffix in TIFF_SUFFIXES:
        return TiffPages(path)
    if suffix in IMAGE_SUFFIXES:
        return ImageFiles([path], f"image {spec}")
    return ArrayFrames(path) if suffix in (".npy", ".npz") else Video(path)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise SourceError(f"{folder}: cannot be read: {error.strerror}") from error


def _image_files(candidates: list[Path], where: str) -> ImageFiles:
    # Names with a leading dot are left out: some systems write ._frame1.png beside frame1.png.
    images = [
        path
        for path in candidates
        if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "." and path.is_file()
    ]
    if not images:
        found = "nothing matches" if not candidates and where.startswith("glob") else "no images"
        raise SourceError(f"{where}: {found}; looked for {', '.join(IMAGE_SUFFIXES)}")
    images.sort(key=natural_order)
    return ImageFiles(images, f"{len(images)} images in {where}")


def natural_order(path: Path) -> tuple[list[str | int], str]:
    """Sort key that counts: frame2 < frame10; the plain text decides between 02 and 2."""
    text = str(path)
    parts = re.split(r"(\d+)", text.lower())
    return [int(part) if part.isdecimal() else part for part in parts], text


def read_ahead(items: Generator[Item, None, None], depth: int) -> Generator[Item, None, None]:
    """Yield `items`, computed up to `depth` ahead in a thread; errors come out in their place."""
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        try:
            pending = deque(pool.submit(next, items, None) for _ in range(depth))
            while (item := pending.popleft().result()) is not None:
                pending.append(pool.submit(next, items, None))
                yield item
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            items.close()


def _bounds(reader: Reader, start: int, stop: int | None) -> tuple[int, int | None]:
    if start < 0 or (stop is not None and stop <= start):
        raise SourceError(f"{reader.description}: expected 0 <= start < stop, got {start}, {stop}")
    count = reader.frame_count
    if count is None:
        return start, stop
    if start >= count:
        raise SourceError(f"{reader.description}: start {start} is beyond the last, {count - 1}")
    return start, count if stop is None else min(stop, count)


def _layout(shape: tuple[int, ...], dtype: np.dtype) -> str:
    height, width = shape
    return f"{width}x{height} {dtype.name}"

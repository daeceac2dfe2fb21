"""One reader for each kind of replay source; a reader decodes frames one by one, in order.

A reader knows how many frames there are, what each is called in an error, and at what rate or
times they were recorded, if the format says so. It reads lazily: `frames` opens what it needs
when a pass begins and lets go of it when the pass ends.
"""

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.files.arrays import Archive, ArrayFileError, map_array
from dscsnet.pipeline.errors import SourceError
from dscsnet.pipeline.sources.pixels import PixelConverter, check_stored, decode_image
from dscsnet.pipeline.sources.tiff import TIFF_SUFFIXES, TiffPages

#: How files begin that FFmpeg takes for lists of other files.
PLAYLISTS = (b"ffconcat", b"#EXTM3U", b"\xef\xbb\xbf#EXTM3U", b"<?xml", b"<MPD")


class Reader(Protocol):
    """What `dscsnet.pipeline.sources.source.Source` needs of a kind of source."""

    description: str  # one phrase for people, e.g. "110 images in recordings/"
    frame_count: int | None  # None if the container does not say; a video's may be an estimate
    rate_hz: float | None  # None if not recorded
    timestamps_ns: NDArray[np.int64] | None  # (frames,) UTC, None if not recorded

    def name(self, index: int) -> str:
        """Return what frame `index` is called in an error."""

    def frames(self, start: int, stop: int | None) -> Iterator[NDArray[np.generic]]:
        """Decode frames start, start + 1, ... stop - 1 to (H, W) uint8, uint16 or float32."""


class ImageFiles:
    """Single images (PNG, TIFF, BMP; 8 or 16 bit or float TIFF), one file a frame."""

    rate_hz: float | None = None
    timestamps_ns: NDArray[np.int64] | None = None

    def __init__(self, paths: Sequence[Path], description: str) -> None:
        self._paths = paths
        self._converter = PixelConverter()
        self.frame_count: int | None = len(paths)
        self.description = description

    def name(self, index: int) -> str:
        return str(self._paths[index])

    def frames(self, start: int, stop: int | None) -> Iterator[NDArray[np.generic]]:
        for path in self._paths[start:stop]:
            yield self._converter.convert(_decode_file(path), str(path))


def _decode_file(path: Path) -> NDArray[np.generic]:
    if path.suffix.lower() in TIFF_SUFFIXES:
        pages = TiffPages(path)
        if pages.frame_count != 1:
            raise SourceError(
                f"{path}: expected one image a file, got {pages.frame_count} pages; "
                "replay this file by itself"
            )
        return next(pages.decoded(0, 1))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    return decode_image(content, str(path))


class ArrayFrames:
    """Frames of a `.npy` file (memory-mapped) or of an array in an `.npz` file (in memory)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._converter = PixelConverter()
        self.timestamps_ns: NDArray[np.int64] | None = None
        if path.suffix.lower() == ".npz":
            self._array, self.timestamps_ns = _load_npz(path)
        else:
            self._array = _load_npy(path)
        if self._array.ndim == 2:
            self._array = self._array[np.newaxis]
        if self._array.ndim != 3 or 0 in self._array.shape:
            raise SourceError(
                f"{path}: expected frames (T, H, W) or one image (H, W), "
                f"got shape {self._array.shape}"
            )
        check_stored(self._array.shape, self._array.dtype, str(path))
        if self.timestamps_ns is not None:
            _check_timestamps(self.timestamps_ns, len(self._array), path)
        self.rate_hz = _mean_rate_hz(self.timestamps_ns)
        self.frame_count: int | None = len(self._array)
        self.description = f"{len(self._array)} frames of {path}"

    def name(self, index: int) -> str:
        return f"{self._path}, frame {index}"

    def frames(self, start: int, stop: int | None) -> Iterator[NDArray[np.generic]]:
        for index, image in enumerate(self._array[start:stop], start):
            yield self._converter.convert(image, self.name(index))


def _load_npy(path: Path) -> NDArray[np.generic]:
    try:
        return np.asarray(map_array(path))
    except ArrayFileError as error:
        raise SourceError(f"{path}: {error}") from None


def _load_npz(path: Path) -> tuple[NDArray[np.generic], NDArray[np.int64] | None]:
    try:
        with Archive(path) as archive:
            wanted = ("frames", "timestamps_ns") if "frames" in archive.names else archive.names
            arrays = archive.read(name for name in wanted if name in archive.names)
    except ArrayFileError as error:
        raise SourceError(f"{path}: {error}") from None
    timestamps = cast(NDArray[np.int64] | None, arrays.pop("timestamps_ns", None))
    if "frames" in arrays:
        return arrays["frames"], timestamps
    stacks = {key: array for key, array in arrays.items() if array.ndim == 3}
    if len(stacks) != 1:
        raise SourceError(
            f"{path}: expected an array named 'frames' or just one array (T, H, W), "
            f"got {', '.join(f'{key} {array.shape}' for key, array in arrays.items()) or 'none'}"
        )
    return stacks.popitem()[1], timestamps


def _check_timestamps(timestamps_ns: NDArray[np.generic], frames: int, path: Path) -> None:
    if timestamps_ns.shape != (frames,) or timestamps_ns.dtype.kind not in "iu":
        raise SourceError(
            f"{path}: timestamps_ns: expected {frames} integers, "
            f"got {timestamps_ns.dtype.name} of shape {timestamps_ns.shape}"
        )
    times = timestamps_ns.tolist()
    falls = any(later < earlier for earlier, later in pairwise(times))
    if times[0] < 0 or times[-1] >= 2**63 or falls:
        raise SourceError(f"{path}: timestamps_ns: expected 0 to 2^63 - 1, never falling")


def _mean_rate_hz(timestamps_ns: NDArray[np.int64] | None) -> float | None:
    if timestamps_ns is None or len(timestamps_ns) < 2:
        return None
    span = int(timestamps_ns[-1]) - int(timestamps_ns[0])
    return (len(timestamps_ns) - 1) * 1e9 / span if span > 0 else None


class Video:
    """A video that OpenCV opens, in 8-bit gray; frames before `start` are decoded and skipped.

    Seeking in compressed video lands on a neighbouring frame too often to be trusted.
    """

    timestamps_ns: NDArray[np.int64] | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        capture = self._open()
        frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        rate = capture.get(cv2.CAP_PROP_FPS)
        capture.release()
        self.frame_count: int | None = round(frames) if 0 < frames < 1e9 else None
        self.rate_hz: float | None = rate if 0 < rate < 1e6 else None
        self.description = f"video {path}"

    def name(self, index: int) -> str:
        return f"{self._path}, frame {index}"

    def frames(self, start: int, stop: int | None) -> Iterator[NDArray[np.generic]]:
        capture = self._open()
        try:
            if all(capture.grab() for _ in range(start)):
                yield from islice(_gray_frames(capture), None if stop is None else stop - start)
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        _refuse_playlist(self._path)
        capture = cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            raise SourceError(
                f"{self._path}: neither an image, a .npy or .npz file, "
                "nor a video that OpenCV can open"
            )
        return capture


def _refuse_playlist(path: Path) -> None:
    """A list of files would be read with all that it names, wherever that lies (SourceError)."""
    try:
        with path.open("rb") as file:
            start = file.read(64).lstrip()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None
    if start.startswith(PLAYLISTS):
        raise SourceError(f"{path}: a playlist, not a video; replay the videos in it one by one")


def _gray_frames(capture: cv2.VideoCapture) -> Iterator[NDArray[np.generic]]:
    while True:
        there, image = capture.read()
        if not there:
            return
        yield image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)

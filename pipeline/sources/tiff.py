"""Reads multi-page TIFF files one page at a time, at the same cost for every page."""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dscsnet.pipeline.errors import SourceError
from dscsnet.pipeline.sources.pixels import PixelConverter, decode_image

TIFF_SUFFIXES = (".tif", ".tiff")


class TiffPages:
    """The pages of one TIFF file.

    OpenCV reaches page k only by walking over k others each time, and takes a file that was cut
    off for a shorter one. So the page directories are found here, once, and each page is decoded
    from a private memory map of the file whose header points at that page.
    """

    rate_hz: float | None = None
    timestamps_ns: NDArray[np.int64] | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self._converter = PixelConverter()
        with _private_map(path) as content:
            self._layout = _tiff_layout(content, path)
            self._offsets = _tiff_directories(content, self._layout, path)
        self.frame_count: int | None = len(self._offsets)
        self.description = f"{len(self._offsets)} pages of {path}"

    def name(self, index: int) -> str:
        return f"{self._path}, page {index}"

    def frames(self, start: int, stop: int | None) -> Iterator[NDArray[np.generic]]:
        for index, image in enumerate(self.decoded(start, stop), start):
            yield self._converter.convert(image, self.name(index))

    def decoded(self, start: int, stop: int | None) -> Iterator[NDArray[np.generic]]:
        """Decode pages as they are stored, colour included."""
        content = _private_map(self._path)
        for index, offset in enumerate(self._offsets[start:stop], start):
            self._layout.offset.pack_into(content, self._layout.first_at, offset)
            yield decode_image(content, self.name(index))


class _TiffLayout:
    """Field sizes of a classic TIFF (version 42) or a BigTIFF (version 43)."""

    def __init__(self, byte_order: str, big: bool) -> None:
        self.count = struct.Struct(byte_order + ("Q" if big else "H"))
        self.offset = struct.Struct(byte_order + ("Q" if big else "I"))
        self.first_at = 8 if big else 4
        self.entry_bytes = 20 if big else 12


def _private_map(path: Path) -> mmap.mmap:
    """Map a file copy-on-write: what is written to the map never reaches the file."""
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # an empty file cannot be mapped
        raise SourceError(f"{path}: the file is empty") from error
    if len(content) > np.iinfo(np.int32).max:
        raise SourceError(
            f"{path}: TIFF files up to 2 GiB can be read, got {len(content)} bytes; "
            "split it or convert it to .npy"
        )
    return content


def _tiff_layout(content: mmap.mmap, path: Path) -> _TiffLayout:
    byte_order = {b"II": "<", b"MM": ">"}.get(content[:2])
    whole = byte_order is not None and len(content) >= 4
    version = struct.unpack(f"{byte_order}H", content[2:4])[0] if whole else 0
    if byte_order is None or version not in (42, 43):
        raise SourceError(f"{path}: damaged, or not a TIFF file")
    return _TiffLayout(byte_order, big=version == 43)


def _tiff_directories(content: mmap.mmap, layout: _TiffLayout, path: Path) -> list[int]:
    """Follow the chain of page directories; return the offset of each."""
    offsets: list[int] = []
    seen: set[int] = set()
    try:
        (offset,) = layout.offset.unpack_from(content, layout.first_at)
        while offset:
            if offset in seen:
                raise SourceError(f"{path}: damaged: its chain of pages runs in a circle")
            seen.add(offset)
            offsets.append(offset)
            (entries,) = layout.count.unpack_from(content, offset)
            next_at = offset + layout.count.size + entries * layout.entry_bytes
            (offset,) = layout.offset.unpack_from(content, next_at)
    except (struct.error, OverflowError) as error:
        raise SourceError(f"{path}: damaged: cut off after {len(offsets)} pages") from error
    if not offsets:
        raise SourceError(f"{path}: damaged: a TIFF file without pages")
    return offsets

"""Images from PNG, TIFF and BMP files: their size is checked before they are decoded."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.errors import DscsnetError

#: The largest frame on the wire by default: sides in px, and pixels in all.
LARGEST_SIDE, MOST_PIXELS = 16384, 2**26

_PNG, _BMP = b"\x89PNG\r\n\x1a\n", b"BM"
_TIFF_ORDERS = {b"II": "<", b"MM": ">"}
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_TIFF_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}


class ImageFileError(DscsnetError):
    """No image that can be read; the message does not name the file."""


class Content(Protocol):
    """The bytes of a file: bytes or a memory map."""

    def __getitem__(self, part: slice) -> bytes: ...
    def __len__(self) -> int: ...


def read_image(path: Path) -> NDArray[Any]:
    """Read an image file as it is stored, colour included; see `decode_image`.

    Raises:
        ImageFileError: also where the file cannot be read.
    """
    try:
        return decode_image(path.read_bytes())
    except OSError as error:
        raise ImageFileError(f"cannot be read: {error.strerror}") from None


def decode_image(content: Content) -> NDArray[Any]:
    """Decode the content of a PNG, TIFF (its first page) or BMP file.

    Returns:
        (H, W) or (H, W, channels), blue, green, red, of the type that is stored.

    Raises:
        ImageFileError: another kind, damaged, or larger than `LARGEST_SIDE` or `MOST_PIXELS`.
    """
    import cv2  # takes a while to load

    width, height = _claimed_size(content)
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        raise ImageFileError(f"{width}x{height} px, sides of 1 to {LARGEST_SIDE} are allowed")
    if width * height > MOST_PIXELS:
        raise ImageFileError(f"{width}x{height} px, at most {MOST_PIXELS} pixels are allowed")
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)  # type: ignore[call-overload]
    except (cv2.error, MemoryError):
        image = None
    if image is None or image.shape[:2] != (height, width):
        raise ImageFileError("damaged image")
    return np.asarray(image)


def _claimed_size(content: Content) -> tuple[int, int]:
    """Width and height that the header claims."""
    readers: list[tuple[bool, Callable[[Content], tuple[int, int]]]] = [
        (content[:8] == _PNG, _png_size),
        (content[:2] == _BMP, _bmp_size),
        (content[:2] in _TIFF_ORDERS, _tiff_size),
    ]
    for fits, size in readers:
        if fits:
            try:
                return size(content)
            except (struct.error, LookupError):
                raise ImageFileError("damaged image") from None
    raise ImageFileError("neither a PNG, nor a TIFF, nor a BMP image")


def _png_size(content: Content) -> tuple[int, int]:
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def _bmp_size(content: Content) -> tuple[int, int]:
    (header,) = struct.unpack("<I", content[14:18])
    if header == 12:  # the first version's, with 16-bit sides
        width, height = struct.unpack("<HH", content[18:22])
    else:
        width, height = struct.unpack("<ii", content[18:26])
    return width, abs(height)  # a negative height: from the top down


def _tiff_size(content: Content) -> tuple[int, int]:
    order = _TIFF_ORDERS[content[:2]]
    (version,) = struct.unpack(order + "H", content[2:4])
    big = version == 43
    number, offset, entry = ("Q", "Q", 20) if big else ("H", "I", 12)
    first = 8 if big else 4

    def value(form: str, place: int) -> int:
        found: int = struct.unpack(order + form, content[place : place + struct.calcsize(form)])[0]
        return found

    place = value(offset, first)
    entries = value(number, place)
    place += struct.calcsize(number)
    sides = {}
    for each in range(place, place + min(entries, 4096) * entry, entry):
        if (tag := value("H", each)) in (_TIFF_WIDTH, _TIFF_HEIGHT):
            form = _TIFF_INTEGERS[value("H", each + 2)]
            sides[tag] = value(form, each + 4 + struct.calcsize(offset))
    return sides[_TIFF_WIDTH], sides[_TIFF_HEIGHT]

"""Turns decoded images and arrays of any common type into the pixels that a frame carries."""

import logging

import cv2
import numpy as np
from numpy.typing import NDArray

from dscsnet.engines import image_files
from dscsnet.engines.image_files import Content
from dscsnet.pipeline.errors import SourceError
from dscsnet.pipeline.messages.bounds import Limits

LIMITS = Limits()

logger = logging.getLogger(__name__)

# How each stored type travels. A value that its wire type cannot hold exactly is an error, never
# rounded or clipped: counts are measurements.
WIRE_DTYPES: dict[str, type[np.generic]] = {
    "bool": np.uint8,
    "uint8": np.uint8,
    "uint16": np.uint16,
    "int16": np.uint16,
    "float16": np.float32,
    "float32": np.float32,
    "int32": np.float32,
    "uint32": np.float32,
    "int64": np.float32,
    "uint64": np.float32,
    "float64": np.float32,
}


class PixelConverter:
    """Converts the images of one source; warns once if it has to mix colours into gray."""

    def __init__(self) -> None:
        self._warned_of_colour = False

    def convert(self, image: NDArray[np.generic], where: str) -> NDArray[np.generic]:
        """Return the pixels of one frame.

        Args:
            image: (H, W) or (H, W, channels) of a type in `WIRE_DTYPES`; three channels are blue,
                green, red; a fourth (alpha) is left out.
            where: names the image in errors, e.g. the file.

        Returns:
            (H, W) uint8, uint16 or float32, C order, native byte order; shares no memory with
            a memory-mapped `image`.

        Raises:
            SourceError: the type or the number of channels is not supported, or a value does not
                fit the wire type exactly.
        """
        pixels = _exact(image, where)
        if pixels.ndim == 3:
            pixels = self._gray(pixels, where)
        if pixels.ndim != 2 or pixels.size == 0:
            raise SourceError(f"{where}: expected an image (H, W), got shape {image.shape}")
        check_size(pixels.shape, pixels.dtype, where)
        return np.array(pixels, order="C", copy=None if pixels.base is None else True)

    def _gray(self, pixels: NDArray[np.generic], where: str) -> NDArray[np.generic]:
        channels = pixels.shape[2]
        if channels == 1:
            return pixels[:, :, 0]
        if channels not in (3, 4):
            raise SourceError(f"{where}: expected 1, 3 or 4 channels, got {channels}")
        colours = pixels[:, :, :3]
        blue = colours[:, :, 0]
        if np.array_equal(blue, colours[:, :, 1]) and np.array_equal(blue, colours[:, :, 2]):
            return blue
        if not self._warned_of_colour:
            self._warned_of_colour = True
            logger.warning(
                "%s is a colour image: its luminance is used, which is no radiometric count", where
            )
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(colours), cv2.COLOR_BGR2GRAY))


def decode_image(content: Content, where: str) -> NDArray[np.generic]:
    """Decode the content of one image file as it is stored, colour included; or SourceError."""
    try:
        return image_files.decode_image(content)
    except image_files.ImageFileError as error:
        raise SourceError(
            f"{where}: damaged, or not an image of the kind that its name says: {error}"
        ) from None


def check_size(shape: tuple[int, ...], dtype: np.dtype, where: str) -> None:
    """Refuse frames (..., H, W) that no receiver takes by default (SourceError)."""
    height, width = shape[-2:]
    size = height * width * dtype.itemsize
    if max(height, width) > LIMITS.max_dimension or size > LIMITS.max_frame_bytes:
        raise SourceError(
            f"{where}: a frame of {width}x{height} {dtype.name} is too large; at most "
            f"{LIMITS.max_dimension} px a side and {LIMITS.max_frame_bytes} bytes are accepted"
        )


def wire_dtype(stored: np.dtype, where: str) -> np.dtype:
    """Return the type in which pixels stored as `stored` travel; SourceError if there is none."""
    name = stored.newbyteorder("=").name
    if name not in WIRE_DTYPES:
        known = ", ".join(WIRE_DTYPES)
        raise SourceError(f"{where}: pixels of type {name} are not supported; expected {known}")
    return np.dtype(WIRE_DTYPES[name])


def _exact(image: NDArray[np.generic], where: str) -> NDArray[np.generic]:
    """Cast to the wire type, or raise SourceError where that would change a value."""
    wanted = wire_dtype(image.dtype, where)
    if image.dtype in (wanted, np.bool_, np.float16):
        with np.errstate(invalid="ignore"):  # of NaNs, which mark bad pixels
            return image.astype(wanted, copy=False)
    if wanted == np.uint16:
        if image.size and int(image.min()) < 0:
            raise SourceError(
                f"{where}: {image.dtype.name} pixels must not be negative, "
                f"got {int(image.min())}; store them as float32 instead"
            )
        return image.astype(wanted)
    return _as_float32(image, where)


def _as_float32(image: NDArray[np.generic], where: str) -> NDArray[np.float32]:
    # An overflow is caught below, as an infinity that differs; a NaN marks a bad pixel.
    with np.errstate(over="ignore", invalid="ignore"):
        pixels = image.astype(np.float32)
    # Compared in long double, which holds every 64-bit integer that a double would round.
    exact = np.longdouble if image.dtype.kind in "iu" else np.float64
    same = (pixels.astype(exact) == image.astype(exact)) | np.isnan(pixels)
    if not same.all():
        value = image[np.unravel_index(int(np.argmin(same)), image.shape)]
        raise SourceError(
            f"{where}: {image.dtype.name} pixels must be exact in float32, got {value}; "
            "round them with array.astype(numpy.float32) first"
        )
    return pixels

"""Turns decoded images and arrays of any common type into the pixels that a frame carries."""

import logging

import cv2
import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.files import images
from dscsnet.engines.files.images import Content
from dscsnet.pipeline.errors import InputError, SourceError
from dscsnet.pipeline.messages.bounds import Limits
from dscsnet.pipeline.messages.pixels import exact_pixels, wire_dtype

LIMITS = Limits()

logger = logging.getLogger(__name__)


class PixelConverter:
    """Converts the images of one source; warns once if it has to mix colours into gray."""

    def __init__(self) -> None:
        self._warned_of_colour = False

    def convert(self, image: NDArray[np.generic], where: str) -> NDArray[np.generic]:
        """Return the pixels of one frame.

        Args:
            image: (H, W) or (H, W, channels) of a type in
                `dscsnet.pipeline.messages.pixels.WIRE_DTYPES`; three channels are blue,
                green, red; a fourth (alpha) is left out.
            where: names the image in errors, e.g. the file.

        Returns:
            (H, W) uint8, uint16 or float32, C order, native byte order; shares no memory with
            a memory-mapped `image`.

        Raises:
            SourceError: the type or the number of channels is not supported, or a value does not
                fit the wire type exactly.
        """
        try:
            pixels = exact_pixels(image, where)
        except InputError as error:
            raise SourceError(str(error)) from None
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
        return images.decode_image(content)
    except images.ImageFileError as error:
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


def check_stored(shape: tuple[int, ...], stored: np.dtype, where: str) -> None:
    """Refuse frames stored as `stored` if they are too large, or of a type that does not travel."""
    try:
        check_size(shape, wire_dtype(stored, where), where)
    except InputError as error:
        raise SourceError(str(error)) from None

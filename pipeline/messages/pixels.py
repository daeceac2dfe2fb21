"""The types in which pixels travel, and the exact way of other types to them."""

import numpy as np
from numpy.typing import NDArray

from dscsnet.pipeline.errors import InputError

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


def wire_dtype(stored: np.dtype, where: str) -> np.dtype:
    """Return the type in which pixels stored as `stored` travel; InputError if there is none."""
    name = stored.newbyteorder("=").name
    if name not in WIRE_DTYPES:
        known = ", ".join(WIRE_DTYPES)
        raise InputError(f"{where}: pixels of type {name} are not supported; expected {known}")
    return np.dtype(WIRE_DTYPES[name])


def exact_pixels(image: NDArray[np.generic], where: str) -> NDArray[np.generic]:
    """Cast to the wire type; the array itself where it has that type.

    Args:
        image: of a type in `WIRE_DTYPES`; NaN and infinity mark bad pixels.
        where: names the image in errors.

    Raises:
        InputError: the type is not supported, or a value does not fit the wire type exactly.
    """
    wanted = wire_dtype(image.dtype, where)
    if image.dtype in (wanted, np.bool_, np.float16):
        with np.errstate(invalid="ignore"):  # of NaNs, which mark bad pixels
            return image.astype(wanted, copy=False)
    if wanted == np.uint16:
        if image.size and int(image.min()) < 0:
            raise InputError(
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
        raise InputError(
            f"{where}: {image.dtype.name} pixels must be exact in float32, got {value}; "
            "round them with array.astype(numpy.float32) first"
        )
    return pixels

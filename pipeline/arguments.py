"""What callers in Python hand over, checked: one line says what was expected and what came."""

import math
import numbers
import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dscsnet.pipeline.cropping.bad_pixels import load_bad_pixels
from dscsnet.pipeline.errors import ConfigError, InputError
from dscsnet.pipeline.messages.pixels import exact_pixels


def counts_of(name: str, values: ArrayLike, shape: str) -> NDArray[np.generic]:
    """An array of counts of as many dimensions as `shape` names: uint8, uint16 or float32.

    Args:
        shape: for example "(H, W)".

    Raises:
        InputError: it is none, or has a value that its type of these three cannot hold exactly.
    """
    if isinstance(values, np.ma.MaskedArray):
        raise InputError(f"{name}: masked arrays are not taken; set masked pixels to NaN (float32)")
    array = array_of(name, values)
    if array.ndim != shape.count(",") + 1:
        raise InputError(f"{name}: expected an array {shape}, got shape {array.shape}")
    return exact_pixels(array, name)


def array_of(name: str, values: ArrayLike) -> NDArray[Any]:
    """The values as an array of real numbers, or InputError."""
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        raise InputError(f"{name}: expected numbers in rows of one length") from None
    if array.dtype.kind not in "buif":
        raise InputError(f"{name}: expected real numbers, got {array.dtype.name}")
    return array


def column(name: str, values: ArrayLike, length: int | None = None) -> NDArray[Any]:
    """One number a candidate, as many as `length` says.

    Raises:
        InputError: it is something else.
    """
    array = array_of(name, values)
    if array.ndim != 1 or length not in (None, len(array)):
        wanted = "(n,)" if length is None else f"({length},) as of x"
        raise InputError(f"{name}: expected an array {wanted}, got shape {array.shape}")
    return array


def whole_numbers(name: str, values: ArrayLike, length: int) -> NDArray[np.int64]:
    """One signed 64-bit number a candidate; InputError where they are something else."""
    array = column(name, values, length)
    if array.size and (array.dtype.kind == "f" or array.max() > np.iinfo(np.int64).max):
        raise InputError(f"{name}: expected signed 64-bit whole numbers, got {array.dtype.name}")
    return array.astype(np.int64)


def within(name: str, value: float, least: float, most: float = math.inf) -> None:
    """Refuse what is no real number within bounds (InputError)."""
    if not _is_number(value) or not least <= value <= most:
        bounds = f"at least {least:g}" if most == math.inf else f"{least:g} to {most:g}"
        raise InputError(f"{name}: expected {bounds}, got {value!r}")


def whole_within(name: str, value: int, least: int) -> None:
    """Refuse what is no whole number of at least so much (InputError)."""
    if not _is_number(value) or not isinstance(value, numbers.Integral) or value < least:
        raise InputError(f"{name}: expected a whole number of at least {least}, got {value!r}")


def one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    """Refuse what is none of these words (InputError)."""
    if value not in known:
        raise InputError(f"{name}: expected {', '.join(known[:-1])} or {known[-1]}, got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def saturation_of(value: float | None) -> float | None:
    """The count at which pixels saturate, or InputError."""
    if value is not None and not (_is_number(value) and math.isfinite(value) and value > 0):
        raise InputError(f"saturation: expected a finite count above 0, got {value!r}")
    return value


def mask_of(value: ArrayLike | str | os.PathLike[str] | None) -> NDArray[np.bool_] | None:
    """A bad-pixel mask from an array or a file: above 0 where a pixel is bad.

    Raises:
        InputError: the array is no mask, or the file cannot be read as one.
    """
    if value is None:
        return None
    if isinstance(value, str | os.PathLike):
        try:
            return load_bad_pixels(os.fspath(value))
        except ConfigError as error:  # which names the key of the node's configuration
            raise InputError(str(error).removeprefix("crop.")) from None
    array = array_of("bad_pixels", value)
    if array.ndim != 2:
        raise InputError(f"bad_pixels: expected an array (H, W), got shape {array.shape}")
    return np.asarray(array > 0, np.bool_, order="C")

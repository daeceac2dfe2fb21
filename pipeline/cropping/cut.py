"""Cuts the planned crops out of a frame and takes off their background.

The frame is read in place: no copy or conversion of it is made.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import checked_kernel
from dscsnet.pipeline.cropping.background import subtract_backgrounds
from dscsnet.pipeline.cropping.correlation import is_correlated
from dscsnet.pipeline.cropping.duplicates import deduplicate
from dscsnet.pipeline.cropping.plan import CropPlan, plan_crops
from dscsnet.pipeline.cropping.plateau import clip, plateau
from dscsnet.pipeline.cropping.seeking import Peaks, find_peaks
from dscsnet.pipeline.cropping.states import BAD, PADDED, SATURATED
from dscsnet.pipeline.errors import ConfigError
from dscsnet.pipeline.messages import SpotFlag

FRAME_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))
LARGEST_COUNT = 1e30  # beyond, squares do not fit float32: such pixels are bad, like infinity

_EDGE_FLAG = int(SpotFlag.EDGE)
_SATURATED_FLAG = int(SpotFlag.SATURATED)
_BAD_FLAG = int(SpotFlag.BAD_PIXELS)
_FAILED_FLAG = int(SpotFlag.NOT_CONVERGED)

_NO_BAD_PIXELS = np.zeros((0, 0), np.bool_)


@dataclass(frozen=True, eq=False)
class Crops:
    """Calibrated crops of one frame, in the order of the plan.

    Attributes:
        pixels: (n, size, size) float32, counts above the background plane.
        usable: (n, size, size) bool, False for pixels that are bad (and filled from their
            neighbours), saturated, or padded beyond the frame.
        background: (n,) float32, the plane at the centre pixel, counts.
        slope_x, slope_y: (n,) float32, the plane's slopes, counts per px.
        noise: (n,) float32, 1-sigma, counts, always positive: at least the rounding error of
            the pixel values.
        flags: (n,) uint32, bits of `SpotFlag`.
        center_x, center_y: (n,) int32, the plan's centre pixels.

    A crop without a usable pixel has zero pixels, NaN background, slopes and noise, and the flags
    `BAD_PIXELS | NOT_CONVERGED`. One with too few for a noise estimate (fewer than 4) has its
    noise at the floor and `NOT_CONVERGED`.
    """

    pixels: NDArray[np.float32]
    usable: NDArray[np.bool_]
    background: NDArray[np.float32]
    slope_x: NDArray[np.float32]
    slope_y: NDArray[np.float32]
    noise: NDArray[np.float32]
    flags: NDArray[np.uint32]
    center_x: NDArray[np.int32]
    center_y: NDArray[np.int32]


def cut_crops(
    pixels: NDArray[np.generic],
    plan: CropPlan,
    *,
    size: int,
    bad_pixels: NDArray[np.bool_] | None = None,
    saturation: float | None = None,
) -> Crops:
    """Cut the crops, repair their bad pixels and take off their background.

    Beyond the frame a crop is padded by reflection without repeating the edge pixel. Padded,
    saturated and bad pixels take no part in the background and noise
    (`dscsnet.pipeline.cropping.background.estimate_background`).

    Args:
        pixels: (H, W) uint8, uint16 or float32; may be read-only. Not copied, unless its memory
            is not in C order or not aligned.
        plan: the crops' centre pixels.
        size: side of the crops, px, odd.
        bad_pixels: (H, W) bool, True where the sensor is known to be bad; in C order, or it is
            copied each time.
        saturation: count at and above which a pixel is saturated; None: not known, then pixels are
            taken to be where spots end in a plateau.

    Raises:
        ValueError: the frame's type or shape, the size or the saturation is not possible.
        ConfigError: the mask does not fit the frame.
    """
    frame = _checked_frame(pixels)
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size: expected an odd number of pixels, got {size!r}")
    if saturation is not None and math.isnan(saturation):
        raise ValueError("saturation: expected a count or None, got NaN")
    mask = _bad_pixel_mask(bad_pixels, frame.shape)
    values, states, flags = _cut(
        frame,
        mask,
        math.inf if saturation is None else float(saturation),
        plan.center_x.astype(np.int64),
        plan.center_y.astype(np.int64),
        int(size),
    )
    _fill_bad(values, states, flags)
    if saturation is None and (level := plateau(values, states)) < math.inf:
        clip(values, states, flags, level)
    usable = states == 0
    above, background, enough = subtract_backgrounds(values, usable, frame.dtype.kind == "u")
    flags[~enough] |= _FAILED_FLAG
    flags[np.isnan(background[:, 3])] |= _BAD_FLAG
    level, slope_x, slope_y, noise = np.ascontiguousarray(background.T)
    return Crops(
        pixels=above,
        usable=usable,
        background=level,
        slope_x=slope_x,
        slope_y=slope_y,
        noise=noise,
        flags=flags,
        center_x=plan.center_x,
        center_y=plan.center_y,
    )


def has_correlated_noise(pixels: NDArray[np.generic], plan: CropPlan) -> bool:
    """Whether a frame's noise is correlated; `cropping.correlation` says how that is told.

    Args:
        pixels, plan: as for `cut_crops`.
    """
    x, y = plan.center_x.astype(np.int64), plan.center_y.astype(np.int64)
    return is_correlated(_checked_frame(pixels), x, y)


def seek_in(
    pixels: NDArray[np.generic], bad_pixels: NDArray[np.bool_] | None = None
) -> Callable[[Float], Peaks]:
    """What finds the peaks of boxes in a frame, for `plan_crops`.

    Args:
        pixels, bad_pixels: as for `cut_crops`.

    Raises:
        ValueError, ConfigError: as there.
    """
    frame = _checked_frame(pixels)
    mask = _bad_pixel_mask(bad_pixels, frame.shape)
    return lambda boxes: find_peaks(frame, mask, boxes)


def warm_up(size: int) -> None:
    """Compile (or load from the cache) every kernel of planning, cutting and deduplication.

    Args:
        size: side of the crops, px, odd.
    """
    position = [0.0, size / 2]
    plan = plan_crops(
        position,
        position,
        score=position,
        width=[0.0, 2.0 * size],
        height=[0.0, 2.0 * size],
        frame_shape=(size, size),
        crop_size=size,
        field_size=size,
        merge_radius=1.0,
        max_crops=8,
    )
    box = np.array([[0.0, size - 1.0, 0.0, size - 1.0]])
    for dtype in FRAME_DTYPES:
        frame = np.ones((size, size), dtype)
        cut_crops(frame, plan, size=size)
        seek_in(frame)(box)
        has_correlated_noise(frame, plan)
    crop_index = np.zeros(2, np.int64)
    deduplicate(plan, crop_index, position, position, position)


def _checked_frame(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    frame = _read_only("pixels", pixels)
    if frame.dtype not in FRAME_DTYPES or frame.size == 0:
        raise ValueError(
            "pixels: expected (H, W) uint8, uint16 or float32 in native byte order, "
            f"got {frame.shape} {frame.dtype.str}"
        )
    return frame


def _read_only(name: str, array: NDArray[np.generic]) -> NDArray[np.generic]:
    """A read-only view in C order: the kernels are compiled for this kind only."""
    if not isinstance(array, np.ndarray) or array.ndim != 2:
        shape = getattr(array, "shape", type(array).__name__)
        raise ValueError(f"{name}: expected an array (H, W), got {shape}")
    view = np.require(array, requirements=("C", "A")).view()
    view.flags.writeable = False
    return view


def _bad_pixel_mask(
    bad_pixels: NDArray[np.bool_] | None, shape: tuple[int, ...]
) -> NDArray[np.generic]:
    if bad_pixels is None:
        return _read_only("bad_pixels", _NO_BAD_PIXELS)
    mask = _read_only("bad_pixels", bad_pixels)
    if mask.shape != shape or mask.dtype != np.bool_:
        raise ConfigError(
            f"bad_pixels: expected a bool mask of the frame's shape {shape}, "
            f"got {mask.shape} {mask.dtype}; use a mask made for this camera"
        )
    return mask


@checked_kernel
def _reflected(index: int, length: int) -> int:
    """Index inside the frame of a pixel that may lie beyond it: 2 1 0 1 2 ... n-2 n-1 n-2."""
    if 0 <= index < length:
        return index
    if length == 1:
        return 0
    period = 2 * (length - 1)
    index = index % period
    return period - index if index >= length else index


@checked_kernel
def _cut(
    frame: NDArray[np.generic],
    bad_pixels: NDArray[np.bool_],
    saturation: float,
    center_x: NDArray[np.int64],
    center_y: NDArray[np.int64],
    size: int,
) -> tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.uint32]]:
    """Copy the crops' pixels and say what is wrong with each; (n, size, size), same, (n,)."""
    height, width = frame.shape
    values = np.empty((center_x.size, size, size))
    states = np.empty((center_x.size, size, size), np.uint8)
    flags = np.empty(center_x.size, np.uint32)
    for crop in range(center_x.size):
        left, top = center_x[crop] - size // 2, center_y[crop] - size // 2
        seen = 0
        for row in range(size):
            frame_row = _reflected(top + row, height)
            for column in range(size):
                frame_column = _reflected(left + column, width)
                value = float(frame[frame_row, frame_column])
                state = 0
                if frame_row != top + row or frame_column != left + column:
                    state |= PADDED
                # Written so that NaN is bad.
                if not abs(value) <= LARGEST_COUNT:
                    state |= BAD
                elif value >= saturation:
                    state |= SATURATED
                if bad_pixels.size and bad_pixels[frame_row, frame_column]:
                    state = (state | BAD) & ~SATURATED
                values[crop, row, column] = value
                states[crop, row, column] = state
                seen |= state
        flags[crop] = (
            (_EDGE_FLAG if seen & PADDED else 0)
            | (_SATURATED_FLAG if seen & SATURATED else 0)
            | (_BAD_FLAG if seen & BAD else 0)
        )
    return values, states, flags


@checked_kernel
def _good_mean(
    values: NDArray[np.float64], states: NDArray[np.uint8], row: int, column: int
) -> float:
    """Mean of the good pixels in the smallest square about the pixel that has any; 0 if none.

    Saturated pixels count as good here: beside them a low value would be a worse guess.
    """
    size = values.shape[0]
    for reach in range(1, size):
        total, found = 0.0, 0
        for near_row in range(max(row - reach, 0), min(row + reach + 1, size)):
            for near_column in range(max(column - reach, 0), min(column + reach + 1, size)):
                if not states[near_row, near_column] & BAD:
                    total += values[near_row, near_column]
                    found += 1
        if found:
            return total / found
    return 0.0


@checked_kernel
def _fill_bad(
    values: NDArray[np.float64], states: NDArray[np.uint8], flags: NDArray[np.uint32]
) -> None:
    """Replace the bad pixels of all crops by their good neighbours' mean, in place."""
    for crop in range(values.shape[0]):
        if not flags[crop] & _BAD_FLAG:
            continue
        has_good = False
        for state in states[crop].flat:
            has_good |= not state & BAD
        for row in range(values.shape[1]):
            for column in range(values.shape[2]):
                if states[crop, row, column] & BAD:
                    mean = _good_mean(values[crop], states[crop], row, column) if has_good else 0.0
                    values[crop, row, column] = mean

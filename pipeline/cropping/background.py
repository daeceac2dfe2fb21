"""Background plane and noise of one crop, from its border.

The estimator is an M-estimate of location and scale: a plane fitted with Tukey's biweight and a
scale that makes the weighted variance of the residuals consistent for Gaussian noise. Targets near
the border are met twice: their cores by the biweight, their faint flanks by leaving out every
pixel beside a bright one. Nothing depends on the absolute count level.

Everything here is compiled by numba and allocates only small scratch arrays; crops are independent.
Offsets count from the crop's centre pixel: x is the column, y the row.
"""

import math

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.compiled import checked_kernel, checked_sum_kernel
from dscsnet.pipeline.cropping.robust import (
    MAD_TO_SIGMA,
    biweight_variance,
    median,
    resolution,
    sort_in_place,
)

BORDER_WIDTH = 2  # px; 72 pixels of an 11x11 crop

# Biweight cut-off in sigma: 92 % efficient for Gaussian noise. Smaller cut-offs resist clutter
# better but understate the noise where the background is textured.
TUKEY_CUTOFF = 4.0
ITERATIONS = 10
FLANK_ITERATION = 4  # by then the scale is good enough to tell bright pixels
FLANK_THRESHOLD = 4.0  # sigma above the plane at which a pixel's neighbours are left out
FLANK_LEAST_KEPT = 0.5  # fraction of the border that must remain, else no neighbour is left out

# The plane replaces the constant smoothly as the Wald statistic of its two slopes grows (its mean
# is 2 where there is no slope; 4 is exceeded there in 14 %, 12 in 0.2 % of crops).
SLOPE_DOUBTFUL = 4.0
SLOPE_CERTAIN = 12.0

LEAST_BORDER_FRACTION = 1 / 6  # of the border; below it all usable pixels are used instead
LEAST_PIXELS = 4  # fewer give no noise
SIGMA_PER_STEP = 1 / math.sqrt(12.0)  # rounding error of a unit step
# Rounded values cluster on few levels: a scale below this many steps would reject whole levels.
LEAST_SCALE_STEPS = 0.6

FLOAT32_SPACING = float(np.finfo(np.float32).eps)
LEAST_FLOAT_STEP = 4 * float(np.finfo(np.float32).tiny)  # so that the noise is a normal float32


@checked_kernel
def _on_border(row: int, column: int, size: int) -> bool:
    nearest = min(row, column, size - 1 - row, size - 1 - column)
    return nearest < BORDER_WIDTH


@checked_kernel
def _gather(
    values: NDArray[np.float64],
    usable: NDArray[np.bool_],
    border_only: bool,
    counts: NDArray[np.float64],
    offsets: NDArray[np.float64],
) -> int:
    """Copy the usable pixels and their (x, y) offsets from the centre; returns how many."""
    size = values.shape[0]
    found = 0
    for row in range(size):
        for column in range(size):
            if usable[row, column] and (not border_only or _on_border(row, column, size)):
                counts[found] = values[row, column]
                offsets[0, found] = column - size // 2
                offsets[1, found] = row - size // 2
                found += 1
    return found


@checked_kernel
def _opposite_slope(values: NDArray[np.float64], usable: NDArray[np.bool_], along_x: bool) -> float:
    """Median slope between opposite border pixels: a start that half the pairs cannot spoil."""
    size = values.shape[0]
    slopes = np.empty(size * size)
    found = 0
    for line in range(size):
        for near in range(size // 2):
            far = size - 1 - near
            row, column = (line, near) if along_x else (near, line)
            row_far, column_far = (line, far) if along_x else (far, line)
            # Close pairs say little about the slope.
            if 2 * (far - near) < size or not _on_border(row, column, size):
                continue
            if usable[row, column] and usable[row_far, column_far]:
                difference = values[row_far, column_far] - values[row, column]
                slopes[found] = difference / (far - near)
                found += 1
    if found < size // 2:
        return 0.0
    return median(slopes[:found])


@checked_kernel
def _keep_unflanked(
    values: NDArray[np.float64],
    usable: NDArray[np.bool_],
    plane: tuple[float, float, float],
    bright: float,
    offsets: NDArray[np.float64],
    keep: NDArray[np.float64],
) -> None:
    """Set `keep` to 0 for pixels with a neighbour more than `bright` counts above the plane.

    A point target with a PSF sigma up to 0.9 px leaves less than about 0.3 sigma beyond them.
    """
    size = values.shape[0]
    half = size // 2
    flank = np.zeros((size, size), np.bool_)
    for row in range(size):
        for column in range(size):
            level = plane[0] + plane[1] * (column - half) + plane[2] * (row - half)
            if not usable[row, column] or values[row, column] - level <= bright:
                continue
            for near_row in range(max(row - 1, 0), min(row + 2, size)):
                for near_column in range(max(column - 1, 0), min(column + 2, size)):
                    if near_row != row or near_column != column:
                        flank[near_row, near_column] = True
    kept = 0
    for i in range(keep.size):
        keep[i] = 0.0 if flank[int(offsets[1, i]) + half, int(offsets[0, i]) + half] else 1.0
        kept += keep[i] > 0
    if kept < FLANK_LEAST_KEPT * keep.size:
        for i in range(keep.size):
            keep[i] = 1.0


@checked_kernel
def _reweight(
    counts: NDArray[np.float64],
    offsets: NDArray[np.float64],
    keep: NDArray[np.float64],
    plane: tuple[float, float, float],
    cutoff: float,
    weights: NDArray[np.float64],
) -> int:
    """Fill in the biweights about the plane (cut-off in counts); returns how many are positive."""
    level, slope_x, slope_y = plane
    positive = 0
    for i in range(counts.size):
        ratio = (counts[i] - level - slope_x * offsets[0, i] - slope_y * offsets[1, i]) / cutoff
        weight = max(1.0 - ratio * ratio, 0.0)
        weights[i] = weight * weight * keep[i]
        positive += weights[i] > 0
    return positive


@checked_sum_kernel
def _solve(
    counts: NDArray[np.float64],
    offsets: NDArray[np.float64],
    weights: NDArray[np.float64],
    sloped: bool,
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Weighted least squares in closed form.

    Returns:
        The weighted means of counts, x and y, through which the plane passes; and slope_x,
        slope_y and their squared length in the metric of their information matrix for unit noise.
    """
    total = sum_x = sum_y = sum_v = 0.0
    sum_xx = sum_yy = sum_xy = sum_xv = sum_yv = 0.0
    for i in range(counts.size):
        x, y, value, weight = offsets[0, i], offsets[1, i], counts[i], weights[i]
        total += weight
        sum_x += weight * x
        sum_y += weight * y
        sum_v += weight * value
        sum_xx += weight * x * x
        sum_yy += weight * y * y
        sum_xy += weight * x * y
        sum_xv += weight * x * value
        sum_yv += weight * y * value
    means = (sum_v / total, sum_x / total, sum_y / total)
    xx = sum_xx - sum_x * means[1]
    yy = sum_yy - sum_y * means[2]
    xy = sum_xy - sum_x * means[2]
    determinant = xx * yy - xy * xy
    # Pixels on (nearly) one line fix no plane.
    if not sloped or determinant <= 1e-3 * total * total:
        return means, (0.0, 0.0, 0.0)
    xv = sum_xv - sum_x * means[0]
    yv = sum_yv - sum_y * means[0]
    slope_x = (yy * xv - xy * yv) / determinant
    slope_y = (xx * yv - xy * xv) / determinant
    return means, (slope_x, slope_y, slope_x * xv + slope_y * yv)


@checked_sum_kernel
def _variance(
    counts: NDArray[np.float64],
    offsets: NDArray[np.float64],
    weights: NDArray[np.float64],
    plane: tuple[float, float, float],
) -> float:
    """Weighted mean square of the residuals."""
    squares = total = 0.0
    for i in range(counts.size):
        residual = counts[i] - plane[0] - plane[1] * offsets[0, i] - plane[2] * offsets[1, i]
        squares += weights[i] * residual * residual
        total += weights[i]
    return squares / total


@checked_kernel
def _start(
    counts: NDArray[np.float64],
    offsets: NDArray[np.float64],
    slope_x: float,
    slope_y: float,
) -> tuple[float, float]:
    """Median and scaled median absolute deviation after taking off the slopes."""
    flattened = np.empty(counts.size)
    for i in range(counts.size):
        flattened[i] = counts[i] - slope_x * offsets[0, i] - slope_y * offsets[1, i]
    level = median(flattened)
    for i in range(counts.size):
        flattened[i] = abs(flattened[i] - level)
    return level, MAD_TO_SIGMA * median(flattened)


@checked_kernel
def slope_share(wald: float) -> float:
    """Share of the fitted slopes to use: 0 where doubtful, 1 where certain, smooth between."""
    position = (wald - SLOPE_DOUBTFUL) / (SLOPE_CERTAIN - SLOPE_DOUBTFUL)
    position = min(max(position, 0.0), 1.0)
    return position * position * (3.0 - 2.0 * position)


@checked_kernel
def estimate_background(
    values: NDArray[np.float64], usable: NDArray[np.bool_], least_step: float
) -> tuple[float, float, float, float, bool]:
    """Estimate the background plane and the noise of one crop.

    Used are the usable pixels of the border, or, if fewer than a sixth of the border is usable,
    all usable pixels with a constant only (a target then spoils any plane).

    Args:
        values: (size, size) counts, finite; odd size.
        usable: (size, size); at least one pixel must be usable.
        least_step: the smallest step that the pixel values can resolve, counts; positive: 1 for
            integers, the spacing of floats at the crop's level for floats.

    Returns:
        level at the centre pixel (counts), slope_x, slope_y (counts per px), noise (counts, never
        below the step's rounding error), and whether there were pixels enough for it (if not, the
        level is their median and the noise its floor).
    """
    size = values.shape[0]
    scratch, places = np.empty(size * size), np.empty((2, size * size))
    border_size = size * size - max(size - 2 * BORDER_WIDTH, 0) ** 2
    found = _gather(values, usable, True, scratch, places)
    sloped = found >= max(LEAST_BORDER_FRACTION * border_size, LEAST_PIXELS + 2)
    if not sloped:
        found = _gather(values, usable, False, scratch, places)
    # Contiguous copies: strided loops would not be vectorised.
    counts, offsets = scratch[:found].copy(), places[:, :found].copy()
    ordered = counts.copy()
    sort_in_place(ordered)
    step = resolution(ordered, least_step)
    if found < LEAST_PIXELS:
        return median(ordered), 0.0, 0.0, step * SIGMA_PER_STEP, False
    # Relative to a middle value: sums of squares of large counts would lose digits.
    reference = ordered[found // 2]
    for i in range(found):
        counts[i] -= reference
    plane, noise = _fit(values, usable, reference, counts, offsets, step, sloped)
    return reference + plane[0], plane[1], plane[2], noise, True


@checked_kernel
def _fit(
    values: NDArray[np.float64],
    usable: NDArray[np.bool_],
    reference: float,
    counts: NDArray[np.float64],
    offsets: NDArray[np.float64],
    step: float,
    sloped: bool,
) -> tuple[tuple[float, float, float], float]:
    """Iterate plane and scale; returns the plane with its slopes shrunk, and the noise.

    `counts`, and the level of the plane, are relative to `reference`; `values` are not.
    """
    start_x = _opposite_slope(values, usable, True) if sloped else 0.0
    start_y = _opposite_slope(values, usable, False) if sloped else 0.0
    level, deviation = _start(counts, offsets, start_x, start_y)
    plane = (level, start_x, start_y)
    floor = step * SIGMA_PER_STEP
    noise = max(deviation, floor)
    means, slopes = (level, 0.0, 0.0), (start_x, start_y, 0.0)
    keep = np.ones(counts.size)
    weights = np.empty(counts.size)
    fitted = 3 if sloped else 1
    for iteration in range(ITERATIONS):
        scale = max(noise, LEAST_SCALE_STEPS * step)
        if iteration == FLANK_ITERATION and sloped:
            bright = FLANK_THRESHOLD * scale + reference
            _keep_unflanked(values, usable, plane, bright, offsets, keep)
        used = _reweight(counts, offsets, keep, plane, TUKEY_CUTOFF * scale, weights)
        if used < 2 * fitted:
            break
        means, slopes = _solve(counts, offsets, weights, sloped)
        level = means[0] - slopes[0] * means[1] - slopes[1] * means[2]
        plane = (level, slopes[0], slopes[1])
        variance = _variance(counts, offsets, weights, plane)
        variance /= biweight_variance(TUKEY_CUTOFF * scale / noise)
        noise = max(math.sqrt(variance * used / (used - fitted)), floor)
    share = slope_share(slopes[2] / (noise * noise))
    slope_x, slope_y = share * slopes[0], share * slopes[1]
    return (means[0] - slope_x * means[1] - slope_y * means[2], slope_x, slope_y), noise


@checked_kernel
def _float_step(values: NDArray[np.float64]) -> float:
    """Spacing of float32 at the largest of the values."""
    largest = 0.0
    for value in values.flat:
        largest = max(largest, abs(value))
    return max(largest * FLOAT32_SPACING, LEAST_FLOAT_STEP)


@checked_kernel
def subtract_backgrounds(
    values: NDArray[np.float64], usable: NDArray[np.bool_], whole_counts: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Take the background off each crop.

    Args:
        values: (n, size, size) counts, finite.
        usable: (n, size, size).
        whole_counts: whether counts are integers (else float32).

    Returns:
        (n, size, size) counts above the background; (n, 4) level, slope_x, slope_y and noise of
        each crop; (n,) whether there were pixels enough for its noise. A crop without a usable
        pixel has zero pixels and NaN for the rest.
    """
    count, size = values.shape[0], values.shape[1]
    pixels = np.zeros(values.shape, np.float32)
    background = np.full((count, 4), np.nan, np.float32)
    enough = np.zeros(count, np.bool_)
    for crop in range(count):
        if not usable[crop].any():
            continue
        step = 1.0 if whole_counts else _float_step(values[crop])
        level, slope_x, slope_y, noise, enough[crop] = estimate_background(
            values[crop], usable[crop], step
        )
        for row in range(size):
            for column in range(size):
                plane = level + slope_x * (column - size // 2) + slope_y * (row - size // 2)
                pixels[crop, row, column] = values[crop, row, column] - plane
        background[crop, 0], background[crop, 1] = level, slope_x
        background[crop, 2], background[crop, 3] = slope_y, noise
    return pixels, background, enough

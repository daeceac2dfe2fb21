"""Least squares for one crop: targets, a plane and the PSF's width, by damped Gauss-Newton steps.

Everything is in units of the crop's noise. The unknowns are the plane (level, slope along x and y,
each per half crop), ln of the PSF's width factor, and x, y, ln intensity of each target. Each has a
Gaussian prior; one of great precision holds it.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engines.fitting.compiled import inner, inner_sum
from engines.fitting.linear import factorise, invert_factor, solve
from engines.fitting.profiles import fill_profile

Float = NDArray[np.float64]

#: Places of the unknowns: the shared ones, then three a target.
LEVEL, SLOPE_X, SLOPE_Y, WIDTH, SHARED = 0, 1, 2, 3, 4
#: Greatest step of a position (px), of ln intensity and of ln width.
POSITION_STEP, INTENSITY_STEP, WIDTH_STEP = 0.35, 0.8, 0.1
#: Bounds of ln intensity (in units of noise) and of ln width.
LEAST_INTENSITY, GREATEST_INTENSITY, WIDTH_BOUND = -4.0, 25.0, 0.4
#: Precision that holds an unknown at the mean of its prior.
HELD = 1e18
#: Rows of the Jacobian are padded with zeros to a multiple of this: whole vector registers.
LANES = 16
FIRST_DAMPING, LEAST_DAMPING, GREATEST_DAMPING = 1e-3, 1e-9, 1e6


class Workspace(NamedTuple):
    """Scratch memory for one crop size and number of targets; made once a call."""

    psf: Float  # (2,) sigma along x and y, px
    window: NDArray[np.int64]  # (5,) pixels, first and last column, first and last row
    column: NDArray[np.int64]  # (pixels,) of the window
    row: NDArray[np.int64]
    observed: Float  # (pixels,)
    profile_x: Float  # (most, 3, size)
    profile_y: Float
    jacobian: Float  # (unknowns, pixels)
    residual: Float  # (pixels,)
    normal: Float  # (unknowns, unknowns), lower triangle
    factor: Float
    gradient: Float  # (unknowns,)
    step: Float
    values: Float
    trial: Float
    mean: Float  # of the prior
    precision: Float


@inner
def make_workspace(size: int, most: int) -> Workspace:
    """Scratch memory for size x size crops with up to `most` targets."""
    unknowns = SHARED + 3 * most
    pixels = (size * size + LANES - 1) // LANES * LANES
    return Workspace(
        np.zeros(2),
        np.zeros(5, np.int64),
        np.zeros(pixels, np.int64),
        np.zeros(pixels, np.int64),
        np.zeros(pixels),
        np.zeros((most, 3, size)),
        np.zeros((most, 3, size)),
        np.zeros((unknowns, pixels)),
        np.zeros(pixels),
        np.zeros((unknowns, unknowns)),
        np.zeros((unknowns, unknowns)),
        np.zeros(unknowns),
        np.zeros(unknowns),
        np.zeros(unknowns),
        np.zeros(unknowns),
        np.zeros(unknowns),
        np.zeros(unknowns),
    )


@inner
def open_window(
    space: Workspace,
    pixels: NDArray[np.float32],
    usable: NDArray[np.bool_],
    noise: float,
    targets: int,
    reach_x: float,
    reach_y: float,
) -> int:
    """Take the usable pixels within reach of any of the targets; returns their number.

    The targets are those of `space.mean`; with none of them every usable pixel counts.
    """
    size = pixels.shape[0]
    half = 0.5 * (size - 1)
    count, first_column, last_column = 0, size, -1
    for i in range(size):
        for j in range(size):
            if not (usable[i, j] and math.isfinite(pixels[i, j])):
                continue
            near = targets == 0
            for k in range(targets):
                right = (j - space.mean[SHARED + 3 * k]) / reach_x
                down = (i - space.mean[SHARED + 3 * k + 1]) / reach_y
                if right * right + down * down <= 1.0:
                    near = True
                    break
            if near:
                space.column[count], space.row[count] = j, i
                space.observed[count] = pixels[i, j] / noise
                space.jacobian[LEVEL, count] = 1.0
                space.jacobian[SLOPE_X, count] = (j - half) / half
                space.jacobian[SLOPE_Y, count] = (i - half) / half
                first_column, last_column = min(first_column, j), max(last_column, j)
                count += 1
    for p in range(count, _padded(count)):
        for a in range(space.jacobian.shape[0]):
            space.jacobian[a, p] = 0.0
        space.residual[p] = 0.0
    space.window[0] = count
    if count:
        space.window[1], space.window[2] = first_column, last_column
        space.window[3], space.window[4] = space.row[0], space.row[count - 1]
    return count


@inner
def _padded(pixels: int) -> int:
    return (pixels + LANES - 1) // LANES * LANES


@inner
def evaluate(space: Workspace, values: Float, targets: int) -> float:
    """Sum of squared residuals; fills profiles, residual and each target's row of ln intensity."""
    pixels, first_x, last_x, first_y, last_y = space.window
    column, row, residual, plane = space.column, space.row, space.residual, space.jacobian
    for p in range(pixels):
        residual[p] = (
            values[LEVEL]
            + values[SLOPE_X] * plane[SLOPE_X, p]
            + values[SLOPE_Y] * plane[SLOPE_Y, p]
            - space.observed[p]
        )
    factor = math.exp(values[WIDTH])
    for k in range(targets):
        place = SHARED + 3 * k
        profile_x, profile_y = space.profile_x[k], space.profile_y[k]
        fill_profile(values[place], factor * space.psf[0], first_x, last_x, profile_x)
        fill_profile(values[place + 1], factor * space.psf[1], first_y, last_y, profile_y)
        intensity, light = math.exp(values[place + 2]), space.jacobian[place + 2]
        for p in range(pixels):
            light[p] = intensity * profile_x[0, column[p]] * profile_y[0, row[p]]
            residual[p] += light[p]
    total = 0.0
    for p in range(pixels):
        total += residual[p] * residual[p]
    return total


@inner
def _fill_jacobian(space: Workspace, values: Float, targets: int) -> None:
    """The rows of positions and width, at the values that were evaluated last."""
    pixels = space.window[0]
    column, row = space.column, space.row
    width = space.jacobian[WIDTH]
    for p in range(pixels):
        width[p] = 0.0
    for k in range(targets):
        place = SHARED + 3 * k
        profile_x, profile_y = space.profile_x[k], space.profile_y[k]
        along_x, along_y = space.jacobian[place], space.jacobian[place + 1]
        intensity = math.exp(values[place + 2])
        for p in range(pixels):
            j, i = column[p], row[p]
            share_x, share_y = intensity * profile_x[0, j], intensity * profile_y[0, i]
            along_x[p] = profile_x[1, j] * share_y
            along_y[p] = share_x * profile_y[1, i]
            width[p] += profile_x[2, j] * share_y + share_x * profile_y[2, i]


@inner_sum
def _dot(first: Float, second: Float, pixels: int) -> float:
    total = 0.0
    for p in range(pixels):
        total += first[p] * second[p]
    return total


@inner
def linearise(space: Workspace, values: Float, targets: int) -> None:
    """Normal matrix and gradient of the data alone, at the values that were evaluated last."""
    _fill_jacobian(space, values, targets)
    pixels = _padded(space.window[0])
    for a in range(SHARED + 3 * targets):
        line = space.jacobian[a]
        space.gradient[a] = _dot(line, space.residual, pixels)
        for b in range(a + 1):
            space.normal[a, b] = _dot(line, space.jacobian[b], pixels)


@inner
def penalty(space: Workspace, values: Float, targets: int) -> float:
    """Squared distance from the priors' means, in their sigmas."""
    total = 0.0
    for a in range(SHARED + 3 * targets):
        offset = values[a] - space.mean[a]
        total += space.precision[a] * offset * offset
    return total


@inner
def _damped_step(space: Workspace, values: Float, targets: int, damping: float) -> float:
    """Fill `space.step`; returns by how much it should lower the objective."""
    unknowns = SHARED + 3 * targets
    for a in range(unknowns):
        for b in range(a):
            space.factor[a, b] = space.normal[a, b]
        diagonal = space.normal[a, a] + space.precision[a]
        space.factor[a, a] = diagonal * (1.0 + damping) + 1e-12
        offset = space.precision[a] * (values[a] - space.mean[a])
        space.step[a] = -space.gradient[a] - offset
        space.trial[a] = space.step[a]  # kept for the gain
    factorise(space.factor, unknowns)
    solve(space.factor, space.step, unknowns)
    gain = 0.0
    for a in range(unknowns):
        gain += space.trial[a] * space.step[a]
    return gain


@inner
def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@inner
def _take_step(space: Workspace, values: Float, targets: int) -> None:
    """`space.trial`: the values after the step, held to its limits and to their bounds."""
    trial, step = space.trial, space.step
    for a in range(WIDTH):
        trial[a] = values[a] + step[a]
    moved = values[WIDTH] + _clip(step[WIDTH], -WIDTH_STEP, WIDTH_STEP)
    trial[WIDTH] = _clip(moved, -WIDTH_BOUND, WIDTH_BOUND)
    edge = space.profile_x.shape[2] - 0.5
    for k in range(targets):
        place = SHARED + 3 * k
        furthest = max(abs(step[place]), abs(step[place + 1]))
        scale = min(1.0, POSITION_STEP / furthest) if furthest > 0 else 1.0
        for a in range(place, place + 2):
            trial[a] = _clip(values[a] + scale * step[a], -0.5, edge)
        brighter = _clip(step[place + 2], -INTENSITY_STEP, INTENSITY_STEP)
        trial[place + 2] = _clip(values[place + 2] + brighter, LEAST_INTENSITY, GREATEST_INTENSITY)


@inner
def descend(space: Workspace, values: Float, targets: int, steps: int, tolerance: float) -> float:
    """Lead `values` to the least of misfit plus penalty, in place; returns the misfit.

    Ends early when a step promises, or brought, less than `tolerance`.
    """
    misfit = evaluate(space, values, targets)
    objective = misfit + penalty(space, values, targets)
    stale, damping = True, FIRST_DAMPING
    for _ in range(steps):
        if stale:
            linearise(space, values, targets)
            stale = False
        if not _damped_step(space, values, targets, damping) > tolerance:
            break
        _take_step(space, values, targets)
        reached = evaluate(space, space.trial, targets)
        total = reached + penalty(space, space.trial, targets)
        if total <= objective:
            gain, misfit, objective, stale = objective - total, reached, total, True
            for a in range(SHARED + 3 * targets):
                values[a] = space.trial[a]
            damping = max(0.1 * damping, LEAST_DAMPING)
            if gain < tolerance:
                break
        else:
            damping *= 8.0
            if damping > GREATEST_DAMPING:
                break
    return misfit


@inner
def invert_normal(space: Workspace, values: Float, targets: int) -> None:
    """`space.factor`: inverse factor of the posterior's precision at the values."""
    evaluate(space, values, targets)
    linearise(space, values, targets)
    _damped_step(space, values, targets, 0.0)
    invert_factor(space.factor, SHARED + 3 * targets)

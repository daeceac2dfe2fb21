"""The unknowns of a fit, and the memory in which it is worked out.

Everything is in units of the crop's noise. The unknowns are the plane (level, slope along x and y,
each per half crop), ln of the PSF's width factor, and x, y, ln intensity of each target. Each has a
Gaussian prior; one of great precision holds it.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import inner, inner_making
from dscsnet.engines.fitting.spline import PsfTable

#: Places of the unknowns: the shared ones, then three a target.
LEVEL, SLOPE_X, SLOPE_Y, WIDTH, SHARED = 0, 1, 2, 3, 4
#: Precision that holds an unknown at the mean of its prior.
HELD = 1e18
#: Rows of the Jacobian are padded with zeros to a multiple of this: whole vector registers.
LANES = 16
#: Noise below this share of the brightest pixel is not believed.
LEAST_NOISE = 1e-5
#: The faintest weight of a pixel with which weights are as good as one.
UNEVEN = 0.98
#: Light beyond this many times the noise weighs like it, so that every weight stays above 0.
BRIGHTEST = 1e12
#: Where the noise is not known: this share of the brightest pixel.
UNKNOWN_NOISE = 1e-2


class Workspace(NamedTuple):
    """Scratch memory for one crop size and number of targets; made once a call."""

    size: int  # of the crop, px
    table: PsfTable  # of the PSF; an empty one stands for a Gaussian
    psf: Float  # (2,) sigma along x and y, px
    window: NDArray[np.int64]  # (5,) pixels, first and last column, first and last row
    column: NDArray[np.int64]  # (pixels,) of the window
    row: NDArray[np.int64]
    counts: Float  # (pixels,) of the window
    by_light: Float  # (2,) variance of a pixel a unit of light on it, and a unit squared
    weight: Float  # (pixels,) one over the sigma of each pixel
    observed: Float  # (pixels,) counts in that sigma; so are Jacobian and residual
    profile_x: Float  # (most, 3, size or more)
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


@inner_making
def make_workspace(size: int, most: int, table: PsfTable) -> Workspace:
    """Scratch memory for size x size crops with up to `most` targets."""
    unknowns = SHARED + 3 * most
    pixels = (size * size + LANES - 1) // LANES * LANES
    profile = max(size, 4)  # the table needs four weights
    return Workspace(
        size,
        table,
        np.zeros(2),
        np.zeros(5, np.int64),
        np.zeros(pixels, np.int64),
        np.zeros(pixels, np.int64),
        np.zeros(pixels),
        np.zeros(2),
        np.zeros(pixels),
        np.zeros(pixels),
        np.zeros((most, 3, profile)),
        np.zeros((most, 3, profile)),
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
                space.counts[count] = pixels[i, j] / noise
                first_column, last_column = min(first_column, j), max(last_column, j)
                count += 1
    for p in range(count, padded(count)):
        for a in range(space.jacobian.shape[0]):
            space.jacobian[a, p] = 0.0
        space.residual[p] = 0.0
    space.window[0] = count
    if count:
        space.window[1], space.window[2] = first_column, last_column
        space.window[3], space.window[4] = space.row[0], space.row[count - 1]
    weigh(space, space.counts)
    return count


@inner
def set_light_noise(space: Workspace, gain: float, psf_error: float, noise: float) -> None:
    """What light adds to a pixel's variance, in units of the crop's noise; see `NoiseModel`."""
    space.by_light[0], space.by_light[1] = 1.0 / (gain * noise), psf_error * psf_error


@inner
def weigh(space: Workspace, light: Float) -> None:
    """Weigh the window's pixels by the noise that they have with so much light on each.

    Args:
        light: (pixels,) of targets, in units of the crop's noise; below 0 it counts as 0.
    """
    half = 0.5 * (space.size - 1)
    for p in range(space.window[0]):
        bright = min(light[p], BRIGHTEST) if light[p] > 0.0 else 0.0  # NaN is none
        variance = 1.0 + bright * (space.by_light[0] + bright * space.by_light[1])
        weight = 1.0 / math.sqrt(variance)
        space.weight[p] = weight
        space.observed[p] = weight * space.counts[p]
        space.jacobian[LEVEL, p] = weight
        space.jacobian[SLOPE_X, p] = weight * (space.column[p] - half) / max(half, 1.0)
        space.jacobian[SLOPE_Y, p] = weight * (space.row[p] - half) / max(half, 1.0)


@inner
def is_uneven(space: Workspace) -> bool:
    """Whether light makes the noise of any pixel so much larger that its weight matters."""
    least = 1.0
    for p in range(space.window[0]):
        least = min(least, space.weight[p])
    return least < UNEVEN


@inner
def padded(pixels: int) -> int:
    """Length of a row of the Jacobian, with its zeros."""
    return (pixels + LANES - 1) // LANES * LANES


@inner
def believable_noise(pixels: NDArray[np.float32], usable: NDArray[np.bool_], noise: float) -> float:
    """The noise, or a stand-in where it is unknown or absurdly small; above 0."""
    greatest = 0.0
    for i in range(pixels.shape[0]):
        for j in range(pixels.shape[1]):
            if usable[i, j] and math.isfinite(pixels[i, j]):
                greatest = max(greatest, abs(pixels[i, j]))
    if greatest == 0.0:
        greatest = 1.0
    return max(noise, LEAST_NOISE * greatest) if math.isfinite(noise) else UNKNOWN_NOISE * greatest

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
from dscsnet.engines.compiled import inner
from dscsnet.engines.fitting.spline import PsfTable

#: Places of the unknowns: the shared ones, then three a target.
LEVEL, SLOPE_X, SLOPE_Y, WIDTH, SHARED = 0, 1, 2, 3, 4
#: Precision that holds an unknown at the mean of its prior.
HELD = 1e18
#: Rows of the Jacobian are padded with zeros to a multiple of this: whole vector registers.
LANES = 16
#: Noise below this share of the brightest pixel is not believed.
LEAST_NOISE = 1e-5
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
    observed: Float  # (pixels,)
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


@inner
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
                space.jacobian[SLOPE_X, count] = (j - half) / max(half, 1.0)
                space.jacobian[SLOPE_Y, count] = (i - half) / max(half, 1.0)
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
    return count


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

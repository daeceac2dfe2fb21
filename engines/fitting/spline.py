"""Light of a point target from a table of its pixel-integrated PSF, by cubic B-splines; compiled.

A table holds the spline coefficients of the share of a unit target's light that falls on a pixel,
as a function of the pixel's offset from the target: entry (i, j) lies at the offset
(j / density - reach, i / density - reach) px. There is no light within four entries of its edge,
nor beyond.
"""

from typing import NamedTuple

import numpy as np

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import inner, inner_sum


class PsfTable(NamedTuple):
    """A pixel-integrated PSF.

    Attributes:
        coefficients: (t, t) of the spline; (0, 0) stands for a Gaussian along the axes, which
            needs no table.
        density: entries per px.
        reach: offset of the first and last entry, px.
    """

    coefficients: Float
    density: int
    reach: float


@inner
def spline_weights(offset: float, table: PsfTable, out: Float) -> int:
    """Weights of the four entries around an offset (px) along one axis, and their derivatives.

    Args:
        out: (2 or more, 4 or more) receives the weights and their derivatives by the offset.

    Returns:
        The first of the four entries; may lie outside the table.
    """
    place = (offset + table.reach) * table.density
    entry = int(np.floor(place))
    t = place - entry
    s = 1.0 - t
    out[0, 0] = s * s * s / 6.0
    out[0, 1] = (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0
    out[0, 2] = (4.0 - 6.0 * s * s + 3.0 * s * s * s) / 6.0
    out[0, 3] = t * t * t / 6.0
    out[1, 0] = -0.5 * s * s * table.density
    out[1, 1] = (1.5 * t * t - 2.0 * t) * table.density
    out[1, 2] = (2.0 * s - 1.5 * s * s) * table.density
    out[1, 3] = 0.5 * t * t * table.density
    return entry - 1


@inner_sum
def spline_value(
    table: PsfTable, row: int, column: int, weights_y: Float, weights_x: Float
) -> float:
    """Weighted sum of the 4 x 4 entries from (row, column) on; none outside the table."""
    last = table.coefficients.shape[0] - 4
    if not (0 <= row <= last and 0 <= column <= last):
        return 0.0
    total = 0.0
    for i in range(4):
        share = 0.0
        for j in range(4):
            share += weights_x[j] * table.coefficients[row + i, column + j]
        total += weights_y[i] * share
    return total

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

#: Widths of a table, and the ln of each over the one before: they reach as far as a fit may go.
WIDTHS, WIDTH_STEP = 9, 0.1


class PsfTable(NamedTuple):
    """A pixel-integrated PSF.

    Attributes:
        coefficients: (t, t, w) of the spline, for the told width and, unless w is 1, for others:
            the ln of the width changes by `WIDTH_STEP` from one to the next, the told one is the
            middle. (0, 0, 0) stands for a Gaussian along the axes, which needs no table.
        density: entries per px.
        reach: offset of the first and last entry, px.
    """

    coefficients: Float
    density: int
    reach: float


@inner
def width_weights(log_width: float, table: PsfTable, value: Float, slope: Float) -> int:
    """Weights of the four widths around one, and their derivatives by its ln: cubics through them.

    Args:
        value, slope: (4 or more,) receive them.

    Returns:
        The first of the four widths.
    """
    value[:4], slope[:4] = 0.0, 0.0
    if table.coefficients.shape[2] == 1:
        value[0] = 1.0
        return 0
    place = log_width / WIDTH_STEP + WIDTHS // 2
    first = min(max(int(np.floor(place)) - 1, 0), WIDTHS - 4)
    t = place - first
    for a in range(4):
        product, total = 1.0, 0.0
        for b in range(4):
            if b != a:
                partial = 1.0 / (a - b)
                for c in range(4):
                    if c not in (a, b):
                        partial *= (t - c) / (a - c)
                total += partial
                product *= (t - b) / (a - b)
        value[a], slope[a] = product, total / WIDTH_STEP
    return first


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
    table: PsfTable, row: int, column: int, weights_y: Float, weights_x: Float,
    width: int, weights_width: Float,
) -> float:  # fmt: skip
    """Weighted sum of the 4 x 4 entries from (row, column) on, of 4 widths; none outside."""
    last = table.coefficients.shape[0] - 4
    if not (0 <= row <= last and 0 <= column <= last):
        return 0.0
    total = 0.0
    for i in range(4):
        for j in range(4):
            entry, share = table.coefficients[row + i, column + j], 0.0
            if entry.size > 1:
                for k in range(4):
                    share += weights_width[k] * entry[width + k]
            else:
                share = weights_width[0] * entry[0]
            total += weights_y[i] * weights_x[j] * share
    return total

"""A target's light on the pixels of the window, and its derivatives; compiled."""

import math

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import inner
from dscsnet.engines.fitting.profiles import fill_profile
from dscsnet.engines.fitting.spline import (
    spline_value,
    spline_weights,
    width_weights,
)
from dscsnet.engines.fitting.workspace import SHARED, WIDTH, Workspace


@inner
def fill_light(space: Workspace, values: Float, k: int) -> None:
    """One target's light on each pixel: its row of ln intensity."""
    if space.table.coefficients.size:
        _light_from_table(space, values, k)
    else:
        _light_of_gaussian(space, values, k)


@inner
def fill_slopes(space: Workspace, values: Float, k: int) -> None:
    """Derivatives of one target's light by its position; adds that by the width to its row.

    The values must be those that `fill_light` was called with last.
    """
    if space.table.coefficients.size:
        _slopes_from_table(space, values, k)
    else:
        _slopes_of_gaussian(space, values, k)


@inner
def _light_of_gaussian(space: Workspace, values: Float, k: int) -> None:
    """The product of two profiles, which are kept for the slopes."""
    pixels, first_x, last_x, first_y, last_y = space.window
    place, column, row = SHARED + 3 * k, space.column, space.row
    profile_x, profile_y = space.profile_x[k], space.profile_y[k]
    factor = math.exp(values[WIDTH])
    fill_profile(values[place], factor * space.psf[0], first_x, last_x, profile_x)
    fill_profile(values[place + 1], factor * space.psf[1], first_y, last_y, profile_y)
    intensity, light = math.exp(values[place + 2]), space.jacobian[place + 2]
    for p in range(pixels):
        counts = intensity * profile_x[0, column[p]] * profile_y[0, row[p]]
        light[p] = space.weight[p] * counts


@inner
def _light_from_table(space: Workspace, values: Float, k: int) -> None:
    """All pixels share the target's spline weights, which are kept for the slopes."""
    table, place = space.table, SHARED + 3 * k
    weights_x, weights_y = space.profile_x[k], space.profile_y[k]
    entry_x = spline_weights(-values[place], table, weights_x)
    entry_y = spline_weights(-values[place + 1], table, weights_y)
    width = width_weights(values[WIDTH], table, weights_x[2], weights_y[2])
    intensity, light = math.exp(values[place + 2]), space.jacobian[place + 2]
    for p in range(space.window[0]):
        i, j = entry_y + space.row[p] * table.density, entry_x + space.column[p] * table.density
        share = spline_value(table, i, j, weights_y[0], weights_x[0], width, weights_x[2])
        counts = intensity * share
        light[p] = space.weight[p] * counts


@inner
def _slopes_of_gaussian(space: Workspace, values: Float, k: int) -> None:
    """From the profiles."""
    place, column, row = SHARED + 3 * k, space.column, space.row
    profile_x, profile_y = space.profile_x[k], space.profile_y[k]
    along_x, along_y = space.jacobian[place], space.jacobian[place + 1]
    intensity, width = math.exp(values[place + 2]), space.jacobian[WIDTH]
    for p in range(space.window[0]):
        j, i = column[p], row[p]
        weighed = space.weight[p] * intensity
        share_x, share_y = weighed * profile_x[0, j], weighed * profile_y[0, i]
        along_x[p] = profile_x[1, j] * share_y
        along_y[p] = share_x * profile_y[1, i]
        width[p] += profile_x[2, j] * share_y + share_x * profile_y[2, i]


@inner
def _slopes_from_table(space: Workspace, values: Float, k: int) -> None:
    """From the table."""
    table, place = space.table, SHARED + 3 * k
    weights_x, weights_y = space.profile_x[k], space.profile_y[k]
    entry_x = spline_weights(-values[place], table, weights_x)
    entry_y = spline_weights(-values[place + 1], table, weights_y)
    of_width, slope = weights_x[2], weights_y[2]
    w = width_weights(values[WIDTH], table, of_width, slope)
    along_x, along_y = space.jacobian[place], space.jacobian[place + 1]
    intensity, width = math.exp(values[place + 2]), space.jacobian[WIDTH]
    for p in range(space.window[0]):
        i, j = entry_y + space.row[p] * table.density, entry_x + space.column[p] * table.density
        weighed = space.weight[p] * intensity
        along_x[p] = -weighed * spline_value(table, i, j, weights_y[0], weights_x[1], w, of_width)
        along_y[p] = -weighed * spline_value(table, i, j, weights_y[1], weights_x[0], w, of_width)
        if table.coefficients.shape[2] > 1:
            width[p] += weighed * spline_value(table, i, j, weights_y[0], weights_x[0], w, slope)

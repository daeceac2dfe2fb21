"""Pixel-integrated Gaussian profiles and their derivatives, compiled.

The normal distribution is read from a table of Taylor series, three times as fast as `math.erf` and
`math.exp` and right to 1e-10.
"""

import math

import numpy as np
from numpy.polynomial.hermite_e import hermeval

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import inner

#: The table's reach and its entries, per sigma; beyond the reach the tail is below 1e-15.
REACH, DENSITY, ORDER = 8.0, 8, 7


def _normal_table() -> Float:
    """(nodes, order + 1) Taylor coefficients of the cumulative normal distribution."""
    nodes = np.arange(-REACH * DENSITY, REACH * DENSITY + 1) / DENSITY
    density = np.exp(-0.5 * nodes**2) / math.sqrt(2 * math.pi)
    table = np.empty((len(nodes), ORDER + 1))
    table[:, 0] = [0.5 * math.erfc(-node / math.sqrt(2)) for node in nodes]
    for power in range(1, ORDER + 1):
        polynomial = hermeval(nodes, np.eye(ORDER)[power - 1])
        table[:, power] = (-1) ** (power - 1) * polynomial * density / math.factorial(power)
    return table


_TABLE = _normal_table()


@inner
def normal(value: float) -> tuple[float, float]:
    """Cumulative standard normal distribution and its density."""
    if value <= -REACH:
        return 0.0, 0.0
    if value >= REACH:
        return 1.0, 0.0
    node = int((value + REACH) * DENSITY + 0.5)
    offset = value + REACH - node / DENSITY
    area, density = _TABLE[node, ORDER], 0.0
    for power in range(ORDER - 1, -1, -1):
        density = density * offset + area
        area = area * offset + _TABLE[node, power]
    return area, density


@inner
def fill_profile(position: float, sigma: float, first: int, last: int, out: Float) -> None:
    """Share of a unit target's light on pixels first..last along one axis, and its derivatives.

    Args:
        position, sigma: px.
        out: (3, size) receives the share, its derivative by the position and by ln sigma.
    """
    inverse = 1.0 / sigma
    edge = (first - 0.5 - position) * inverse
    area, density = normal(edge)
    for pixel in range(first, last + 1):
        next_edge = (pixel + 0.5 - position) * inverse
        next_area, next_density = normal(next_edge)
        out[0, pixel] = next_area - area
        out[1, pixel] = (density - next_density) * inverse
        out[2, pixel] = edge * density - next_edge * next_density
        edge, area, density = next_edge, next_area, next_density

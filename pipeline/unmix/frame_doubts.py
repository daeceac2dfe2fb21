"""What only a whole frame shows: spots that are all drawn out along one axis are trails."""

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float, Mask

#: Clusters at random have no axis in common: n spots whose axes agree to a share r do so by chance
#: with probability exp(-n r²), Rayleigh's test, which is 3e-4 here.
LEAST_RAYLEIGH, LEAST_AGREEMENT = 8.0, 0.75
FEWEST_TRAILS = 8  # fewer never agree so well
#: And of the spots with targets, so many have several.
LEAST_SHARE = 0.25


def trailed(spot: NDArray[np.integer], x: Float, y: Float, light: Float, spots: int) -> Mask:
    """Spots that are taken for several targets, all along one axis of the frame.

    Args:
        spot: (m,) of each target.
        x, y, light: (m,) px and counts.
        spots: their number.

    Returns:
        (spots,) bool.
    """
    none: Mask = np.zeros(spots, bool)
    number = np.bincount(spot, minlength=spots)
    several: Mask = np.asarray(number > 1, bool)
    if several.sum() < max(FEWEST_TRAILS, LEAST_SHARE * (number > 0).sum()):
        return none

    def total(values: Float) -> Float:
        return np.bincount(spot, light * values, spots)[several].astype(np.float64)

    whole = total(np.ones(len(spot)))
    middle_x, middle_y = total(x) / whole, total(y) / whole
    xx, yy = total(x * x) / whole - middle_x**2, total(y * y) / whole - middle_y**2
    xy = total(x * y) / whole - middle_x * middle_y
    # Of each spot twice its axis' angle, as long as it is no circle.
    turn = ((xx - yy) + 2j * xy) / np.maximum(xx + yy, np.finfo(float).tiny)
    agreement = abs(turn.mean())
    if agreement < LEAST_AGREEMENT or len(turn) * agreement**2 < LEAST_RAYLEIGH:
        return none
    return several

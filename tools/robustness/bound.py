"""The Cramér-Rao bound of the scenes' positions: no unbiased estimate is better."""

import math

import numpy as np

from dscsnet.engines.array_types import Float
from dscsnet.tools.robustness.render import REACH, Light, stamps
from dscsnet.tools.robustness.scenes import Scene

#: Step of the differences that stand for derivatives, px.
STEP = 1e-3


def position_bound(scene: Scene, light: Light) -> float:
    """Root mean square over the spots' targets and both axes of the least standard deviation, px.

    Unknown are the targets' positions and counts and the background's level. NaN where a target's
    light cannot be told from the others'.
    """
    padded = np.pad(scene.sigma, REACH + 2, constant_values=np.inf)
    bounds = [
        _bound(light, scene.x[i], scene.y[i], scene.flux[i], padded) for i in range(len(scene.x))
    ]
    return math.sqrt(float(np.mean(bounds)))


def _bound(light: Light, x: Float, y: Float, flux: Float, sigma: Float) -> float:
    """Mean variance of the positions of one spot."""
    number, middle_x, middle_y = len(x), np.full(len(x), x.mean()), np.full(len(x), y.mean())
    shift_x, shift_y = x - middle_x, y - middle_y

    def share(dx: float, dy: float) -> Float:
        # All targets on the pixels of one window, about the middle of the spot.
        results = []
        for k in range(number):

            def of(column: Float, row: Float, k: int = k) -> Float:
                return light(column - shift_x[k] - dx, row - shift_y[k] - dy)

            results.append(stamps(of, middle_x[:1], middle_y[:1])[2][0])
        return np.array(results)

    rows = [flux[:, None, None] * (share(STEP, 0) - share(-STEP, 0)) / (2 * STEP)]
    rows += [flux[:, None, None] * (share(0, STEP) - share(0, -STEP)) / (2 * STEP)]
    rows += [share(0, 0), np.ones((1, 2 * REACH + 1, 2 * REACH + 1))]
    left, top = round(float(middle_x[0])) + 2, round(float(middle_y[0])) + 2
    noise = sigma[top : top + 2 * REACH + 1, left : left + 2 * REACH + 1]
    jacobian = (np.concatenate(rows) / noise).reshape(3 * number + 1, -1)
    size = np.sqrt((jacobian**2).sum(1))
    information = jacobian @ jacobian.T / np.outer(size, size)
    if np.linalg.cond(information) > 1e12:
        return math.nan
    covariance = np.linalg.inv(information) / np.outer(size, size)
    return float(np.diag(covariance)[: 2 * number].mean())

"""The elliptical, rotated Gaussian PSF, integrated over pixels, with its derivatives; compiled.

The shape has two descriptions. Fits use three numbers that can take any value: log of `narrow` (the
deviation along x of the light of one y), log of `sigma_y`, and `lean` (how far that light's centre
moves along x per px of y). Spots are combined in the elements `xx`, `yy`, `xy` of the covariance
matrix, px²: a cluster's is that of the PSF plus that of its members, so it is never smaller.

The integral over a pixel is exact along x and by Gauss-Legendre quadrature along y.
"""

import math
from typing import NamedTuple

import numpy as np

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import kernel
from dscsnet.engines.imaging import erf

#: Values in `fill_spot`: the fraction of light, and its derivatives by the five others.
FRACTION, BY_X, BY_Y, BY_LOG_NARROW, BY_LOG_SIGMA_Y, BY_LEAN = range(6)

# Eight nodes a pixel are exact to 1e-9 of the light for deviations from 0.3 px, 1e-7 from 0.25 px.
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(8)
NODES, NODE_WEIGHTS = 0.5 * NODES, 0.5 * NODE_WEIGHTS

ROOT_2, ROOT_2_PI = math.sqrt(2), math.sqrt(2 * math.pi)


class Ellipse(NamedTuple):
    """Axes of a PSF.

    Attributes:
        long, short: standard deviations along the axes, px.
        angle: of the long axis, degrees in (-90, 90], from x towards y (clockwise as displayed).
    """

    long: float
    short: float
    angle: float


@kernel
def fill_spot(
    x: float, y: float, log_narrow: float, log_sigma_y: float, lean: float, out: Float
) -> None:
    """Fill `out`, (6, size, size), with the pixels of a spot of unit light and its derivatives.

    Args:
        x, y: position; the first pixel's centre is (0, 0), px.
        log_narrow, log_sigma_y, lean: the shape.
    """
    size = out.shape[1]
    narrow, sigma_y = math.exp(log_narrow), math.exp(log_sigma_y)
    share, slope, stretch = np.empty(size), np.empty(size), np.empty(size)
    out[:] = 0
    for row in range(size):
        for node in range(NODES.size):
            dy = row + NODES[node] - y
            scaled = dy / sigma_y
            light = NODE_WEIGHTS[node] * math.exp(-0.5 * scaled * scaled) / (ROOT_2_PI * sigma_y)
            if light < 1e-18:
                continue
            _fill_row(x + lean * dy, narrow, share, slope, stretch)
            for column in range(size):
                part, moved = light * share[column], light * slope[column]
                out[FRACTION, row, column] += part
                out[BY_X, row, column] += moved
                out[BY_Y, row, column] += part * scaled / sigma_y - lean * moved
                out[BY_LOG_NARROW, row, column] += light * stretch[column]
                out[BY_LOG_SIGMA_Y, row, column] += part * (scaled * scaled - 1)
                out[BY_LEAN, row, column] += moved * dy


@kernel
def _fill_row(center: float, narrow: float, share: Float, slope: Float, stretch: Float) -> None:
    """Light of a one-dimensional Gaussian on each pixel, and its derivatives by centre and log."""
    left = (-0.5 - center) / narrow
    left_sum = 0.5 * math.erf(left / ROOT_2)
    left_density = math.exp(-0.5 * left * left) / ROOT_2_PI
    for column in range(share.size):
        right = (column + 0.5 - center) / narrow
        right_sum = 0.5 * math.erf(right / ROOT_2)
        right_density = math.exp(-0.5 * right * right) / ROOT_2_PI
        share[column] = right_sum - left_sum
        slope[column] = (left_density - right_density) / narrow
        stretch[column] = left * left_density - right * right_density
        left, left_sum, left_density = right, right_sum, right_density


def covariances(shapes: Float) -> Float:
    """Turn shapes (n, 3) of a fit into elements xx, yy, xy of the covariance matrix, (n, 3) px²."""
    narrow2, yy, lean = np.exp(2 * shapes[:, 0]), np.exp(2 * shapes[:, 1]), shapes[:, 2]
    return np.stack([narrow2 + lean**2 * yy, yy, lean * yy], axis=1)


def covariance_jacobians(shapes: Float) -> Float:
    """Derivatives of `covariances` by the shapes: (n, 3 elements, 3 shape numbers)."""
    narrow2, yy, lean = np.exp(2 * shapes[:, 0]), np.exp(2 * shapes[:, 1]), shapes[:, 2]
    jacobian = np.zeros((len(shapes), 3, 3))
    jacobian[:, 0] = np.stack([2 * narrow2, 2 * lean**2 * yy, 2 * lean * yy], axis=1)
    jacobian[:, 1, 1] = 2 * yy
    jacobian[:, 2, 1], jacobian[:, 2, 2] = 2 * lean * yy, yy
    return jacobian


def shape_of(covariance: Float) -> Float:
    """Turn elements xx, yy, xy into the shape of a fit: (3,) to (3,)."""
    xx, yy, xy = covariance
    lean = xy / yy
    return np.array([0.5 * math.log(xx - lean * xy), 0.5 * math.log(yy), lean])


def ellipse(covariance: Float) -> Ellipse:
    """Axes and angle of a PSF given as xx, yy, xy."""
    xx, yy, xy = covariance
    middle, swing = 0.5 * (xx + yy), math.hypot(0.5 * (xx - yy), xy)
    angle = 0.5 * math.degrees(math.atan2(2 * xy, xx - yy))
    return Ellipse(math.sqrt(middle + swing), math.sqrt(max(middle - swing, 0.0)), angle)


def normal_tail(value: Float) -> Float:
    """Probability of a standard normal beyond `value`."""
    return 0.5 * (1 - erf(value / ROOT_2))

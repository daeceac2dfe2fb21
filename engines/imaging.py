"""The imaging model: how point targets become pixel counts (eqs. 1 and 2 of the paper).

A pixel's response to a point target is the Gaussian PSF integrated over the pixel's area, so it is
separable: the product of a difference of error functions along x and one along y.

Pixel convention: x is the column, y the row; integers are pixel centres.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dscsnet.engines.compiled import as_kernel_takes, kernel

#: A unit target's light beyond this many PSF sigmas is below 2e-9 of its total.
EXTENT_SIGMAS = 6.0


@kernel
def _fill_erf(values: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    for index in range(values.size):
        out[index] = math.erf(values[index])


def erf(values: ArrayLike) -> NDArray[np.float64]:
    """Error function of each value."""
    # No ufunc: numba would compile its wrapper anew at each start.
    values = as_kernel_takes(values, np.float64)
    result = np.empty(values.shape)
    _fill_erf(values.reshape(-1), result.reshape(-1))
    return result


def gaussian_profile(
    positions: ArrayLike, size: int, sigma: float, first: int = 0
) -> NDArray[np.float64]:
    """Pixel-integrated one-dimensional Gaussian of unit targets.

    Args:
        positions: (...) target positions, px.
        size: number of pixels.
        sigma: PSF standard deviation, px.
        first: index of the first pixel.

    Returns:
        (..., size) fraction of each target's light along this axis that falls on each pixel.
    """
    if not sigma > 0:
        raise ValueError(f"PSF sigma must be above 0 px, got {sigma}")
    edges = first - 0.5 + np.arange(size + 1)
    scaled = (edges - np.asarray(positions, float)[..., None]) / (math.sqrt(2) * sigma)
    return np.diff(0.5 * erf(scaled), axis=-1)


def render(
    x: ArrayLike,
    y: ArrayLike,
    intensity: ArrayLike,
    shape: tuple[int, int],
    sigma_x: float,
    sigma_y: float | None = None,
) -> NDArray[np.float64]:
    """Noise-free image of point targets, each drawn within 6 PSF sigmas of its position.

    Args:
        x, y, intensity: (n,) positions in px and total counts.
        shape: (height, width) of the image, px.
        sigma_x, sigma_y: PSF standard deviations, px; `sigma_y` defaults to `sigma_x`.

    Returns:
        (height, width) counts.
    """
    sigma_y = sigma_x if sigma_y is None else sigma_y
    image = np.zeros(shape)
    height, width = shape
    for xi, yi, si in zip(
        np.atleast_1d(x), np.atleast_1d(y), np.atleast_1d(intensity), strict=True
    ):
        left, right = _window(xi, sigma_x, width)
        top, bottom = _window(yi, sigma_y, height)
        column = gaussian_profile(yi, bottom - top, sigma_y, top)
        row = gaussian_profile(xi, right - left, sigma_x, left)
        image[top:bottom, left:right] += si * column[:, None] * row
    return image


def _window(position: float, sigma: float, size: int) -> tuple[int, int]:
    """Pixels [first, last) within the drawn extent of a target; none: `last` is `first`."""
    reach = EXTENT_SIGMAS * sigma + 0.5
    first = max(0, math.ceil(position - reach))
    return first, max(first, min(size, math.floor(position + reach) + 1))


def central_fraction(sigma_x: float, sigma_y: float | None = None) -> float:
    """Fraction of a pixel-centred target's light that falls on its central pixel."""
    sigma_y = sigma_x if sigma_y is None else sigma_y
    return math.erf(0.5 / (math.sqrt(2) * sigma_x)) * math.erf(0.5 / (math.sqrt(2) * sigma_y))

"""Goodness of fit: the reconstruction of each crop from its targets against what was observed."""

import math

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.compiled import kernel


@kernel
def _fill_profile(position: float, sigma: float, out: NDArray[np.float64]) -> None:
    scale = 1.0 / (math.sqrt(2.0) * sigma)
    before = math.erf((-0.5 - position) * scale)
    for pixel in range(out.size):
        after = math.erf((pixel + 0.5 - position) * scale)
        out[pixel] = 0.5 * (after - before)
        before = after


@kernel
def reduced_chi2(
    pixels: NDArray[np.float32],
    usable: NDArray[np.bool_],
    noise: NDArray[np.float32],
    crop: NDArray[np.int64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    intensity: NDArray[np.float64],
    sigma: float,
) -> NDArray[np.float64]:
    """Reduced chi-square of each crop.

    Args:
        pixels: (n, s, s) counts above background.
        usable: (n, s, s) pixels that count.
        noise: (n,) noise sigma, counts.
        crop: (m,) crop of each target, ascending.
        x, y, intensity: (m,) targets, crop px and counts.
        sigma: PSF standard deviation, px.

    Returns:
        (n,) sum of squared residuals over noise variance, divided by usable pixels less three
        parameters a target; NaN where no freedom or no noise estimate is left.
    """
    number, size, _ = pixels.shape
    result = np.empty(number)
    row, column = np.empty(size), np.empty(size)
    model = np.empty((size, size))
    target = 0
    for index in range(number):
        model[:] = 0.0
        first = target
        while target < crop.size and crop[target] == index:
            _fill_profile(x[target], sigma, column)
            _fill_profile(y[target], sigma, row)
            for i in range(size):
                for j in range(size):
                    model[i, j] += intensity[target] * row[i] * column[j]
            target += 1
        total, freedom = 0.0, -3 * (target - first)
        for i in range(size):
            for j in range(size):
                if usable[index, i, j]:
                    freedom += 1
                    total += (pixels[index, i, j] - model[i, j]) ** 2
        variance = noise[index] ** 2
        good = freedom > 0 and variance > 0
        result[index] = total / (variance * freedom) if good else np.nan
    return result

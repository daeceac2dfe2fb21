"""Maximum-likelihood fit of point targets to a crop, from many random starts: the classical way.

The PSF, the noise and the range of intensities are known; number, positions and intensities of the
targets are fitted. Each start is led to its local minimum by Levenberg-Marquardt steps within the
bounds; the number of targets is the one with the least Bayesian information criterion.
"""

import math
from typing import NamedTuple

import numpy as np

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import kernel
from dscsnet.engines.fitting.linear import factorise, solve
from dscsnet.engines.fitting.profiles import fill_profile
from dscsnet.tools.measures.average_precision import Points

STEPS = 60
#: A step that lowers the misfit by less than this, relative, ends a descent.
PRECISION = 1e-7
#: Starts are drawn this wide, in units of the light's own spread beyond the PSF's.
START_SPREAD = 1.2


class Fit(NamedTuple):
    """Targets of one crop.

    Attributes:
        targets: (K, 3) x, y in crop px and intensity in counts.
        misfit: sum of squared residuals, counts squared.
    """

    targets: Float
    misfit: float


def fit_crops(
    pixels: Float,
    *,
    sigma: float,
    noise: float,
    intensity: tuple[float, float],
    most: int,
    starts: int,
    seed: int = 0,
) -> Points:
    """Fit each crop by itself; the same starts, drawn once, serve all of them.

    Args:
        pixels: (n, s, s) counts above background.
        sigma: PSF standard deviation, px.
        noise: standard deviation of a pixel, counts.
        intensity: least and greatest counts of a target.
        most: greatest number of targets in a crop.
        starts: random starts for each number of targets that the crop's light allows.

    Returns:
        Targets, ranked by intensity.
    """
    directions = np.random.default_rng(seed).normal(size=(starts, most, 2))
    fits = [fit_crop(crop, sigma, noise, intensity, directions).targets for crop in pixels]
    image = np.repeat(np.arange(len(fits)), [len(fit) for fit in fits])
    x, y, counts = np.concatenate([*fits, np.empty((0, 3))]).T
    return Points(image, x, y, counts)


def fit_crop(
    pixels: Float, sigma: float, noise: float, intensity: tuple[float, float], directions: Float
) -> Fit:
    """The best fit over all numbers of targets that the crop's light allows.

    Args:
        directions: (starts, most, 2) standard normal draws that place the starts.
    """
    pixels = np.ascontiguousarray(pixels, np.float64)
    best, least = Fit(np.empty((0, 3)), float((pixels**2).sum())), math.inf
    for number in _numbers(pixels, noise, intensity, directions.shape[1]):
        targets, misfit = _best_descent(pixels, sigma, *intensity, directions[:, :number])
        criterion = misfit / noise**2 + 3 * number * math.log(pixels.size)
        if criterion < least:
            best, least = Fit(targets, float(misfit)), criterion
    return best


def _numbers(pixels: Float, noise: float, intensity: tuple[float, float], most: int) -> range:
    """Numbers of targets whose light can be that of the crop, give or take its noise."""
    low, high = intensity
    light, slack = float(pixels.sum()), 3 * noise * pixels.shape[0]
    fewest = math.ceil((light - slack) / high)
    greatest = min(most, math.floor((light + slack) / low))
    if fewest > greatest:  # no number fits: the nearest
        fewest = greatest = min(most, round(2 * light / (low + high)))
    return range(max(1, fewest), greatest + 1)


@kernel
def _best_descent(
    pixels: Float, sigma: float, low: float, high: float, directions: Float
) -> tuple[Float, float]:
    """The best of the descents from all starts around the light's centre."""
    center, spread = _light_spread(pixels, sigma)
    number = directions.shape[1]
    best, least = np.empty((number, 3)), np.inf
    targets = np.empty((number, 3))
    for start in range(directions.shape[0]):
        for k in range(number):
            for axis in range(2):
                offset = START_SPREAD * spread[axis] * directions[start, k, axis]
                targets[k, axis] = center[axis] + offset
            targets[k, 2] = 0.5 * (low + high)
        misfit = _descend(targets, pixels, sigma, low, high)
        if misfit < least:
            best[:], least = targets, misfit
    return best, least


@kernel
def _light_spread(pixels: Float, sigma: float) -> tuple[Float, Float]:
    """Centroid of the light, px, and what its spread along x and y exceeds the PSF's by."""
    size = pixels.shape[0]
    center, spread = np.zeros(2), np.zeros(2)
    light = max(pixels.sum(), 1e-9)
    for i in range(size):
        for j in range(size):
            center[0] += j * pixels[i, j] / light
            center[1] += i * pixels[i, j] / light
    for i in range(size):
        for j in range(size):
            spread[0] += (j - center[0]) ** 2 * pixels[i, j] / light
            spread[1] += (i - center[1]) ** 2 * pixels[i, j] / light
    # A pixel's own width adds 1/12 px²; a lone target still needs starts a little apart.
    return center, np.sqrt(np.maximum(spread - sigma**2 - 1 / 12, 0.01))


@kernel
def _descend(targets: Float, pixels: Float, sigma: float, low: float, high: float) -> float:
    """Levenberg-Marquardt within bounds, in place; returns the misfit."""
    number, size = targets.shape[0], pixels.shape[0]
    rows, columns = np.empty((number, 3, size)), np.empty((number, 3, size))
    residual = np.empty((size, size))
    normal, gradient = np.empty((3 * number, 3 * number)), np.empty(3 * number)
    trial, damping = np.empty_like(targets), 1e-2
    misfit = _residuals(targets, pixels, sigma, rows, columns, residual)
    _linearise(targets, rows, columns, residual, normal, gradient)
    for _ in range(STEPS):
        step = _damped_step(targets, normal, gradient, damping, low, high)
        for k in range(number):
            for axis in range(2):
                moved = targets[k, axis] + step[3 * k + axis]
                trial[k, axis] = min(max(moved, -0.5), size - 0.5)
            trial[k, 2] = min(max(targets[k, 2] + step[3 * k + 2], low), high)
        reached = _residuals(trial, pixels, sigma, rows, columns, residual)
        if reached < misfit:
            gain, misfit = misfit - reached, reached
            targets[:] = trial
            damping = max(0.2 * damping, 1e-9)
            if gain < PRECISION * (misfit + 1e-9):
                break
            _linearise(targets, rows, columns, residual, normal, gradient)
        else:
            damping *= 5
            if damping > 1e8:
                break
    return misfit


@kernel
def _residuals(
    targets: Float, pixels: Float, sigma: float, rows: Float, columns: Float, residual: Float
) -> float:
    """Model minus pixels, and the profiles of each target; returns the sum of squares."""
    residual[:] = -pixels
    size = pixels.shape[0]
    for k in range(targets.shape[0]):
        fill_profile(targets[k, 0], sigma, 0, size - 1, columns[k])
        fill_profile(targets[k, 1], sigma, 0, size - 1, rows[k])
        for i in range(size):
            share = targets[k, 2] * rows[k, 0, i]
            for j in range(size):
                residual[i, j] += share * columns[k, 0, j]
    return (residual * residual).sum()


@kernel
def _linearise(
    targets: Float, rows: Float, columns: Float, residual: Float, normal: Float, gradient: Float
) -> None:
    """JᵀJ and Jᵀr. Each column of J is a product of two profiles, so their inner products are."""
    number, size = targets.shape[0], residual.shape[0]
    for a in range(3 * number):
        # Of the parameters x, y, intensity the first needs the derivative of the column profile,
        # the second that of the row profile.
        along_a, across_a = columns[a // 3, int(a % 3 == 0)], rows[a // 3, int(a % 3 == 1)]
        weight_a = 1.0 if a % 3 == 2 else targets[a // 3, 2]
        total = 0.0
        for i in range(size):
            line = 0.0
            for j in range(size):
                line += residual[i, j] * along_a[j]
            total += line * across_a[i]
        gradient[a] = weight_a * total
        for b in range(a + 1):
            along_b, across_b = columns[b // 3, int(b % 3 == 0)], rows[b // 3, int(b % 3 == 1)]
            weight_b = 1.0 if b % 3 == 2 else targets[b // 3, 2]
            product = (along_a * along_b).sum() * (across_a * across_b).sum()
            normal[a, b] = normal[b, a] = weight_a * weight_b * product


@kernel
def _damped_step(
    targets: Float, normal: Float, gradient: Float, damping: float, low: float, high: float
) -> Float:
    """Solve (JᵀJ + λ diag(JᵀJ)) d = -Jᵀr; an intensity that pushes against its bound stays."""
    size = len(gradient)
    matrix, step = normal.copy(), -gradient
    for a in range(size):
        counts = targets[a // 3, 2]
        held = (counts <= low and gradient[a] > 0) or (counts >= high and gradient[a] < 0)
        if a % 3 == 2 and held:
            matrix[a, :], matrix[:, a] = 0.0, 0.0
            matrix[a, a], step[a] = 1.0, 0.0
        matrix[a, a] *= 1 + damping
        matrix[a, a] += 1e-12
    factorise(matrix, size)
    solve(matrix, step, size)
    return step

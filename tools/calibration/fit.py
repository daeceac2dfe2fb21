"""Fits of single spots by Levenberg-Marquardt: position, intensity, curved background, shape."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import kernel
from dscsnet.tools.calibration.psf import FRACTION, fill_spot

#: Order of a spot's parameters. Curvature of clouds would pass for width of the spot.
X, Y, INTENSITY, LEVEL, SLOPE_X, SLOPE_Y, CURVE_XX, CURVE_YY, CURVE_XY = range(9)
OWN, ALL = 9, 12  # the parameters that are a spot's own, and with the three of the shape
SHAPE = slice(OWN, ALL)

STEPS = 60
#: A step that lowers chi-square by less than this ends a fit.
PRECISION = 1e-4
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-2, 1e-9, 1e8


@dataclass(frozen=True)
class SpotFits:
    """Fits of n spots, linearised at their end.

    Attributes:
        parameters: (n, 12) x, y (px from the window's centre), intensity, background (level at
            the centre, slopes, curvatures: the factors of 1, dx, dy, dx², dy², dx dy), and the
            three numbers of the shape (`psf`).
        normal: (n, 12, 12) matrix of the normal equations: the inverse is the covariance.
        gradient: (n, 12) minus half of chi-square's; about 0 for parameters that were free.
        chi2: (n,) sum of squared weighted residuals.
        converged: (n,) whether the fit came to an end.
    """

    parameters: Float
    normal: Float
    gradient: Float
    chi2: Float
    converged: NDArray[np.bool_]


def fit_spots(values: Float, weights: Float, start: Float, *, free_shape: bool) -> SpotFits:
    """Fit each spot by itself.

    Args:
        values: (n, size, size) counts; finite wherever the weight is not 0.
        weights: (n, size, size) one over the variance, 0 for pixels that do not count.
        start: (n, 12) parameters to start from.
        free_shape: fit the shape too; else it stays as in `start`.
    """
    count, size = len(values), values.shape[-1]
    parameters = np.array(start, np.float64)
    parameters[:, :2] += size // 2
    normal, gradient = np.zeros((count, ALL, ALL)), np.zeros((count, ALL))
    chi2, converged = np.zeros(count), np.zeros(count, np.bool_)
    _fit_all(
        np.ascontiguousarray(values, np.float64),
        np.ascontiguousarray(weights, np.float64),
        ALL if free_shape else OWN,
        *(parameters, normal, gradient, chi2, converged),
    )
    parameters[:, :2] -= size // 2
    return SpotFits(parameters, normal, gradient, chi2, converged)


def spot_images(parameters: Float, size: int) -> Float:
    """Light of fitted spots without their background, (n, size, size) counts."""
    images = np.empty((len(parameters), size, size))
    scratch = np.empty((6, size, size))
    for image, row in zip(images, parameters, strict=True):
        fill_spot(row[X] + size // 2, row[Y] + size // 2, *row[SHAPE], scratch)
        image[:] = row[INTENSITY] * scratch[FRACTION]
    return images


def backgrounds(parameters: Float, size: int) -> Float:
    """Background of fitted spots, (n, size, size) counts."""
    dx = np.arange(size) - size // 2
    dy = dx[:, None]
    forms = np.broadcast_arrays(np.ones_like(dy), dx, dy, dx * dx, dy * dy, dx * dy)
    return np.einsum("nk,kij->nij", parameters[:, LEVEL:OWN], np.array(forms, np.float64))


def shape_information(fits: SpotFits) -> tuple[Float, Float]:
    """What each spot says of the shape, its own parameters eliminated.

    Returns:
        (n, 3) the shape that it asks for, to first order about the shape of the fit, and (n, 3, 3)
        the information in it (inverse covariance).
    """
    own, shared = fits.normal[:, :OWN, :OWN], fits.normal[:, SHAPE, SHAPE]
    cross = fits.normal[:, :OWN, SHAPE]
    solved = np.linalg.solve(own, np.concatenate([cross, fits.gradient[:, :OWN, None]], axis=2))
    information = shared - cross.transpose(0, 2, 1) @ solved[:, :, :3]
    push = fits.gradient[:, SHAPE] - (cross.transpose(0, 2, 1) @ solved[:, :, 3:])[:, :, 0]
    step = np.linalg.solve(information, push[:, :, None])[:, :, 0]
    return fits.parameters[:, SHAPE] + step, information


@kernel
def _fit_all(
    values: Float,
    weights: Float,
    free: int,
    parameters: Float,
    normal: Float,
    gradient: Float,
    chi2: Float,
    converged: NDArray[np.bool_],
) -> None:
    for spot in range(values.shape[0]):
        chi2[spot], converged[spot] = _fit_one(
            *(values[spot], weights[spot], free, parameters[spot], normal[spot], gradient[spot])
        )


@kernel
def _fit_one(
    values: Float, weights: Float, free: int, parameters: Float, normal: Float, gradient: Float
) -> tuple[float, bool]:
    """Fit in place; `normal` and `gradient` are those at the end."""
    size = values.shape[0]
    scratch = np.empty((6, size, size))
    chi2 = _linearise(values, weights, parameters, scratch, normal, gradient)
    damping = FIRST_DAMPING
    trial = parameters.copy()
    trial_normal, trial_gradient = np.empty_like(normal), np.empty_like(gradient)
    for _ in range(STEPS):
        step = _damped_step(normal, gradient, damping, free)
        for k in range(free):
            trial[k] = parameters[k] + step[k]
        moved = _linearise(values, weights, trial, scratch, trial_normal, trial_gradient)
        if moved <= chi2:
            gain = chi2 - moved
            parameters[:], normal[:], gradient[:] = trial, trial_normal, trial_gradient
            chi2 = moved
            if gain < PRECISION and damping <= FIRST_DAMPING:
                return chi2, True
            damping = max(0.1 * damping, LEAST_DAMPING)
        else:
            damping *= 10
            if damping > MOST_DAMPING:
                return chi2, False
    return chi2, False


@kernel
def _linearise(
    values: Float,
    weights: Float,
    parameters: Float,
    scratch: Float,
    normal: Float,
    gradient: Float,
) -> float:
    """Chi-square at the parameters, infinite where they make no spot; fills the other arrays."""
    size = values.shape[0]
    if not (
        -1 < parameters[X] < size
        and -1 < parameters[Y] < size
        and abs(parameters[OWN]) < 4
        and abs(parameters[OWN + 1]) < 4
        and abs(parameters[OWN + 2]) < 50
    ):
        return np.inf
    fill_spot(
        *(parameters[X], parameters[Y], parameters[OWN], parameters[OWN + 1], parameters[OWN + 2]),
        scratch,
    )
    normal[:], gradient[:] = 0, 0
    chi2, center, by = 0.0, size // 2, np.empty(ALL)
    for row in range(size):
        for column in range(size):
            weight = weights[row, column]
            if weight == 0:
                continue
            dx, dy = column - center, row - center
            by[LEVEL], by[SLOPE_X], by[SLOPE_Y] = 1.0, dx, dy
            by[CURVE_XX], by[CURVE_YY], by[CURVE_XY] = dx * dx, dy * dy, dx * dy
            ground = 0.0
            for k in range(LEVEL, OWN):
                ground += parameters[k] * by[k]
            light = parameters[INTENSITY]
            residual = values[row, column] - ground - light * scratch[FRACTION, row, column]
            by[X], by[Y] = light * scratch[1, row, column], light * scratch[2, row, column]
            by[INTENSITY] = scratch[FRACTION, row, column]
            for k in range(3):
                by[OWN + k] = light * scratch[3 + k, row, column]
            chi2 += weight * residual * residual
            for i in range(ALL):
                gradient[i] += weight * by[i] * residual
                for j in range(i + 1):
                    normal[i, j] += weight * by[i] * by[j]
    for i in range(ALL):
        for j in range(i):
            normal[j, i] = normal[i, j]
    return chi2


@kernel
def _damped_step(normal: Float, gradient: Float, damping: float, free: int) -> Float:
    """Solve the normal equations with a larger diagonal, by Cholesky; 0 where that is singular."""
    lower, step = np.zeros((free, free)), np.zeros(free)
    for i in range(free):
        for j in range(i + 1):
            value = normal[i, j] * (1 + damping) if i == j else normal[i, j]
            for k in range(j):
                value -= lower[i, k] * lower[j, k]
            if i == j:
                if not value > 0:
                    return step
                lower[i, i] = np.sqrt(value)
            else:
                lower[i, j] = value / lower[j, j]
    for i in range(free):
        value = gradient[i]
        for k in range(i):
            value -= lower[i, k] * step[k]
        step[i] = value / lower[i, i]
    for i in range(free - 1, -1, -1):
        value = step[i]
        for k in range(i + 1, free):
            value -= lower[k, i] * step[k]
        step[i] = value / lower[i, i]
    return step

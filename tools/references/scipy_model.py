"""A crop as a plane and Gaussian spots, for SciPy's least squares (of the `dev` extra)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import ndtr

from dscsnet.engines.array_types import Float
from dscsnet.engines.imaging import gaussian_profile

#: Unknowns of the plane, which come first: level, and slopes along x and y per half crop.
PLANE = 3
#: Fits end where a step changes the misfit, or the unknowns, by less than this share.
TOLERANCE = 1e-3
MOST_EVALUATIONS = 100
#: Least intensity that a start gives a target, and most that any may get, noise sigmas.
LEAST_START, GREATEST = 3.0, 1e10
#: Noise that is unknown, as a share of the brightest pixel, and the least share believed.
UNKNOWN_NOISE, LEAST_NOISE = 1e-2, 1e-5
#: Singular values count as this at least, so that a free unknown leaves the covariance finite.
LEAST_SINGULAR = 1e-6


@dataclass(frozen=True, eq=False)
class Fit:
    """Where a start ended.

    Attributes:
        values: (3 + 3 k,) unknowns, as `CropModel` orders them.
        misfit: sum of squared residuals, noise sigmas squared.
        cost: Bayesian information criterion; inf where a target left the crop.
    """

    values: Float
    misfit: float
    cost: float

    @property
    def targets(self) -> Float:
        """(k, 3) x, y and ln intensity."""
        return self.values[PLANE:].reshape(-1, 3)


class CropModel:
    """A plane and targets on the usable pixels of one crop, in units of its noise.

    The unknowns are the plane's level and slopes, then x, y and ln intensity of each target.
    """

    def __init__(self, pixels: Float, usable: NDArray[np.bool_], noise: float, psf: Float) -> None:
        """Take (s, s) counts, (s, s) pixels to trust, noise in counts and (2,) PSF sigmas in px."""
        usable = usable & np.isfinite(pixels)
        brightest = float(np.abs(pixels[usable]).max(initial=0.0)) or 1.0
        known = math.isfinite(noise)
        self.noise = max(noise, LEAST_NOISE * brightest) if known else UNKNOWN_NOISE * brightest
        self.size, self.psf = len(pixels), psf
        self.where = np.flatnonzero(usable)
        self.observed = pixels.ravel()[self.where] / self.noise
        row, column = (np.divmod(self.where, self.size) - np.array(self.size // 2)) * 2 / self.size
        self.plane = np.stack([np.ones(len(self.where)), column, row], 1)

    def residual(self, values: Float) -> Float:
        """(n,) model less what was observed."""
        along, down = np.diff(ndtr(self._edges(values)))
        image = (_intensity(values)[:, None] * down).T @ along
        result: Float = self.plane @ values[:PLANE] + image.ravel()[self.where] - self.observed
        return result

    def jacobian(self, values: Float) -> Float:
        """(n, unknowns) slopes of the residual."""
        edges, intensity = self._edges(values), _intensity(values)[:, None]
        along, down = np.diff(ndtr(edges))
        density = np.exp(-0.5 * edges**2) / (math.sqrt(2 * math.pi) * self.psf[:, None, None])
        slope_x, slope_y = -np.diff(density)
        factors = ((down, slope_x), (slope_y, along), (down, along))
        slopes = np.stack([(intensity * y)[:, :, None] * x[:, None] for y, x in factors], 1)
        flat = slopes.reshape(-1, self.size**2)[:, self.where]
        return np.concatenate([self.plane, flat.T], 1)

    def _edges(self, values: Float) -> Float:
        """(2, k, s + 1) pixels' edges along x and y from each target, PSF sigmas."""
        places = values[PLANE:].reshape(-1, 3)[:, :2].T[..., None]
        result: Float = (np.arange(self.size + 1) - 0.5 - places) / self.psf[:, None, None]
        return result

    def fit(self, start: Float) -> Fit:
        """Descend from a start."""
        found = least_squares(
            self.residual,
            start,
            self.jacobian,
            method="lm",
            ftol=TOLERANCE,
            xtol=TOLERANCE,
            max_nfev=MOST_EVALUATIONS,
        )
        pixels, misfit = len(self.observed), 2 * float(found.cost)
        excess = misfit / pixels
        # Structure in the background, which no target explains, counts as noise.
        deviance = misfit if excess <= 1 else pixels * (1 + math.log(excess))
        fit = Fit(found.x, misfit, deviance + len(start) * math.log(pixels))
        inside = np.abs(fit.targets[:, :2] - self.size // 2) <= self.size / 2
        return fit if inside.all() else Fit(found.x, misfit, math.inf)

    def image(self, values: Float | float) -> Float:
        """(s, s) with (n,) values at the usable pixels, and 0 elsewhere."""
        image = np.zeros(self.size**2)
        image[self.where] = values
        return image.reshape(self.size, self.size)

    def peak(self, left: Float) -> Float:
        """(3,) a target at the most significant peak of the matched filter over (s, s) light."""
        middles = np.arange(self.size)
        along, down = (gaussian_profile(middles, self.size, float(sigma)) for sigma in self.psf)
        light = down @ left @ along.T
        # Far from any usable pixel there is nothing to see, and nothing to divide by.
        norm = np.maximum(down**2 @ self.image(1.0) @ (along**2).T, 1e-12)
        y, x = np.unravel_index((light / np.sqrt(norm)).argmax(), light.shape)
        return np.array([x, y, math.log(max(light[y, x] / norm[y, x], LEAST_START))])

    def covariance(self, fit: Fit) -> Float:
        """(unknowns, unknowns); wider by the reduced chi-square where that is above 1."""
        _, singular, axes = np.linalg.svd(self.jacobian(fit.values), full_matrices=False)
        scaled = axes / np.maximum(singular, LEAST_SINGULAR)[:, None]
        result: Float = max(1.0, self.chi2(fit)) * scaled.T @ scaled
        return result

    def chi2(self, fit: Fit) -> float:
        """Reduced chi-square."""
        return fit.misfit / (len(self.observed) - len(fit.values))


def _intensity(values: Float) -> Float:
    """(k,) in units of noise; bounded, for a hopeless start may run away."""
    return np.exp(np.minimum(values[PLANE + 2 :: 3], math.log(GREATEST)))

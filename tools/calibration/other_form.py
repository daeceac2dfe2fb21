"""Whether a PSF is another one than a Gaussian, and is known well enough to take it."""

import numpy as np

from dscsnet.engines.array_types import Float
from dscsnet.tools.calibration.fit import ALL, INTENSITY, X, Y
from dscsnet.tools.calibration.mean_spot import mean_of_sampled
from dscsnet.tools.calibration.result import SampledFit, Windows
from dscsnet.tools.calibration.sampled import fit_sampled
from dscsnet.tools.calibration.sieve import MOST_CHI2, TOLERANCE, FittedSpots
from dscsnet.tools.calibration.spots import MOST_HALF, Spots

#: Root mean square misfit of the mean spot, as a share of its light, up to which a Gaussian stays:
#: `engine.psf_error` covers it.
MOST_MISFIT = 0.01
#: What a sampled PSF may err and miss, over what the Gaussian misses.
MOST_ERROR = 0.5
#: Spots that are fitted, at most, the brightest; and at least, over all in use, in wider windows.
MOST_SPOTS, ENOUGH_SPOTS, ENOUGH = 600, 40, 0.6
HALVES = (MOST_HALF, 12, 9, 6)
#: Spots that the PSF must explain.
LEAST_EXPLAINED = 0.5


def another_form(
    spots: Spots, fitted: FittedSpots, covariance: Float, misfit: float, gain: float | None
) -> SampledFit | None:
    """The sampled PSF of spots that a Gaussian misses by more than it would.

    Args:
        spots: all of the recording.
        fitted: those of the narrow mode, fitted with Gaussians.
        covariance: (3,) xx, yy, xy of the narrow mode, px².
        misfit: of the mean spot beside the Gaussian, root mean square, as a share of the light.
        gain: electrons per count; None: no shot noise is reckoned with.

    Returns:
        None where the Gaussian stays.
    """
    if not misfit > MOST_MISFIT:
        return None
    fit = fit_sampled(_windows(spots, fitted), covariance, gain)
    if not fit.psf.error < MOST_ERROR * misfit:
        return None
    left = mean_of_sampled(fit, 3 * float(np.sqrt(covariance[:2].max()))).rms_misfit
    if not left < MOST_ERROR * misfit or _explained(fit, gain) < LEAST_EXPLAINED:
        return None
    return fit


def _windows(spots: Spots, fitted: FittedSpots) -> Windows:
    """The brightest spots, in windows as wide as their neighbours allow to most of them."""
    clear = spots.clearance[fitted.row]
    usual = fitted.pixels.shape[-1] // 2
    enough = min(ENOUGH * len(clear), ENOUGH_SPOTS)
    half = next((h for h in HALVES if h > usual and (clear > h).sum() >= enough), usual)
    chosen = np.flatnonzero(clear > half)
    parameters = fitted.fits.parameters
    order = np.argsort(-parameters[chosen, INTENSITY] / fitted.noise[chosen], kind="stable")
    chosen = chosen[order[:MOST_SPOTS]]
    values = spots.take(fitted.row[chosen]).cut(half)
    rim = np.concatenate([values[:, 0], values[:, -1], values[:, :, 0], values[:, :, -1]], axis=1)
    level = np.nanmedian(rim, axis=1)
    own = parameters[chosen].reshape(-1, ALL)
    return Windows(
        values - level[:, None, None],
        fitted.noise[chosen],
        own[:, X] + half,
        own[:, Y] + half,
        own[:, INTENSITY],
    )


def _explained(fit: SampledFit, gain: float | None) -> float:
    """Share of the spots whose reduced chi-square is that of single targets."""
    spots, light = fit.spots, fit.light
    shot = 0.0 if gain is None else np.maximum(light, 0) / gain
    variance = spots.noise[:, None, None] ** 2 + shot + (TOLERANCE * light) ** 2
    chi2 = np.nanmean((spots.values - light) ** 2 / variance, axis=(1, 2))
    return float(np.mean(chi2 < MOST_CHI2))

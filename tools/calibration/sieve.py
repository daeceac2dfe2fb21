"""Fits the candidate spots, and keeps those that a single pixel-integrated Gaussian explains."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.pipeline.cropping.background import subtract_backgrounds
from dscsnet.tools.calibration.fit import (
    ALL,
    INTENSITY,
    OWN,
    SHAPE,
    SpotFits,
    X,
    Y,
    backgrounds,
    fit_spots,
    shape_information,
    spot_images,
)
from dscsnet.tools.calibration.psf import covariance_jacobians, covariances, ellipse
from dscsnet.tools.calibration.spots import Spots

BORDER = 2  # px of a window from which background and noise come
CORE = 2  # px from the peak pixel within which a spot's peak is looked for
#: Narrower is no optics: a hot pixel.
LEAST_SIGMA = 0.25
#: A window tells no wider spot than this share of its half side inside the border.
MOST_SIGMA = 0.4
MOST_OFFSET = 2.0  # px from the peak pixel to the fitted position
LEAST_EIGENVALUE = 1e-8  # of scaled normal equations; below, a fit is degenerate
#: A spot is a single Gaussian if reduced chi-square is below that, with this share of its light
#: allowed in each pixel for a PSF that is not quite a Gaussian.
MOST_CHI2, TOLERANCE = 2.0, 0.02
NOT_GAUSSIAN = "no single Gaussian"


@dataclass(frozen=True)
class FittedSpots:
    """Spots in their windows, background taken off: columns of one length.

    Attributes:
        pixels: (n, size, size) counts.
        noise: (n,) of a background pixel, counts.
        weights: (n, size, size) one over the variance.
        fits: with a shape of each spot's own.
        track: (n,) int.
        row: (n,) int, of each among the spots that were given.
    """

    pixels: Float
    noise: Float
    weights: Float
    fits: SpotFits
    track: NDArray[np.int64]
    row: NDArray[np.int64]

    def take(self, keep: NDArray[np.bool_]) -> "FittedSpots":
        """Return some of them."""
        fits = SpotFits(*(getattr(self.fits, n)[keep] for n in self.fits.__dataclass_fields__))
        columns = (self.pixels, self.noise, self.weights)
        pixels, noise, weights = (column[keep] for column in columns)
        return FittedSpots(pixels, noise, weights, fits, self.track[keep], self.row[keep])

    def shapes(self) -> tuple[Float, Float]:
        """Covariance matrices of the spots' light, (n, 3) px², and their errors, (n, 3, 3) px⁴."""
        return covariances(self.fits.parameters[:, SHAPE]), light_covariances(self.fits)[1]

    def refit(self, shape: Float) -> SpotFits:
        """Fit all with one shape, (3,); the result is linearised about it."""
        start = self.fits.parameters.copy()
        start[:, SHAPE] = shape
        return fit_spots(self.pixels, self.weights, start, free_shape=False)


def light_covariances(fits: SpotFits) -> tuple[Float, Float]:
    """Elements xx, yy, xy that each spot asks for, to first order about its fit, and their errors.

    Returns:
        (n, 3) px² and (n, 3, 3) px⁴.
    """
    asked, information = shape_information(fits)
    at = fits.parameters[:, SHAPE]
    jacobian = covariance_jacobians(at)
    moved = (jacobian @ (asked - at)[:, :, None])[:, :, 0]
    error = jacobian @ np.linalg.inv(information) @ jacobian.transpose(0, 2, 1)
    return covariances(at) + moved, error


def reach(half: int) -> float:
    """Largest PSF deviation that windows of this half side can tell, px."""
    return MOST_SIGMA * (half - BORDER)


def fit_isolated(
    spots: Spots,
    half: int,
    least_snr: float,
    gain: float | None,
    whole_counts: bool,
    *,
    missed: float = 0.0,
) -> tuple[FittedSpots, Counter[str]]:
    """Fit the isolated, unsaturated spots, and keep those that are single Gaussians.

    Args:
        half: half side of the windows, px.
        least_snr: peak over noise, at least.
        gain: electrons per count; None: no shot noise is reckoned with.
        whole_counts: whether pixels are integers.
        missed: share of a spot's peak that a Gaussian may miss in every pixel.

    Returns:
        Those kept, and how many were dropped for each reason.
    """
    dropped = Counter[str]()
    row = np.arange(len(spots))
    for reason, bad in (
        ("saturated", spots.saturated),
        ("too near to another one or to the edge", spots.clearance <= half),
        ("bad pixels", np.any(np.isnan(spots.cut(half)), axis=(1, 2))),
    ):
        dropped[reason] += int(bad[row].sum())
        row = row[~bad[row]]
    spots = spots.take(row)
    values = np.ascontiguousarray(spots.cut(half))
    above, background, _ = subtract_backgrounds(values, np.ones(values.shape, bool), whole_counts)
    pixels, noise = above.astype(np.float64), background[:, 3].astype(np.float64)
    middle = slice(half - CORE, half + CORE + 1)
    peak = pixels[:, middle, middle].max(axis=(1, 2), initial=0)
    faint = peak < least_snr * noise
    dropped["too faint"] += int(faint.sum())
    bright = np.flatnonzero(~faint)
    fits, weights = _fit(pixels[bright], noise[bright], gain)
    fitted = FittedSpots(
        pixels[bright], noise[bright], weights, fits, spots.track[bright], row[bright]
    )
    return _judge(fitted, half, dropped, missed)


def _fit(pixels: Float, noise: Float, gain: float | None) -> tuple[SpotFits, Float]:
    """The fits, and the weights of the pixels."""
    weights = np.broadcast_to(1 / noise[:, None, None] ** 2, pixels.shape)
    fits = fit_spots(pixels, weights, _start(pixels), free_shape=True)
    if gain is not None:
        light = spot_images(fits.parameters, pixels.shape[-1])
        weights = 1 / (noise[:, None, None] ** 2 + np.maximum(light, 0) / gain)
        fits = fit_spots(pixels, weights, fits.parameters, free_shape=True)
    return fits, np.array(weights)


def _start(pixels: Float) -> Float:
    """Parameters to start from: light and peak of the inner window give the width."""
    size = pixels.shape[-1]
    half = size // 2
    inner, core = slice(BORDER, size - BORDER), slice(half - CORE, half + CORE + 1)
    peak = pixels[:, core, core].max(axis=(1, 2), initial=0)
    light = np.maximum(pixels[:, inner, inner].sum(axis=(1, 2)), peak)
    width = np.sqrt(np.maximum(light / (2 * np.pi * np.maximum(peak, 1e-30)) - 1 / 12, 0.16))
    start = np.zeros((len(pixels), ALL))
    start[:, INTENSITY] = light
    start[:, OWN : OWN + 2] = np.log(np.minimum(width, reach(half)))[:, None]
    return start


def _judge(
    fitted: FittedSpots, half: int, dropped: Counter[str], missed: float = 0.0
) -> tuple[FittedSpots, Counter[str]]:
    """Count the reasons to drop a spot, the first that holds of each."""
    parameters = fitted.fits.parameters
    axes = [ellipse(each) for each in covariances(parameters[:, SHAPE])]
    long = np.array([each.long for each in axes])
    middle = np.array([np.hypot(each.long, each.short) for each in axes]) / np.sqrt(2)
    away = np.abs(parameters[:, [X, Y]]).max(axis=1, initial=0)
    astray = ~fitted.fits.converged | ~_determined(fitted.fits)
    astray |= (away > MOST_OFFSET) | (parameters[:, INTENSITY] <= 0)
    reasons = (
        ("the fit goes astray", astray),
        (f"narrower than {LEAST_SIGMA} px: hot pixels", middle < LEAST_SIGMA),
        (f"wider than {reach(half):.2g} px", long > reach(half)),
        (NOT_GAUSSIAN, _reduced_chi2(fitted, missed) > MOST_CHI2),
    )
    keep = np.ones(len(parameters), bool)
    for reason, bad in reasons:
        dropped[reason] += int((keep & bad).sum())
        keep &= ~bad
    return fitted.take(keep), dropped


def _determined(fits: SpotFits) -> NDArray[np.bool_]:
    """Whether each fit tells all of its parameters: (n,)."""
    scale = np.sqrt(np.maximum(np.einsum("nii->ni", fits.normal), 1e-300))
    scaled = fits.normal / scale[:, :, None] / scale[:, None, :]
    return np.linalg.eigvalsh(scaled)[:, 0] > LEAST_EIGENVALUE


def _reduced_chi2(fitted: FittedSpots, missed: float) -> Float:
    """Chi-square a degree of freedom, with some tolerance for the PSF's form: (n,)."""
    parameters, size = fitted.fits.parameters, fitted.pixels.shape[-1]
    light = spot_images(parameters, size)
    residual = fitted.pixels - backgrounds(parameters, size) - light
    peak = light.max(axis=(1, 2), initial=0, keepdims=True)
    variance = 1 / fitted.weights + (TOLERANCE * light) ** 2 + (missed * peak) ** 2
    return (residual**2 / variance).sum(axis=(1, 2)) / (size * size - ALL)

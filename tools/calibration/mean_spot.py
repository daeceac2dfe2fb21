"""The mean of many spots, resampled finer than the pixels, beside its model."""

from dataclasses import dataclass

import numpy as np

from dscsnet.engines.array_types import Float
from dscsnet.tools.calibration.fit import INTENSITY, X, Y, spot_images
from dscsnet.tools.calibration.result import SampledFit, SpotTable

STEPS_A_PIXEL = 4
#: A cell counts for the misfit where its own error is below this share of the peak.
KNOWN = 0.005


@dataclass(frozen=True)
class MeanSpot:
    """Mean spot on a grid of 1/4 px, its centre in the middle; light of one spot is 1.

    Attributes:
        observed, model: (side, side), NaN where no pixel's centre fell.
        error: (side, side) standard error of `observed`.
    """

    observed: Float
    model: Float
    error: Float

    @property
    def misfit(self) -> float:
        """Largest residual over the peak, where it is known well; NaN where nothing is."""
        peak = np.nanmax(self.model, initial=0)
        known = self.error < KNOWN * peak
        if not known.any():
            return float("nan")
        return float(np.abs(self.observed - self.model)[known].max() / peak)

    @property
    def rms_misfit(self) -> float:
        """Root mean square residual beyond its errors over that of the light; NaN likewise."""
        peak = np.nanmax(self.model, initial=0)
        known = self.error < KNOWN * peak
        if not known.any():
            return float("nan")
        residual, error = (self.observed - self.model)[known], self.error[known]
        excess = max(float((residual**2 - error**2).sum()), 0.0)
        return float(np.sqrt(excess / (self.model[known] ** 2).sum()))


def mean_spot(spots: SpotTable, reach: float) -> MeanSpot:
    """Average the spots in use, each about its fitted position.

    Args:
        reach: half side of the result, px.
    """
    used = spots.used
    parameters, pixels = spots.parameters[used], spots.pixels[used]
    place = parameters[:, X], parameters[:, Y]
    model = spot_images(parameters, pixels.shape[-1])
    return _mean(pixels, model, spots.noise[used], place, parameters[:, INTENSITY], reach)


def mean_of_sampled(fit: SampledFit, reach: float) -> MeanSpot:
    """The same of the spots of a sampled PSF."""
    spots = fit.spots
    middle = spots.values.shape[-1] // 2
    place = spots.x - middle, spots.y - middle
    return _mean(spots.values, fit.light, spots.noise, place, spots.intensity, reach)


def _mean(
    pixels: Float,
    light: Float,
    noise: Float,
    place: tuple[Float, Float],
    counts: Float,
    reach: float,
) -> MeanSpot:
    size = pixels.shape[-1]
    counts = counts[:, None, None]
    model = light / counts
    weight = np.where(np.isfinite(pixels), (counts / noise[:, None, None]) ** 2, 0)
    pixels = np.where(weight > 0, pixels, 0)
    half = round(reach * STEPS_A_PIXEL)
    side = 2 * half + 1
    offset = np.arange(size) - size // 2
    column = np.rint((offset - place[0][:, None]) * STEPS_A_PIXEL).astype(int) + half
    row = np.rint((offset - place[1][:, None]) * STEPS_A_PIXEL).astype(int) + half
    columns = np.broadcast_to(column[:, None, :], pixels.shape)
    rows = np.broadcast_to(row[:, :, None], pixels.shape)
    inside = (columns >= 0) & (columns < side) & (rows >= 0) & (rows < side)
    cell = rows[inside] * side + columns[inside]

    def total(values: Float) -> Float:
        sums = np.bincount(cell, values[inside], side * side).astype(np.float64)
        return sums.reshape(side, side)

    weights = total(weight)
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = total(weight * pixels / counts) / weights
        expected = total(weight * model) / weights
        return MeanSpot(observed, expected, 1 / np.sqrt(weights))

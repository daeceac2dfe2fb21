"""Watches whether the spots still have the width that the configuration says.

Heat and vibration move a sensor out of focus; a PSF that is 10 % wider than told makes pairs out of
single targets. The fit frees the PSF width of each crop, so bright single targets tell. Where
hardly any spot is taken for a single target, the widths tell with which one target explains each
spot: if every star is split, they agree.
"""

import logging
import math
import threading
from collections import deque

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.engine import CropBatch
from dscsnet.engines.estimates import Doubt, Estimates
from dscsnet.engines.fitting import RefineSettings, Slots, refine
from dscsnet.pipeline.cropping.robust import MAD_TO_SIGMA
from dscsnet.pipeline.process.logs import RateLimitedLog

log = logging.getLogger(__name__)

#: Spots remembered, and how many of them are needed to say something.
WINDOW, LEAST = 400, 40
#: Brightest pixel over noise from which a spot's width is told well.
LEAST_SNR = 18.0
#: A median this far off, ln, is worth a warning, if it is this many of its standard errors off.
LEAST_DRIFT, LEAST_SIGNIFICANCE = 0.04, 5.0
WARN_EVERY_S = 60.0
#: Standard error of a median over that of a mean, and sigma over the median absolute deviation.
MEDIAN_ERROR = 1.2533
#: Share of single targets among bright spots below which they are not asked.
FEWEST_SINGLE = 0.25
#: Spots of a batch that are fitted with one target, at most; by how much more of the reduced
#: chi-square one target may leave than several; and the share of spots that it must explain so.
MOST_FITS, MOST_WORSE, MOSTLY = 8, 0.15, 0.6
#: ln of a width from which the fit's expectation, that it is as told, is felt; and a width so near
#: to the widest that a fit tries that one target may leave any misfit.
FAR_OFF, WIDEST = 0.1, 1.48
ONE_TARGET = RefineSettings(steps=30, alternatives=1, width_prior=1.0, window_sigmas=5.0)
#: Sigma of that target's position about the light's middle, px, and of its ln counts.
PLACE_SIGMA, LIGHT_SIGMA = 1.0, 1.0


class PsfDrift:
    """Median of the fitted over the told PSF width of recent bright targets; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._singles: deque[float] = deque(maxlen=WINDOW)
        self._split: deque[float] = deque(maxlen=WINDOW)  # NaN: one target explains it worse
        self._single: deque[bool] = deque(maxlen=WINDOW)  # of the latest bright spots
        self._complain = RateLimitedLog(log, WARN_EVERY_S)

    @property
    def scale(self) -> float:
        """Fitted over told width; NaN until enough spots were seen."""
        with self._lock:
            logs = self._telling()
        return math.exp(float(np.median(logs))) if len(logs) >= LEAST else math.nan

    @property
    def _are_split(self) -> bool:
        """Whether hardly any bright spot is taken for a single target."""
        return bool(self._single) and sum(self._single) < FEWEST_SINGLE * len(self._single)

    def _telling(self) -> Float:
        """ln of the widths that tell: those of single targets, where there are any."""
        if not self._are_split:
            return np.array(self._singles)
        logs = np.array(self._split)
        as_one = logs[np.isfinite(logs)]
        return as_one if len(as_one) >= MOSTLY * len(logs) else np.empty(0)

    def add(self, estimates: Estimates, batch: CropBatch) -> None:
        """Take in the answer to a batch, and warn if the widths have drifted."""
        bright = batch.pixels.max((1, 2), initial=0.0) / batch.noise >= LEAST_SNR
        single = bright & _fitted_alone(estimates)
        # Of a far too wide spot nothing may be published: over five targets, or none that fits.
        answered = (estimates.number > 0) | (estimates.doubt > 0)
        several = np.flatnonzero(bright & answered & (estimates.number != 1))
        singles = self._widths_of(np.flatnonzero(single), estimates, batch).tolist()
        split = []
        if len(several):
            several = several[:MOST_FITS]
            widths, chi2 = widths_as_one(batch.take(several))
            explained = (chi2 < estimates.chi2[several] + MOST_WORSE) | (widths > WIDEST)
            split = np.log(np.where(explained, widths, np.nan)).tolist()
        with self._lock:  # not during the fits
            self._single.extend(single[bright & answered].tolist())
            self._singles.extend(singles)
            self._split.extend(split)
            if single.any() or len(several):
                self._judge()

    def _widths_of(self, rows: NDArray[np.int64], estimates: Estimates, batch: CropBatch) -> Float:
        """ln of single targets' widths; of the farthest off without what the fit expected."""
        logs: Float = np.log(estimates.psf_scale[rows])
        far = np.abs(logs) > FAR_OFF
        if far.any():
            anew, _ = widths_as_one(batch.take(rows[far][:MOST_FITS]))
            logs = np.concatenate([logs[~far], np.log(anew)])
        return logs[np.isfinite(logs)]

    def _judge(self) -> None:
        values = self._telling()
        if len(values) < LEAST:
            return
        middle = float(np.median(values))
        spread = MAD_TO_SIGMA * float(np.median(np.abs(values - middle)))
        error = MEDIAN_ERROR * max(spread, 1e-6) / math.sqrt(len(values))
        if abs(middle) >= LEAST_DRIFT and abs(middle) >= LEAST_SIGNIFICANCE * error:
            kind = "single targets"
            if self._are_split:
                kind = "spots, were they single targets: hardly any is taken for one"
            self._complain.warning(
                "PSF",
                f"the spots are {100 * math.expm1(middle):+.0f} % wider than engine.psf_sigma says "
                f"(median of {len(values)} bright {kind}); `dscsnet calibrate` measures it",
            )


def _fitted_alone(estimates: Estimates) -> NDArray[np.bool_]:
    """(crops,) single targets whose width was fitted."""
    trusted = (estimates.doubt & ~np.uint8(Doubt.PSF)) == 0
    fitted = np.isfinite(estimates.psf_scale)
    result: NDArray[np.bool_] = (estimates.number == 1) & trusted & fitted
    return result


def widths_as_one(batch: CropBatch) -> tuple[Float, Float]:
    """(n,) fitted over told PSF width of crops with one target, and its reduced chi-square."""
    light = np.where(batch.usable, np.maximum(batch.pixels, 0), 0).astype(np.float64)
    total = light.sum((1, 2)) + np.finfo(np.float64).tiny
    place = np.arange(light.shape[-1])
    one = np.ones((len(batch), 1))
    start = Slots(
        ((light.sum(1) @ place) / total)[:, None],
        ((light.sum(2) @ place) / total)[:, None],
        np.log(total)[:, None],
        *(PLACE_SIGMA * one, PLACE_SIGMA * one, LIGHT_SIGMA * one),
    )
    certain = np.log(np.array([[1e-9, 1.0, 1e-9]])) + np.zeros((len(batch), 3))
    fit = refine(
        *(batch.pixels, batch.usable, batch.noise, batch.psf),
        start,
        certain,
        ONE_TARGET,
        table=batch.sensor.table,
        noise_model=batch.sensor.noise_model,
    )
    return fit.psf_factor, fit.chi2

"""Watches whether the spots still have the width that the configuration says.

Heat and vibration move a sensor out of focus; a PSF that is 10 % wider than told makes pairs out of
single targets. The fit frees the PSF width of each crop, so bright single targets tell.
"""

import logging
import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.engine import CropBatch
from dscsnet.engines.estimates import Doubt, Estimates
from dscsnet.pipeline.cropping.robust import MAD_TO_SIGMA
from dscsnet.pipeline.process.logs import RateLimitedLog

log = logging.getLogger(__name__)

#: Spots remembered, and how many of them are needed to say something.
WINDOW, LEAST = 400, 40
#: Brightest pixel over noise from which a spot's width is told well.
LEAST_SNR = 30.0
#: A median this far off, ln, is worth a warning, if it is this many of its standard errors off.
LEAST_DRIFT, LEAST_SIGNIFICANCE = 0.04, 5.0
WARN_EVERY_S = 60.0
#: Standard error of a median over that of a mean, and sigma over the median absolute deviation.
MEDIAN_ERROR = 1.2533


class PsfDrift:
    """Median of the fitted over the told PSF width of recent bright single targets."""

    def __init__(self) -> None:
        self._logs: deque[float] = deque(maxlen=WINDOW)
        self._complain = RateLimitedLog(log, WARN_EVERY_S)

    @property
    def scale(self) -> float:
        """Fitted over told width; NaN until enough spots were seen."""
        return math.exp(float(np.median(self._logs))) if len(self._logs) >= LEAST else math.nan

    def add(self, estimates: Estimates, batch: CropBatch) -> None:
        """Take in the answer to a batch, and warn if the widths have drifted."""
        fresh = np.log(estimates.psf_scale[_telling(estimates, batch)])
        if not len(fresh):
            return
        self._logs.extend(fresh.tolist())
        if len(self._logs) < LEAST:
            return
        values = np.array(self._logs)
        middle = float(np.median(values))
        spread = MAD_TO_SIGMA * float(np.median(np.abs(values - middle)))
        error = MEDIAN_ERROR * max(spread, 1e-6) / math.sqrt(len(values))
        if abs(middle) >= LEAST_DRIFT and abs(middle) >= LEAST_SIGNIFICANCE * error:
            self._complain.warning(
                "PSF",
                f"the spots are {100 * math.expm1(middle):+.0f} % wider than engine.psf_sigma says "
                f"(median of {len(values)} bright single targets); `dscsnet calibrate` measures it",
            )


def _telling(estimates: Estimates, batch: CropBatch) -> NDArray[np.bool_]:
    """(crops,) bright single targets whose width was fitted."""
    peak = batch.pixels.max((1, 2), initial=0.0) / batch.noise
    trusted = (estimates.doubt & ~np.uint8(Doubt.PSF)) == 0
    fitted = np.isfinite(estimates.psf_scale)
    telling: NDArray[np.bool_] = (estimates.number == 1) & trusted & fitted & (peak >= LEAST_SNR)
    return telling

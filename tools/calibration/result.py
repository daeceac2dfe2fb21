"""What a calibration is told and what it tells."""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.noise_model import PSF_ERROR
from dscsnet.tools.calibration.noise import Noise
from dscsnet.tools.calibration.psf import Ellipse, ellipse

#: Chi-square of two degrees of freedom above which a PSF is no circle: 1 of 1000 circles.
ELLIPTICAL = 13.8
#: Errors of its covariance from which an ellipse counts as turned.
TURNED_ERRORS = 3.0


@dataclass(frozen=True)
class CalibrationSettings:
    """How a recording is measured.

    Attributes:
        frames: frames to read, at most.
        least_snr: peak over noise of the faintest spot that is used.
        saturation: count from which a pixel is saturated; None: as the pixels tell.
        gain: electrons per count, where known; None: as measured, if it can be.
    """

    frames: int = 300
    least_snr: float = 15.0
    saturation: float | None = None
    gain: float | None = None


@dataclass(frozen=True)
class SpotTable:
    """The spots that a single Gaussian explains: columns of one length.

    Attributes:
        pixels: (n, size, size) counts above the fitted background.
        parameters: (n, 12) of the fit, with the common PSF for those in use (`fit`).
        sigma, sigma_error: (n,) each spot's own round width, px.
        noise: (n,) counts.
        used: (n,) bool, of the narrow mode.
        track: (n,) int, number of the object.
    """

    pixels: Float
    parameters: Float
    sigma: Float
    sigma_error: Float
    noise: Float
    used: NDArray[np.bool_]
    track: NDArray[np.int64]


@dataclass(frozen=True)
class Psf:
    """The PSF, before the pixels integrate it; errors are 1-sigma.

    Attributes:
        covariance: (3,) xx, yy, xy of the light, px².
        error: (3, 3) covariance of these, px⁴.
        scatter: relative scatter of the widths of objects beyond their errors.
        misfit: largest residual of the mean spot, as a share of its peak; NaN where the spots are
            too few or too faint to tell.
        rms_misfit: root mean square residual of the mean spot over that of its light, beyond what
            its own errors explain; at least what no measurement of a PSF betters. Both are beside
            the sampled PSF where there is one, whose own error is in the second.
    """

    covariance: Float
    error: Float
    scatter: float
    misfit: float
    rms_misfit: float = PSF_ERROR

    @property
    def is_turned(self) -> bool:
        """Whether it is an ellipse whose axes are not the image's, beyond its errors."""
        xy, error = self.covariance[2], math.sqrt(self.error[2, 2])
        return self.elliptical and abs(xy) > TURNED_ERRORS * error

    @property
    def sigma(self) -> tuple[float, float]:
        """Standard deviations along x and y, px."""
        return math.sqrt(self.covariance[0]), math.sqrt(self.covariance[1])

    @property
    def sigma_error(self) -> tuple[float, float]:
        """Errors of these, px."""
        along = np.sqrt(np.diag(self.error)[:2]) / (2 * np.array(self.sigma))
        return float(along[0]), float(along[1])

    @property
    def elliptical(self) -> bool:
        """Whether a circle does not explain the spots."""
        turn = np.array([[0.5, -0.5, 0], [0, 0, 1]])
        stretch = turn @ self.covariance
        return bool(stretch @ np.linalg.solve(turn @ self.error @ turn.T, stretch) > ELLIPTICAL)

    @property
    def axes(self) -> Ellipse:
        """Long and short axis and angle: the angle is NaN, and both are alike, for a circle."""
        if self.elliptical:
            return ellipse(self.covariance)
        round_sigma = math.sqrt(0.5 * (self.covariance[0] + self.covariance[1]))
        return Ellipse(round_sigma, round_sigma, math.nan)

    @property
    def axes_error(self) -> Ellipse:
        """Errors of `axes`."""
        xx, yy, xy = self.covariance
        half, long, short = 0.5 * (xx - yy), *self.axes[:2]
        middle = np.array([0.5, 0.5, 0.0])
        if not self.elliptical:
            error = self._error_of(middle) / (2 * long)
            return Ellipse(error, error, math.nan)
        swing = math.hypot(half, xy)
        stretch = np.array([0.5 * half, -0.5 * half, xy]) / swing
        turn = np.array([-0.5 * xy, 0.5 * xy, half]) / (2 * swing**2)
        return Ellipse(
            self._error_of(middle + stretch) / (2 * long),
            self._error_of(middle - stretch) / (2 * short),
            math.degrees(self._error_of(turn)),
        )

    def _error_of(self, derivative: Float) -> float:
        return math.sqrt(float(derivative @ self.error @ derivative))


@dataclass(frozen=True)
class SampledPsf:
    """A PSF on a grid.

    Attributes:
        samples: (n, n) light per square px, before pixels integrate it; the middle sample is its
            core's centre.
        oversampling: samples per px.
        error: standard error, as a share of the light: root mean square over it.
    """

    samples: Float
    oversampling: int
    error: float


@dataclass(frozen=True)
class Windows:
    """Spots to fit: columns of one length.

    Attributes:
        values: (n, size, size) counts, NaN where a pixel does not count.
        noise: (n,) of a background pixel, counts.
        x, y: (n,) place, px from the first pixel's centre.
        intensity: (n,) counts.
    """

    values: Float
    noise: Float
    x: Float
    y: Float
    intensity: Float


@dataclass(frozen=True)
class SampledFit:
    """A PSF, and its spots as they are under it.

    Attributes:
        psf: the PSF.
        spots: with their places and counts, the background taken off.
        light: (n, size, size) counts of the fit.
    """

    psf: SampledPsf
    spots: Windows
    light: Float


@dataclass(frozen=True)
class Calibration:
    """What a recording tells.

    Attributes:
        recording: its description.
        frames: frames read.
        psf: None where it cannot be told.
        problem: why it cannot and what to do, one line; empty where it can.
        warnings: doubts, one line each.
        noise: None where there is none to be seen.
        spots: those that a single Gaussian explains; None where there is none.
        objects: objects that the PSF comes from.
        dropped: candidate spots left out, by reason.
        found: candidate spots.
        saturation: count from which pixels were taken to be saturated; None: none was met.
        sampled: the PSF where it is no Gaussian, and is known well enough to say so.
    """

    recording: str
    frames: int
    psf: Psf | None
    problem: str
    warnings: tuple[str, ...]
    noise: Noise | None
    spots: SpotTable | None
    objects: int
    dropped: Counter[str]
    found: int
    saturation: float | None = None
    sampled: SampledFit | None = None

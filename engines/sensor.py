"""What is known of a sensor: its PSF, and how light adds to a pixel's noise."""

import math
from dataclasses import dataclass

from dscsnet.engines.array_types import Float
from dscsnet.engines.errors import ModelError
from dscsnet.engines.fitting.psf import NO_TABLE, elliptical_table, moments, sampled_table
from dscsnet.engines.fitting.spline import PsfTable
from dscsnet.engines.noise_model import USUAL_NOISE, NoiseModel

#: PSF sigma along x and y, px.
Psf = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Sensor:
    """A sensor's PSF and noise.

    Attributes:
        psf: sigma along the image's x and y, px; of a PSF that is no Gaussian, of its core.
        covariance_xy: of the same Gaussian, px squared; 0 where its axes are the image's.
        table: the PSF where it is no Gaussian along the image's axes; else `NO_TABLE`, and the
            widths of each crop hold.
        noise_model: what light adds to a pixel's noise.
    """

    psf: Psf
    covariance_xy: float = 0.0
    table: PsfTable = NO_TABLE
    noise_model: NoiseModel = USUAL_NOISE

    @property
    def is_tabled(self) -> bool:
        """Whether the PSF is a table, one for all crops."""
        return self.table.coefficients.size > 0

    @staticmethod
    def gaussian(
        sigma_x: float,
        sigma_y: float | None = None,
        angle: float = 0.0,
        *,
        noise_model: NoiseModel = USUAL_NOISE,
    ) -> "Sensor":
        """A Gaussian PSF, its own x axis turned towards y by an angle, degrees.

        Args:
            sigma_x, sigma_y: standard deviations along its own axes, px.

        Raises:
            ModelError: one sigma is too many times the other.
        """
        sigma_y = sigma_x if sigma_y is None else sigma_y
        if sigma_x == sigma_y or angle % 180 == 0:
            return Sensor((sigma_x, sigma_y), noise_model=noise_model)
        if angle % 180 == 90:
            return Sensor((sigma_y, sigma_x), noise_model=noise_model)
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        along = (
            math.hypot(sigma_x * cosine, sigma_y * sine),
            math.hypot(sigma_x * sine, sigma_y * cosine),
        )
        leaning = (sigma_x**2 - sigma_y**2) * sine * cosine
        table = elliptical_table(sigma_x, sigma_y, angle)
        return Sensor(along, leaning, table, noise_model)

    @staticmethod
    def sampled(
        samples: Float, oversampling: int, *, noise_model: NoiseModel = USUAL_NOISE
    ) -> "Sensor":
        """A PSF given by samples, before any integration over pixels; see `sampled_table`.

        Raises:
            ModelError: the samples are not a PSF.
        """
        table = sampled_table(samples, oversampling)
        xx, yy, xy = moments(samples, oversampling)
        if not (xx > 0 and yy > 0):
            raise ModelError("a PSF's samples must have a width")
        return Sensor((math.sqrt(xx), math.sqrt(yy)), xy, table, noise_model)

"""The noise of a pixel, one model for networks, fits, readouts and the simulator.

    variance = noise² + signal / gain + (psf_error · signal)²

with the background's noise (of the sensor, the sky and rounding; measured in each crop) and the
signal, a target's light on the pixel, both in counts.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: What nobody knows of a PSF, even one that was measured well, as a share of a target's light.
PSF_ERROR = 1e-3
#: The networks saw crops whose brightest pixel was this many times the noise, at most.
MOST_SNR = 500.0


class NoiseModel(NamedTuple):
    """How light adds to a pixel's noise.

    Attributes:
        gain: electrons a count, so that light has shot noise; infinite: none beyond that of the
            background.
        psf_error: root mean square error of the PSF on a pixel, as a share of the light there.
    """

    gain: float = math.inf
    psf_error: float = PSF_ERROR

    def checked(self) -> "NoiseModel":
        """The same; ValueError where a number is impossible."""
        if not self.gain > 0:
            raise ValueError(f"gain must be above 0 electrons a count, got {self.gain}")
        if not 0 <= self.psf_error <= 1:
            raise ValueError(f"psf_error must be from 0 to 1, got {self.psf_error}")
        return self

    @staticmethod
    def told(gain: float | None, psf_error: float) -> "NoiseModel":
        """As a caller states it, of the types that compiled loops take.

        Args:
            gain: None: none is known, light has no shot noise.

        Raises:
            ValueError: a number is impossible.
        """
        return NoiseModel(math.inf if gain is None else float(gain), float(psf_error)).checked()

    def at_peak(
        self,
        pixels: NDArray[np.float32],
        usable: NDArray[np.bool_],
        noise: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """(n,) noise of each crop's brightest usable pixel, counts, for what takes one number.

        It keeps a network within the brightness that it was trained on.

        Args:
            pixels, usable: (n, s, s) counts above background, and pixels that count.
            noise: (n,) of the background, counts.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            seen = np.where(usable & np.isfinite(pixels), pixels, 0)
            peak = seen.max((1, 2), initial=0).astype(np.float64)
            error = max(self.psf_error, 1 / MOST_SNR)
            shot = np.sqrt(peak / self.gain)
            return np.hypot(np.hypot(noise, shot), error * peak).astype(np.float32)


#: What light adds where nobody said more.
USUAL_NOISE = NoiseModel()
#: For tables and tests: light adds nothing.
NO_LIGHT_NOISE = NoiseModel(math.inf, 0.0)

"""Background synthesis: random fields with a power-law spectrum, and their sub-pixel drift."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

TAPS = 4  # of the cubic interpolation


def power_law_texture(size: int, exponent: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Make a periodic Gaussian random field.

    Args:
        size: side, px; it repeats after that.
        exponent: the amplitude spectrum falls as spatial frequency to the power of minus this.
        rng: source of randomness.

    Returns:
        (size, size) float32 of zero mean and unit standard deviation.
    """
    spectrum = np.fft.rfft2(rng.standard_normal((size, size)))
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf  # no mean
    texture = np.fft.irfft2(spectrum * frequency**-exponent, s=(size, size))
    return (texture / texture.std()).astype(np.float32)


def cubic_taps(fraction: float) -> NDArray[np.float32]:
    """Weights of the samples at -1, 0, 1, 2 for the value at `fraction` (Catmull-Rom spline).

    Args:
        fraction: 0 to 1, px.

    Returns:
        (4,) float32, which add up to 1.
    """
    t = fraction
    return np.array(
        [
            ((2 - t) * t - 1) * t / 2,
            ((3 * t - 5) * t * t + 2) / 2,
            ((4 - 3 * t) * t + 1) * t / 2,
            (t - 1) * t * t / 2,
        ],
        np.float32,
    )


class DriftingTexture:
    """Cuts frames out of a periodic texture at any sub-pixel shift.

    Args:
        texture: (size, size) float32, periodic.
        shape: (height, width) of the frames, px.
    """

    def __init__(self, texture: NDArray[np.float32], shape: tuple[int, int]) -> None:
        self._period = texture.shape[0]
        self._shape = shape
        pad = [(0, extent + TAPS) for extent in shape]
        self._padded = np.pad(texture, pad, mode="wrap")

    def shifted(self, x: float, y: float) -> NDArray[np.float32]:
        """Return the frame with the texture moved right by x and down by y, px.

        Returns:
            (height, width) float32; frame pixel (column, row) shows the texture at
            (column - x, row - y), interpolated by cubic splines.
        """
        height, width = self._shape
        column, taps_x = self._start(x)
        row, taps_y = self._start(y)
        rows = slice(row, row + height + TAPS - 1)
        columns = slice(column, column + width + TAPS - 1)
        mixed = cv2.sepFilter2D(self._padded[rows, columns], -1, taps_x, taps_y, anchor=(0, 0))
        return mixed[:height, :width]

    def _start(self, shift: float) -> tuple[int, NDArray[np.float32]]:
        """First padded pixel needed, and the interpolation's weights."""
        whole = math.floor(-shift)
        return (whole - 1) % self._period, cubic_taps(-shift - whole)

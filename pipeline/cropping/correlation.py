"""Whether the noise of neighbouring pixels is correlated, as in frames that were resampled.

Fits take each pixel's noise for its own. Noise that was smoothed by interpolation or compression
has bumps of a target's size, which they take for targets. What shows it is that the quickest part
of the noise is missing.
"""

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import checked_kernel

#: Samples along each axis of a frame.
SAMPLES = 512
#: Variance of the third differences of neighbours over that of every other pixel, below which noise
#: is correlated: 4 standard errors of so many samples. Of white noise both are alike, and clouds
#: leave nothing in either.
LEAST_RATIO = 0.65
#: Values beyond so many medians of the absolute ones, 3 sigma, belong to targets, not to noise.
CLIP = 4.45
#: Below this variance, squared counts, whole numbers have no noise to speak of.
LEAST_OF_WHOLE = 0.3


def is_correlated(frame: NDArray[np.generic]) -> bool:
    """Whether the frame's noise is correlated along x or y.

    Args:
        frame: (H, W) uint8, uint16 or float32, in C order and read-only.
    """
    if min(frame.shape) < 7:
        return False
    least = LEAST_OF_WHOLE if frame.dtype.kind == "u" else 0.0
    return any(
        slow > least and quick < LEAST_RATIO * slow
        for quick, slow in (_variances(frame, True), _variances(frame, False))
    )


@checked_kernel
def _variances(frame: NDArray[np.generic], along_x: bool) -> tuple[float, float]:
    """Variances of the quick and the slow part along one axis; white noise has both alike."""
    height, width = frame.shape
    last_row, last_column = (height, width - 6) if along_x else (height - 6, width)
    quick, slow = np.empty(SAMPLES), np.empty(SAMPLES)
    found, total = 0, last_row * last_column
    step = max(total // SAMPLES, 1)
    line = np.empty(7)
    for place in range(0, total, step):
        row, column = place // last_column, place % last_column
        for k in range(7):
            line[k] = frame[row, column + k] if along_x else frame[row + k, column]
        quick[found] = line[0] - 3 * line[1] + 3 * line[2] - line[3]
        slow[found] = line[0] - 3 * line[2] + 3 * line[4] - line[6]
        # Written so that NaN is left out.
        if abs(quick[found]) < np.inf and abs(slow[found]) < np.inf:
            found += 1
        if found == SAMPLES:
            break
    return _clipped(quick[:found]) / 20, _clipped(slow[:found]) / 20


@checked_kernel
def _clipped(values: Float) -> float:
    """Mean square without outliers."""
    if not values.size:
        return 0.0
    limit = CLIP * np.median(np.abs(values))
    total, number = 0.0, 0
    for value in values:
        if abs(value) <= limit:
            total += value * value
            number += 1
    return total / max(number, 1)

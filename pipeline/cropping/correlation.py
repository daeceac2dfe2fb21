"""Whether the noise of neighbouring pixels is correlated, as in frames that were resampled.

Fits take each pixel's noise for its own. Noise that was smoothed by interpolation or compression
has bumps of a target's size, which they take for targets. What shows it is that the quickest part
of the noise is missing.
"""

import math

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import checked_kernel

#: Bands of rows that are looked at, and places along each: few rows, for their pixels lie side by
#: side in memory.
BANDS, PLACES = 8, 64
#: Places that must be free of targets, whose light is no noise, and how far away these must be, px.
LEAST_FREE, CLEAR = 128, 9
#: Noise is correlated where the variance of the third differences of neighbours is less than that
#: of every other pixel by so many standard errors, each the root of 4 over the number of places. Of
#: white noise both are alike, and clouds leave nothing in either.
CERTAIN = 4.0
#: Values beyond so many medians of the absolute ones, 3 sigma, belong to targets, not to noise.
CLIP = 4.45
#: Below this variance, squared counts, whole numbers have no noise to speak of.
LEAST_OF_WHOLE = 0.3


def is_correlated(frame: NDArray[np.generic], x: NDArray[np.int64], y: NDArray[np.int64]) -> bool:
    """Whether the frame's noise is correlated along x or y.

    Args:
        frame: (H, W) uint8, uint16 or float32, in C order and read-only.
        x, y: (n,) where there are targets, px.
    """
    if min(frame.shape) < 7:
        return False
    least = LEAST_OF_WHOLE if frame.dtype.kind == "u" else 0.0
    for along_x in (True, False):
        quick, slow, number = _variances(frame, x, y, along_x)
        if number < LEAST_FREE or not slow > least:
            continue
        if quick < (1 - CERTAIN * math.sqrt(4 / number)) * slow:
            return True
    return False


@checked_kernel
def _variances(
    frame: NDArray[np.generic], x: NDArray[np.int64], y: NDArray[np.int64], along_x: bool
) -> tuple[float, float, int]:
    """Variances of the quick and the slow part along one axis, and of how many places they are."""
    height, width = frame.shape
    last_row, last_column = (height, width - 6) if along_x else (height - 6, width)
    quick, slow = np.empty(BANDS * PLACES), np.empty(BANDS * PLACES)
    found, line = 0, np.empty(7)
    for band in range(BANDS):
        row = (2 * band + 1) * last_row // (2 * BANDS)
        for place in range(PLACES):
            column = (2 * place + 1) * last_column // (2 * PLACES)
            if not _is_free(row, column, x, y):
                continue
            for k in range(7):
                line[k] = frame[row, column + k] if along_x else frame[row + k, column]
            quick[found] = line[0] - 3 * line[1] + 3 * line[2] - line[3]
            slow[found] = line[0] - 3 * line[2] + 3 * line[4] - line[6]
            # Written so that NaN is left out.
            if abs(quick[found]) < np.inf and abs(slow[found]) < np.inf:
                found += 1
    return _clipped(quick[:found]) / 20, _clipped(slow[:found]) / 20, found


@checked_kernel
def _is_free(row: int, column: int, x: NDArray[np.int64], y: NDArray[np.int64]) -> bool:
    for k in range(x.size):
        if abs(y[k] - row - 3) <= CLEAR and abs(x[k] - column - 3) <= CLEAR:
            return False
    return True


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

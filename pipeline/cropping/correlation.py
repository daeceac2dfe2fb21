"""Whether the noise of neighbouring pixels is correlated, as in frames that were resampled.

Fits take each pixel's noise for its own. Noise that was smoothed by interpolation or compression
has bumps of a target's size, which they take for targets. What shows it is that the quickest part
of the noise is missing.
"""

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import checked_kernel

#: Places that are looked at along each axis of a frame; those at least that must be free of
#: targets, whose light is no noise; and how far away these must be, px.
PLACES, LEAST_FREE, CLEAR = 1024, 128, 9
#: Variance of the third differences of neighbours over that of every other pixel, below which
#: noise is correlated: 4 standard errors of some hundred samples. Of white noise both are alike,
#: and clouds leave nothing in either.
LEAST_RATIO = 0.65
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
    return any(
        slow > least and quick < LEAST_RATIO * slow
        for quick, slow in (_variances(frame, x, y, True), _variances(frame, x, y, False))
    )


@checked_kernel
def _variances(
    frame: NDArray[np.generic], x: NDArray[np.int64], y: NDArray[np.int64], along_x: bool
) -> tuple[float, float]:
    """Variances of the quick and the slow part along one axis; white noise has both alike.

    0 where too little of the frame is free of targets.
    """
    height, width = frame.shape
    last_row, last_column = (height, width - 6) if along_x else (height - 6, width)
    quick, slow = np.empty(PLACES), np.empty(PLACES)
    found, total = 0, last_row * last_column
    step = max(-(-total // PLACES), 1)
    line = np.empty(7)
    for place in range(0, total, step):
        row, column = place // last_column, place % last_column
        if not _is_free(row, column, x, y):
            continue
        for k in range(7):
            line[k] = frame[row, column + k] if along_x else frame[row + k, column]
        quick[found] = line[0] - 3 * line[1] + 3 * line[2] - line[3]
        slow[found] = line[0] - 3 * line[2] + 3 * line[4] - line[6]
        # Written so that NaN is left out.
        if abs(quick[found]) < np.inf and abs(slow[found]) < np.inf:
            found += 1
    if found < LEAST_FREE:
        return 0.0, 0.0
    return _clipped(quick[:found]) / 20, _clipped(slow[:found]) / 20


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

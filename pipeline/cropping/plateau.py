"""Saturation that nobody told: spots whose brightest pixels are all alike.

Noise makes neighbours differ; where three or more of the brightest pixels of a spot are equal, and
no pixel of any spot is brighter, something has cut the light off. Compiled.
"""

import math

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import checked_kernel
from dscsnet.pipeline.cropping.states import SATURATED
from dscsnet.pipeline.messages import SpotFlag

#: Pixels of a plateau, each beside another one of it.
LEAST_PIXELS = 3
#: Height of a plateau over the crop's typical pixel, in its noise: near the top of a fainter or
#: wider spot three pixels may be alike by chance.
LEAST_HEIGHT = 30.0
#: Share of neighbours that are equal, above which a crop has too little noise to tell.
MOST_EQUAL = 0.5

_FLAG = int(SpotFlag.SATURATED)


@checked_kernel
def plateau(values: Float, states: NDArray[np.uint8]) -> float:
    """The count at which pixels are cut off; infinite where none are.

    Args:
        values: (n, size, size) counts.
        states: (n, size, size) what is wrong with each pixel.
    """
    highest = -math.inf
    for crop in range(values.shape[0]):
        for value, state in zip(values[crop].flat, states[crop].flat):  # noqa: B905 - numba
            if not state:
                highest = max(highest, value)
    for crop in range(values.shape[0]):
        if _alike(values[crop], states[crop], highest) >= LEAST_PIXELS and _stands_out(
            values[crop], states[crop], highest
        ):
            return highest
    return math.inf


@checked_kernel
def clip(values: Float, states: NDArray[np.uint8], flags: NDArray[np.uint32], level: float) -> None:
    """Mark the pixels at and above a count as saturated, in place."""
    for crop in range(values.shape[0]):
        for row in range(values.shape[1]):
            for column in range(values.shape[2]):
                if not states[crop, row, column] and values[crop, row, column] >= level:
                    states[crop, row, column] = SATURATED
                    flags[crop] |= np.uint32(_FLAG)


@checked_kernel
def _alike(values: Float, states: NDArray[np.uint8], level: float) -> int:
    """Pixels at the level that have another one beside them."""
    size, found = values.shape[0], 0
    for row in range(size):
        for column in range(size):
            if states[row, column] or values[row, column] != level:
                continue
            near = 0
            for i in range(max(row - 1, 0), min(row + 2, size)):
                for j in range(max(column - 1, 0), min(column + 2, size)):
                    near += not states[i, j] and values[i, j] == level
            found += near > 1
    return found


@checked_kernel
def _stands_out(values: Float, states: NDArray[np.uint8], level: float) -> bool:
    """Whether a level is far above a crop that has noise."""
    size = values.shape[0]
    steps, found, equal = np.empty(size * size), 0, 0
    for row in range(size):
        for column in range(size - 1):
            if states[row, column] or states[row, column + 1]:
                continue
            if values[row, column] >= level or values[row, column + 1] >= level:
                continue
            steps[found] = abs(values[row, column + 1] - values[row, column])
            equal += steps[found] == 0
            found += 1
    if found < size or equal > MOST_EQUAL * found:
        return False
    # Of white noise the median of the steps is 0.954 sigma.
    noise = np.median(steps[:found]) / 0.954
    return level - np.median(values) > LEAST_HEIGHT * noise

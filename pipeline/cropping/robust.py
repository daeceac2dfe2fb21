"""Robust statistics of a few values, compiled."""

import math

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.compiled import checked_kernel

#: Median absolute deviation of Gaussian noise to its standard deviation: 1 / Phi^-1(3/4).
MAD_TO_SIGMA = 1.482602218505602


@checked_kernel
def biweight_variance(cutoff: float) -> float:
    """Variance of unit Gaussian noise under biweights of that cut-off (in sigma), at most 1.

    It is E[w r^2] / E[w] with w = (1 - (r / cutoff)^2)^2 inside the cut-off and 0 outside.
    """
    density = math.exp(-0.5 * cutoff * cutoff) / math.sqrt(2 * math.pi)
    moment0 = math.erf(cutoff / math.sqrt(2.0))
    moment2 = moment0 - 2 * cutoff * density
    moment4 = 3 * moment2 - 2 * cutoff**3 * density
    moment6 = 5 * moment4 - 2 * cutoff**5 * density
    square = cutoff * cutoff
    weight = moment0 - 2 * moment2 / square + moment4 / square**2
    return (moment2 - 2 * moment4 / square + moment6 / square**2) / weight


@checked_kernel
def median(values: NDArray[np.float64]) -> float:
    """Median of finite values by quickselect; reorders `values`, which must not be empty."""
    middle = values.size // 2
    low, high = 0, values.size - 1
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] < pivot:
                left += 1
            while values[right] > pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if middle <= right:
            high = right
        elif middle >= left:
            low = left
        else:
            break
    if values.size % 2:
        return values[middle]
    # Quickselect left the smaller half below the middle.
    below = values[0]
    for i in range(1, middle):
        below = max(below, values[i])
    return 0.5 * (values[middle] + below)


@checked_kernel
def sort_in_place(values: NDArray[np.float64]) -> None:
    """Shell sort in place: as fast as `np.sort` for so few values, and compiled in no time."""
    gap = 1
    while gap < values.size // 3:
        gap = 3 * gap + 1
    while gap:
        for i in range(gap, values.size):
            value = values[i]
            place = i
            while place >= gap and values[place - gap] > value:
                values[place] = values[place - gap]
                place -= gap
            values[place] = value
        gap //= 3


@checked_kernel
def resolution(ordered: NDArray[np.float64], least_step: float) -> float:
    """Step of the pixel values: `least_step`, or the smallest gap where most values are ties.

    So 8-bit data that were scaled to 16 bits or to 0..1 are known for what they are. The two
    outermost gaps on either side do not count, for they may come from odd pixels.
    """
    levels = 1
    smallest = math.inf
    for i in range(1, ordered.size):
        gap = ordered[i] - ordered[i - 1]
        if gap > 0:
            levels += 1
            if 3 <= i < ordered.size - 2:
                smallest = min(smallest, gap)
    if 2 * levels <= ordered.size and smallest < math.inf:
        return max(least_step, smallest)
    return least_step

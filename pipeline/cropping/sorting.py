"""Sorting for compiled loops.

numba's own sorting takes seconds to compile for each type and each use; this is one routine for
all keys.
"""

import math

import numpy as np

from dscsnet.engines.array_types import Float, Index
from dscsnet.engines.compiled import checked_kernel


@checked_kernel
def take(values: Float, places: Index) -> Float:
    """The values at these places."""
    taken = np.empty(places.size)
    for i in range(places.size):
        taken[i] = values[places[i]]
    return taken


@checked_kernel
def sorted_order(keys: Float) -> Index:
    """Stable merge sort: the places of the keys in rising order, NaN last."""
    order, spare = np.arange(keys.size), np.empty(keys.size, np.int64)
    run = 1
    while run < keys.size:
        for start in range(0, keys.size, 2 * run):
            left, left_end = start, start + run
            right, right_end = left_end, min(start + 2 * run, keys.size)
            for place in range(start, right_end):
                take_left = right >= right_end
                if left < left_end and right < right_end:
                    one, other = keys[order[left]], keys[order[right]]
                    take_left = one <= other or math.isnan(other)
                if take_left:
                    spare[place] = order[left]
                    left += 1
                else:
                    spare[place] = order[right]
                    right += 1
        order, spare = spare, order
        run *= 2
    return order


@checked_kernel
def first_from(ordered: Float, least: float) -> int:
    """First place in rising `ordered` (NaN last) that is not less than `least`."""
    low, high = 0, ordered.size
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < least:
            low = middle + 1
        else:
            high = middle
    return low


@checked_kernel
def strength_order_of(score: Float) -> Index:
    """Places in falling order of score; ties keep their order, NaN is last."""
    weakness = np.empty(score.size)
    for i in range(score.size):
        weakness[i] = -score[i]
    return sorted_order(weakness)


@checked_kernel
def ranks(order: Index) -> Index:
    """The inverse of an order."""
    rank = np.empty(order.size, np.int64)
    for place in range(order.size):
        rank[order[place]] = place
    return rank


@checked_kernel
def run_end(cells: Float, start: int) -> int:
    """End of the run of equal values that begins at `start`."""
    end = start + 1
    while end < cells.size and cells[end] == cells[start]:
        end += 1
    return end

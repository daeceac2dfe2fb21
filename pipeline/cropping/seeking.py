"""Where in a detector's box the light is.

A box of many pixels says little of where its targets are, and a crop unmixes what lies about its
middle. So the crops of a box are centred on its peaks: local maxima of the mean of 3 x 3 pixels
over that of the 9 x 9 around them.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float, Index
from dscsnet.engines.compiled import checked_kernel
from dscsnet.pipeline.cropping.robust import MAD_TO_SIGMA, median
from dscsnet.pipeline.cropping.sorting import strength_order_of

#: A box with a longer side, px, is searched; what a smaller one holds lies in one crop's field.
SEARCHED = 4.0
#: Peaks of a box that are taken, strongest first.
MOST_PEAKS = 64
#: Height of a peak over the scatter of the box and its surroundings.
LEAST_HEIGHT = 3.5
#: Half the sides of the two means, and how far around a box pixels tell of the scatter.
INNER, OUTER, AROUND = 1, 4, 4
#: Pixels of a box and its surroundings along a side, at most; more of them are left out.
MOST_SIDE = 512
#: Pixels of all boxes of a frame with their surroundings; boxes beyond are not searched.
MOST_PIXELS = 1 << 21


class Peaks(NamedTuple):
    """Peaks of all boxes.

    Attributes:
        x, y: (n,) px, whole.
        owner: (n,) index of the candidate whose box each lies in.
        lost: (candidates,) 1 where a box may have more peaks than are taken.
    """

    x: Float
    y: Float
    owner: Index
    lost: Index


@checked_kernel
def find_peaks(frame: NDArray[np.generic], bad_pixels: NDArray[np.bool_], boxes: Float) -> Peaks:
    """Search the boxes that are large enough.

    Args:
        frame: (H, W) counts.
        bad_pixels: (H, W), or of no size: none.
        boxes: (n, 4) left, right, top, bottom, px, within the frame; NaN: a candidate without.
    """
    height, width = frame.shape
    found_x, found_y = [0.0 for _ in range(0)], [0.0 for _ in range(0)]
    owner = [0 for _ in range(0)]
    lost = np.zeros(len(boxes), np.int64)
    room = MOST_PIXELS
    for i in range(len(boxes)):
        long = max(boxes[i, 1] - boxes[i, 0], boxes[i, 3] - boxes[i, 2])
        # Written so that NaN is not searched.
        if not long > SEARCHED:
            continue
        left, right = max(int(np.ceil(boxes[i, 0])), 0), min(int(np.floor(boxes[i, 1])), width - 1)
        top, bottom = max(int(np.ceil(boxes[i, 2])), 0), min(int(np.floor(boxes[i, 3])), height - 1)
        if right - left >= MOST_SIDE or bottom - top >= MOST_SIDE:
            lost[i] = 1
            right, bottom = min(right, left + MOST_SIDE - 1), min(bottom, top + MOST_SIDE - 1)
        first_x, first_y = max(left - AROUND, 0), max(top - AROUND, 0)
        last_x, last_y = min(right + AROUND, width - 1), min(bottom + AROUND, height - 1)
        area = (last_x - first_x + 1) * (last_y - first_y + 1)
        if area > room:
            lost[i] = 1
            continue
        room -= area
        rise = _rises(frame, bad_pixels, first_x, last_x, first_y, last_y)
        rows, columns, heights = _maxima(
            rise, left - first_x, right - first_x, top - first_y, bottom - first_y, _least(rise)
        )
        order = strength_order_of(heights)
        if order.size > MOST_PEAKS:
            lost[i] = 1
        for place in order[:MOST_PEAKS]:
            found_x.append(float(columns[place] + first_x))
            found_y.append(float(rows[place] + first_y))
            owner.append(i)
    return Peaks(np.array(found_x), np.array(found_y), np.array(owner, np.int64), lost)


@checked_kernel
def _least(rise: Float) -> float:
    """Rise from which on a peak stands out of the scatter."""
    flat = rise.copy().reshape(-1)
    middle = median(flat)
    for k in range(flat.size):
        flat[k] = abs(flat[k] - middle)
    return middle + LEAST_HEIGHT * MAD_TO_SIGMA * median(flat)


@checked_kernel
def _rises(
    frame: NDArray[np.generic],
    bad_pixels: NDArray[np.bool_],
    first_x: int,
    last_x: int,
    first_y: int,
    last_y: int,
) -> Float:
    """Inner less outer mean about each pixel of a region; of good pixels of the region alone."""
    rows, columns = last_y - first_y + 1, last_x - first_x + 1
    sums, counts = np.zeros((rows + 1, columns + 1)), np.zeros((rows + 1, columns + 1))
    # Relative to one of its pixels: sums of large counts would lose digits.
    reference = float(frame[first_y, first_x])
    if not np.isfinite(reference):
        reference = 0.0
    for row in range(rows):
        for column in range(columns):
            value = float(frame[first_y + row, first_x + column]) - reference
            good = abs(value) < np.inf
            if bad_pixels.size and bad_pixels[first_y + row, first_x + column]:
                good = False
            above, beside, corner = (
                (row, column + 1),
                (row + 1, column),
                (row, column),
            )
            sums[row + 1, column + 1] = (
                sums[above] + sums[beside] - sums[corner] + (value if good else 0.0)
            )
            counts[row + 1, column + 1] = (
                counts[above] + counts[beside] - counts[corner] + (1.0 if good else 0.0)
            )
    rise = np.zeros((rows, columns))
    for row in range(rows):
        for column in range(columns):
            inner, of_inner = _box_sum(sums, counts, row, column, INNER)
            outer, of_outer = _box_sum(sums, counts, row, column, OUTER)
            if of_inner > 0 and of_outer > of_inner:
                around = (outer - inner) / (of_outer - of_inner)
                rise[row, column] = inner / of_inner - around
    return rise


@checked_kernel
def _box_sum(sums: Float, counts: Float, row: int, column: int, reach: int) -> tuple[float, float]:
    """Sum and number of the good pixels of a square, as far as it lies in the region."""
    top, left = max(row - reach, 0), max(column - reach, 0)
    bottom = min(row + reach + 1, sums.shape[0] - 1)
    right = min(column + reach + 1, sums.shape[1] - 1)
    total = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    number = counts[bottom, right] - counts[top, right] - counts[bottom, left] + counts[top, left]
    return total, number


@checked_kernel
def _maxima(
    rise: Float, left: int, right: int, top: int, bottom: int, least: float
) -> tuple[Index, Index, Float]:
    """Row, column and height of the local maxima above `least`; of a plateau the first pixel."""
    rows, columns = rise.shape
    found = 0
    size = (bottom - top + 1) * (right - left + 1)
    at_row, at_column = np.empty(size, np.int64), np.empty(size, np.int64)
    height = np.empty(size)
    for row in range(top, bottom + 1):
        for column in range(left, right + 1):
            value = rise[row, column]
            if not value > least:
                continue
            greatest = True
            for near_row in range(max(row - 1, 0), min(row + 2, rows)):
                for near_column in range(max(column - 1, 0), min(column + 2, columns)):
                    earlier = (near_row, near_column) < (row, column)
                    other = rise[near_row, near_column]
                    if other > value or (earlier and other == value):
                        greatest = False
            if greatest:
                at_row[found], at_column[found], height[found] = row, column, value
                found += 1
    return at_row[:found].copy(), at_column[:found].copy(), height[:found].copy()

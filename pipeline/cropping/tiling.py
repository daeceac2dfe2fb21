"""Blobs (candidates with a box larger than the field), and the crops that cover each spot.

A spot is a candidate that stands for itself and those merged into it. Boxes are (n, 4): left,
right, top, bottom, in pixels, within the frame; a point's box has no extent.
"""

import math

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float, Index
from dscsnet.engines.compiled import checked_kernel
from dscsnet.pipeline.cropping.sorting import first_from, sorted_order, take
from dscsnet.pipeline.messages import SpotFlag

OUTSIDE = -1  # in place of the spot of a candidate outside the frame

_OUTSIDE_FLAGS = int(SpotFlag.EDGE | SpotFlag.NOT_CONVERGED)
_MERGED = int(SpotFlag.MERGED)
_TRUNCATED = int(SpotFlag.TRUNCATED)


@checked_kernel
def boxes_of(
    x: Float, y: Float, width: Float, height: Float, rows: int, columns: int, field: float
) -> tuple[Float, NDArray[np.bool_]]:
    """The candidates' boxes, without extent where they are no blobs; and which are blobs."""
    boxes = np.empty((x.size, 4))
    blob = np.zeros(x.size, np.bool_)
    for i in range(x.size):
        blob[i] = width[i] > field or height[i] > field
        half_x = 0.5 * width[i] if blob[i] and width[i] > 0 else 0.0
        half_y = 0.5 * height[i] if blob[i] and height[i] > 0 else 0.0
        boxes[i, 0], boxes[i, 1] = max(x[i] - half_x, -0.5), min(x[i] + half_x, columns - 0.5)
        boxes[i, 2], boxes[i, 3] = max(y[i] - half_y, -0.5), min(y[i] + half_y, rows - 0.5)
    return boxes, blob


@checked_kernel
def absorb(boxes: Float, blob: NDArray[np.bool_], strength_order: Index, spot: Index) -> None:
    """Merge what lies inside a blob's box into it, largest blobs first (ties: strongest)."""
    smallness = np.full(spot.size, np.inf)
    for place in range(spot.size):
        i = strength_order[place]
        if blob[i] and spot[i] == i:
            smallness[place] = -(boxes[i, 1] - boxes[i, 0]) * (boxes[i, 3] - boxes[i, 2])
    by_left = sorted_order(boxes[:, 0].copy())
    lefts = take(boxes[:, 0].copy(), by_left)
    settled = np.zeros(spot.size, np.bool_)
    for place in sorted_order(smallness):
        large = strength_order[place]
        settled[large] = True
        if smallness[place] == np.inf or spot[large] != large:
            continue
        left, right, top, bottom = boxes[large]
        for start in range(first_from(lefts, left), spot.size):
            i = by_left[start]
            if lefts[start] > right:
                break
            if settled[i] or spot[i] != i or boxes[i, 1] > right:
                continue
            if boxes[i, 2] >= top and boxes[i, 3] <= bottom:
                spot[i] = large


@checked_kernel
def _tile_row(low: float, high: float, field: float) -> tuple[int, int, int]:
    """First and last centre and the number of fields that cover [low, high] without a gap.

    Whole-pixel centres at most floor(field) apart leave none, however the ends are rounded.
    """
    first = math.floor(low + field / 2)
    last = math.ceil(high - field / 2)
    if last <= first:
        center = min(math.floor((low + high) / 2 + 0.5), first)  # rounding goes up only
        return center, center, 1
    step = math.floor(field)
    return first, last, 1 + (last - first + step - 1) // step


@checked_kernel
def _tile_center(first: int, last: int, count: int, index: int) -> int:
    if count == 1:
        return first
    return first + math.floor(index * (last - first) / (count - 1) + 0.5)


@checked_kernel
def _tile(box: Float, field: float, out_x: NDArray[np.int32], out_y: NDArray[np.int32]) -> None:
    """Fill `out` with the centres of the box's crops, ring by ring from the middle, while room."""
    first_x, last_x, across = _tile_row(box[0], box[1], field)
    first_y, last_y, down = _tile_row(box[2], box[3], field)
    middle_x, middle_y = (across - 1) // 2, (down - 1) // 2
    filled = 0
    for ring in range(max(across, down)):
        for row in range(max(middle_y - ring, 0), min(middle_y + ring + 1, down)):
            left, right = middle_x - ring, middle_x + ring
            columns = range(max(left, 0), min(right, across - 1) + 1)
            if abs(row - middle_y) < ring:  # only the two ends are on the ring
                columns = range(left if left >= 0 else right, min(right, across - 1) + 1, 2 * ring)
            for column in columns:
                if filled == out_x.size:
                    return
                out_x[filled] = _tile_center(first_x, last_x, across, column)
                out_y[filled] = _tile_center(first_y, last_y, down, row)
                filled += 1


@checked_kernel
def tile_spots(
    boxes: Float, strength_order: Index, spot: Index, field: float, max_crops: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.uint32]]:
    """Give the spots their crops, strongest first, as far as they reach.

    Returns:
        centre x and y and the spot of each crop, and the flags of each candidate.
    """
    wanted = np.zeros(spot.size, np.int64)
    total = 0
    for i in range(spot.size):
        if spot[i] == i:
            across = _tile_row(boxes[i, 0], boxes[i, 1], field)[2]
            wanted[i] = across * _tile_row(boxes[i, 2], boxes[i, 3], field)[2]
            total = min(total + wanted[i], max_crops)
    center_x, center_y = np.empty(total, np.int32), np.empty(total, np.int32)
    crop_spot = np.empty(total, np.int32)
    given = np.full(spot.size, -1)
    used = 0
    for candidate in strength_order:
        # A spot is as strong as the strongest candidate that was merged into it.
        i = spot[candidate]
        if i == OUTSIDE or given[i] >= 0:
            continue
        given[i] = min(wanted[i], total - used)
        end = used + given[i]
        _tile(boxes[i], field, center_x[used:end], center_y[used:end])
        for crop in range(used, end):
            crop_spot[crop] = i
        used = end
    flags = np.zeros(spot.size, np.uint32)
    for i in range(spot.size):
        if spot[i] == OUTSIDE:
            flags[i] = _OUTSIDE_FLAGS
        else:
            cut = given[spot[i]] < wanted[spot[i]]
            flags[i] = (_MERGED if spot[i] != i else 0) | (_TRUNCATED if cut else 0)
    return center_x, center_y, crop_spot, flags

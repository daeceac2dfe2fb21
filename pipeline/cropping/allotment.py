"""Which candidate stands for which: blobs and what lies in them, and the crops of each spot.

A blob is a candidate with a box larger than the field. A spot is a candidate that stands for itself
and those merged into it. Boxes are (n, 4): left, right, top, bottom, in pixels, within the frame; a
point's box has no extent.
"""

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float, Index
from dscsnet.engines.compiled import checked_kernel
from dscsnet.pipeline.cropping.sorting import first_from, sorted_order, take

OUTSIDE = -1  # in place of the spot of a candidate outside the frame


@checked_kernel
def boxes_of(
    x: Float, y: Float, width: Float, height: Float, rows: int, columns: int, field: float
) -> tuple[Float, NDArray[np.bool_]]:
    """The candidates' boxes, without extent where none is known; and which are blobs."""
    boxes = np.empty((x.size, 4))
    blob = np.zeros(x.size, np.bool_)
    for i in range(x.size):
        blob[i] = width[i] > field or height[i] > field
        half_x = 0.5 * width[i] if width[i] > 0 else 0.0
        half_y = 0.5 * height[i] if height[i] > 0 else 0.0
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
def allot(strength_order: Index, group: Index, owner: Index, max_crops: int) -> tuple[Index, Index]:
    """Give each group of points its crop, strongest first, as far as they reach.

    Args:
        strength_order: of all points.
        group: (n,) the point that stands for each one's group; `OUTSIDE`: it has no crop.
        owner: (n,) candidate that each point belongs to.

    Returns:
        the group of each crop, and for each candidate 1 where it lost a crop, else 0.
    """
    given = np.zeros(group.size, np.bool_)
    crops = np.empty(group.size, np.int64)
    lost = np.zeros(group.size, np.int64)
    used = 0
    most = min(max_crops, group.size)
    for point in strength_order:
        # A spot is as strong as the strongest candidate that was merged into it.
        i = group[point]
        if i == OUTSIDE or given[i] or used == most:
            continue
        given[i] = True
        crops[used] = i
        used += 1
    for point in range(group.size):
        if group[point] != OUTSIDE and not given[group[point]]:
            lost[owner[point]] = 1
    return crops[:used].copy(), lost

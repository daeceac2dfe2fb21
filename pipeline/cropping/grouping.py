"""Groups of candidates: single linkage, and the parting of groups that no field holds."""

import math

import numpy as np

from dscsnet.engines.array_types import Float, Index
from dscsnet.engines.compiled import checked_kernel
from dscsnet.pipeline.cropping.sorting import first_from, run_end, sorted_order, take

_CELL_ROW = 2.0**26  # stride of a row of cells or pixels in a cell's or pixel's number


@checked_kernel
def _root(parent: Index, node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@checked_kernel
def _touch(x: Float, y: Float, members: Index, others: Index, radius: float) -> bool:
    for i in members:
        for j in others:
            if (x[i] - x[j]) ** 2 + (y[i] - y[j]) ** 2 <= radius * radius:
                return True
    return False


@checked_kernel
def _link(x: Float, y: Float, radius: float) -> Float:
    """Single linkage on a grid; returns for each candidate the number of its group.

    A cell's diagonal is the radius, so a cell is always one group, however crowded; its neighbours
    within reach are at most two cells away.
    """
    side = radius / math.sqrt(2.0)
    numbers = np.empty(x.size)
    for i in range(x.size):
        row, column = math.floor((y[i] + 0.5) / side), math.floor((x[i] + 0.5) / side)
        numbers[i] = row * _CELL_ROW + column
    order = sorted_order(numbers)
    cells = take(numbers, order)
    parent = np.arange(x.size)
    start = 0
    while start < x.size:
        end = run_end(cells, start)
        for i in range(start, end):
            parent[order[i]] = order[start]
        start = end
    start = 0
    while start < x.size:
        end = run_end(cells, start)
        for below in range(3):
            ahead = cells[start] + below * _CELL_ROW
            near = end if below == 0 else first_from(cells, ahead - 2)
            while near < x.size and cells[near] <= ahead + 2:
                near_end = run_end(cells, near)
                one, other = _root(parent, order[start]), _root(parent, order[near])
                if one != other and _touch(x, y, order[start:end], order[near:near_end], radius):
                    parent[other] = one
                near = near_end
        start = end
    group = np.empty(x.size)
    for i in range(x.size):
        group[i] = _root(parent, i)
    return group


@checked_kernel
def _middle(values: Float, members: Index) -> tuple[int, float]:
    """Pixel nearest to the middle of the members' extent, and their largest distance from it."""
    low = high = values[members[0]]
    for i in members:
        low, high = min(low, values[i]), max(high, values[i])
    middle = math.floor((low + high) / 2 + 0.5)
    return int(middle), max(high - middle, middle - low)


@checked_kernel
def _widest_gap(values: Float, members: Index) -> int:
    """Sort the members and return where their widest gap is.

    Only gaps that reach into the middle half of the extent count: no part is then longer than
    three quarters of the whole, which bounds the work for any number of candidates.
    """
    unsorted = members.copy()
    places = sorted_order(take(values, unsorted))
    for i in range(members.size):
        members[i] = unsorted[places[i]]
    low, high = values[members[0]], values[members[-1]]
    quarter = 0.25 * (high - low)
    widest, cut = 0.0, 1
    for i in range(1, members.size):
        before, after = values[members[i - 1]], values[members[i]]
        if after >= low + quarter and before <= high - quarter and after - before > widest:
            widest, cut = after - before, i
    return cut


@checked_kernel
def _crop_centers(x: Float, y: Float, groups: Float, half_field: float) -> tuple[Index, Index]:
    """Part the groups until each fits a field; returns the centre of each candidate's crop."""
    center_x, center_y = np.empty(x.size, np.int64), np.empty(x.size, np.int64)
    order = sorted_order(groups)
    ordered = take(groups, order)
    pending = [(0, 0)]
    start = 0
    while start < x.size:
        end = run_end(ordered, start)
        pending.append((start, end))
        start = end
    while len(pending) > 1:
        start, end = pending.pop()
        members = order[start:end]
        column, reach_x = _middle(x, members)
        row, reach_y = _middle(y, members)
        if max(reach_x, reach_y) <= half_field:
            for i in members:
                center_x[i], center_y[i] = column, row
        else:
            cut = start + _widest_gap(x if reach_x >= reach_y else y, members)
            pending.append((start, cut))
            pending.append((cut, end))
    return center_x, center_y


@checked_kernel
def group_points(
    x: Float,
    y: Float,
    points: Index,
    rank: Index,
    field: float,
    radius: float,
    spot: Index,
    boxes: Float,
) -> None:
    """Find the spot of each point candidate, its best, and the centre of the spot's crop.

    Args:
        x, y: positions of all candidates.
        points: indices of those that are points inside the frame.
        rank: place of each candidate in falling order of strength.
        field: side of the field.
        radius: merge radius.
        spot: out, index of the spot of each point.
        boxes: out, (n, 4) left, right, top, bottom, set to the centre at the spots.
    """
    point_x, point_y = take(x, points), take(y, points)
    groups = _link(point_x, point_y, radius)
    center_x, center_y = _crop_centers(point_x, point_y, groups, field / 2)
    numbers = np.empty(points.size)
    for i in range(points.size):
        numbers[i] = center_y[i] * _CELL_ROW + center_x[i]
    order = sorted_order(numbers)
    ordered = take(numbers, order)
    start = 0
    while start < points.size:
        # All that share a centre share the crop, even if they were not linked.
        end = run_end(ordered, start)
        best = points[order[start]]
        for i in order[start:end]:
            best = points[i] if rank[points[i]] < rank[best] else best
        for i in order[start:end]:
            spot[points[i]] = best
        boxes[best, 0] = boxes[best, 1] = center_x[order[start]]
        boxes[best, 2] = boxes[best, 3] = center_y[order[start]]
        start = end

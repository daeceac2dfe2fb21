"""Plans which crops to cut for a frame's candidates, and drops targets that two crops found.

Lengths and positions are frame pixels: x is the column, y the row, integers are pixel centres.
The field is the central square of a crop in which the model reports targets.
"""

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.messages import SpotFlag

_OUTSIDE_FLAGS = int(SpotFlag.EDGE | SpotFlag.NOT_CONVERGED)
_MERGED = int(SpotFlag.MERGED)
_TRUNCATED = int(SpotFlag.TRUNCATED)

LEAST_MERGE_RADIUS = 1e-3  # px; candidates this close are the same whatever the radius
_CELL_ROW = 1 << 31  # stride of a row of linkage cells in a cell's number
_OUTSIDE = -1  # in place of the spot of a candidate outside the frame

_Floats = NDArray[np.float64]
_Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CropPlan:
    """The crops of one frame, strongest candidate first.

    Attributes:
        center_x, center_y: (n_crops,) int32, centre pixels, all inside the frame.
        spot: (n_crops,) int32, index of the candidate that the crop serves; a blob has several.
        spot_flags: (n_candidates,) uint32, bits of `SpotFlag` known before any crop is cut.
        field_size: side of the model's field, px; by default fields have no end.
    """

    center_x: NDArray[np.int32]
    center_y: NDArray[np.int32]
    spot: NDArray[np.int32]
    spot_flags: NDArray[np.uint32]
    field_size: float = math.inf

    def __post_init__(self) -> None:
        if not self.center_x.shape == self.center_y.shape == self.spot.shape == (self.spot.size,):
            raise ValueError(
                "crop plan: expected center_x, center_y and spot of one length, got shapes "
                f"{self.center_x.shape}, {self.center_y.shape} and {self.spot.shape}"
            )


def plan_crops(
    x: ArrayLike,
    y: ArrayLike,
    *,
    score: ArrayLike | None = None,
    width: ArrayLike | None = None,
    height: ArrayLike | None = None,
    frame_shape: tuple[int, int],
    crop_size: int,
    field_size: float,
    merge_radius: float,
    max_crops: int,
) -> CropPlan:
    """Merge the candidates whose crops would find the same target, and place the crops.

    - Candidates linked by steps of at most `merge_radius` (single linkage) share one crop if the
      field of that crop holds them all; a larger group is parted at its widest gaps until every
      part fits. A part's crop is centred on the middle of its extent: no other centre keeps its
      outermost members farther from the field's edge, and it does not hang on the scores. Its
      spot is its best candidate (ties: the first); the others are flagged `MERGED`.
    - A candidate with a box larger than the field is a blob: crops at most a field apart cover
      its box (as far as it lies in the frame) without a gap, those at its middle first.
      Candidates inside the box are merged into it.
    - Candidates whose nearest pixel is not in the frame (or NaN) get no crop and are flagged
      `EDGE | NOT_CONVERGED`.
    - Crops beyond `max_crops` are left out, weakest first (without scores: last first); the
      candidates that lose any crop, and those merged into them, are flagged `TRUNCATED`.

    Args:
        x, y: (n,) candidate positions, px.
        score: (n,) higher is stronger, NaN is weakest.
        width, height: (n,) boxes centred on the candidates, px; NaN where unknown.
        frame_shape: (rows, columns).
        crop_size: side of a crop, px, odd.
        field_size: side of the model's field, px, from 1 to `crop_size`.
        merge_radius: px, at least 0.
        max_crops: at least 1.

    Raises:
        ValueError: an argument is out of range, or the columns differ in length.
    """
    _check_geometry(frame_shape, crop_size, field_size, merge_radius, max_crops)
    column_x = _column("x", x, None)
    count = column_x.size
    unknown = np.full(count, np.nan)
    center_x, center_y, spot, flags = _plan(
        column_x,
        _column("y", y, count),
        unknown if score is None else _column("score", score, count),
        unknown if width is None else _column("width", width, count),
        unknown if height is None else _column("height", height, count),
        int(frame_shape[0]),
        int(frame_shape[1]),
        float(field_size),
        max(float(merge_radius), LEAST_MERGE_RADIUS),
        int(max_crops),
    )
    return CropPlan(center_x, center_y, spot, flags, float(field_size))


def owner_of(
    plan: CropPlan, crop_index: ArrayLike, x: ArrayLike, y: ArrayLike, field_size: float
) -> NDArray[np.bool_]:
    """Whether each target belongs to the crop that reported it.

    A target belongs to the nearest centre (Euclidean; ties: the lowest index) among its own crop
    and the crops whose field covers it.

    Args:
        plan: the frame's plan.
        crop_index: (m,) the crop that reported each target.
        x, y: (m,) target positions, px.
        field_size: side of the model's field, px.

    Returns:
        (m,) bool.

    Raises:
        ValueError: the columns differ in length, or a crop index is not in the plan.
    """
    column_x = _column("x", x, None)
    column_y = _column("y", y, column_x.size)
    crops = _crop_column(plan, crop_index, column_x.size)
    return _owned(*_centers(plan), crops, column_x, column_y, float(field_size) / 2, 0.0)


def deduplicate(
    plan: CropPlan,
    crop_index: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    score: ArrayLike,
    *,
    min_separation: float = 0.5,
) -> NDArray[np.bool_]:
    """Which targets to publish, so that none is published twice; same-crop targets never compete.

    1. A target is dropped if it lies nearer to the centre of another crop whose field covers it.
       Both crops see the target a little displaced, so within `min_separation` of the borderline
       (and of the other field's edge) this decides nothing: else each could leave it to the other.
    2. Of targets of different crops closer than `min_separation`, the higher score stays (ties:
       the lowest index).

    Args:
        plan: the frame's plan, whose `field_size` is used.
        crop_index: (m,) the crop that reported each target.
        x, y, score: (m,) target positions, px, and scores; a NaN score is the weakest.
        min_separation: px, at least 0.

    Returns:
        (m,) bool, True for the targets to keep.

    Raises:
        ValueError: the columns differ in length, a crop index is not in the plan, or
            `min_separation` is negative.
    """
    if not min_separation >= 0:
        raise ValueError(f"min_separation: expected at least 0 px, got {min_separation!r}")
    column_x = _column("x", x, None)
    count = column_x.size
    column_y, column_score = _column("y", y, count), _column("score", score, count)
    crops = _crop_column(plan, crop_index, count)
    margin, half = float(min_separation), float(plan.field_size) / 2
    keep = _owned(*_centers(plan), crops, column_x, column_y, half, margin)
    _drop_weaker(crops, column_x, column_y, _strength_rank(column_score), margin, keep)
    return keep


def _check_geometry(
    frame_shape: tuple[int, int],
    crop_size: int,
    field_size: float,
    merge_radius: float,
    max_crops: int,
) -> None:
    if len(frame_shape) != 2 or min(frame_shape) < 1:
        raise ValueError(f"frame_shape: expected (rows, columns) of at least 1, got {frame_shape}")
    if crop_size < 1 or crop_size % 2 == 0:
        raise ValueError(f"crop_size: expected an odd number of pixels, got {crop_size!r}")
    if not 1 <= field_size <= crop_size:
        raise ValueError(
            f"field_size: expected 1 to crop_size = {crop_size} px, got {field_size!r}"
        )
    if not merge_radius >= 0:
        raise ValueError(f"merge_radius: expected at least 0 px, got {merge_radius!r}")
    if max_crops < 1:
        raise ValueError(f"max_crops: expected at least 1, got {max_crops!r}")


def _column(name: str, values: ArrayLike, count: int | None) -> _Floats:
    """A fresh float64 column: the kernels are compiled for this one type only."""
    column = np.array(values, dtype=np.float64)
    if column.ndim != 1 or (count is not None and column.size != count):
        expected = "one dimension" if count is None else f"shape ({count},) like x"
        raise ValueError(f"{name}: expected {expected}, got shape {column.shape}")
    return column


def _crop_column(plan: CropPlan, crop_index: ArrayLike, count: int) -> _Integers:
    crops = np.array(crop_index, dtype=np.int64)
    if crops.shape != (count,):
        raise ValueError(f"crop_index: expected shape ({count},) like x, got shape {crops.shape}")
    if count and not 0 <= crops.min() <= crops.max() < plan.spot.size:
        raise ValueError(
            f"crop_index: expected 0 to {plan.spot.size - 1} (the plan's crops), "
            f"got {crops.min()} to {crops.max()}"
        )
    return crops


def _centers(plan: CropPlan) -> tuple[_Floats, _Floats]:
    return plan.center_x.astype(np.float64), plan.center_y.astype(np.float64)


@numba.njit(cache=True, nogil=True)
def _strength_rank(score: _Floats) -> _Integers:
    """Place of each entry when sorted by falling score; ties and NaN keep their order."""
    weakness = np.empty(score.size)
    for i in range(score.size):
        weakness[i] = math.inf if math.isnan(score[i]) else -score[i]
    rank = np.empty(score.size, np.int64)
    rank[np.argsort(weakness, kind="mergesort")] = np.arange(score.size)
    return rank


# ---- single linkage ------------------------------------------------------------------------


@numba.njit(cache=True, nogil=True)
def _root(parent: _Integers, node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@numba.njit(cache=True, nogil=True)
def _touch(x: _Floats, y: _Floats, one: _Integers, other: _Integers, radius: float) -> bool:
    for i in one:
        for j in other:
            if (x[i] - x[j]) ** 2 + (y[i] - y[j]) ** 2 <= radius * radius:
                return True
    return False


@numba.njit(cache=True, nogil=True)
def _cell_end(cells: _Integers, start: int) -> int:
    end = start + 1
    while end < cells.size and cells[end] == cells[start]:
        end += 1
    return end


@numba.njit(cache=True, nogil=True)
def _link(x: _Floats, y: _Floats, radius: float) -> _Integers:
    """Single linkage on a grid; returns one member of its group for each candidate.

    A cell's diagonal is the radius, so a cell is always one group, however crowded; its neighbours
    within reach are at most two cells away.
    """
    side = radius / math.sqrt(2.0)
    numbers = np.empty(x.size, np.int64)
    for i in range(x.size):
        row, column = math.floor((y[i] + 0.5) / side), math.floor((x[i] + 0.5) / side)
        numbers[i] = int(row) * _CELL_ROW + int(column)
    order = np.argsort(numbers, kind="mergesort")
    cells = numbers[order]
    parent = np.arange(x.size)
    start = 0
    while start < x.size:
        end = _cell_end(cells, start)
        parent[order[start:end]] = order[start]
        start = end
    start = 0
    while start < x.size:
        end = _cell_end(cells, start)
        for below in range(3):
            ahead = cells[start] + below * _CELL_ROW
            near = end if below == 0 else np.searchsorted(cells, ahead - 2)
            while near < x.size and cells[near] <= ahead + 2:
                near_end = _cell_end(cells, near)
                one, other = _root(parent, order[start]), _root(parent, order[near])
                if one != other and _touch(x, y, order[start:end], order[near:near_end], radius):
                    parent[other] = one
                near = near_end
        start = end
    for i in range(x.size):
        parent[i] = _root(parent, i)
    return parent


# ---- parting of large groups ---------------------------------------------------------------


@numba.njit(cache=True, nogil=True)
def _middle(values: _Floats, members: _Integers) -> tuple[int, float]:
    """Pixel nearest to the middle of the members' extent, and their largest distance from it."""
    low = high = values[members[0]]
    for i in members:
        low, high = min(low, values[i]), max(high, values[i])
    middle = math.floor((low + high) / 2 + 0.5)
    return int(middle), max(high - middle, middle - low)


@numba.njit(cache=True, nogil=True)
def _widest_gap(values: _Floats, members: _Integers) -> int:
    """Sort the members and return where their widest gap is.

    Only gaps that reach into the middle half of the extent count: no part is then longer than
    three quarters of the whole, which bounds the work for any number of candidates.
    """
    members[:] = members[np.argsort(values[members], kind="mergesort")]
    low, high = values[members[0]], values[members[-1]]
    quarter = 0.25 * (high - low)
    widest, cut = 0.0, 1
    for i in range(1, members.size):
        before, after = values[members[i - 1]], values[members[i]]
        if after >= low + quarter and before <= high - quarter and after - before > widest:
            widest, cut = after - before, i
    return cut


@numba.njit(cache=True, nogil=True)
def _part(
    x: _Floats, y: _Floats, groups: _Integers, half_field: float
) -> tuple[_Integers, _Integers, _Integers]:
    """Part the groups until each fits a field; returns part number and centre per candidate."""
    part = np.empty(x.size, np.int64)
    center_x, center_y = np.empty(x.size, np.int64), np.empty(x.size, np.int64)
    order = np.argsort(groups, kind="mergesort")
    ordered = groups[order]
    pending = [(0, 0)]
    start = 0
    while start < x.size:
        end = _cell_end(ordered, start)
        pending.append((start, end))
        start = end
    parts = 0
    while len(pending) > 1:
        start, end = pending.pop()
        members = order[start:end]
        column, reach_x = _middle(x, members)
        row, reach_y = _middle(y, members)
        if max(reach_x, reach_y) <= half_field:
            for i in members:
                part[i], center_x[i], center_y[i] = parts, column, row
            parts += 1
        else:
            cut = start + _widest_gap(x if reach_x >= reach_y else y, members)
            pending.append((start, cut))
            pending.append((cut, end))
    return part, center_x, center_y


# ---- blobs ---------------------------------------------------------------------------------


@numba.njit(cache=True, nogil=True)
def _boxes(
    x: _Floats, y: _Floats, width: _Floats, height: _Floats, rows: int, columns: int, field: float
) -> tuple[_Floats, NDArray[np.bool_]]:
    """(n, 4) boxes (left, right, top, bottom) within the frame, points if not blobs; blob mask."""
    boxes = np.empty((x.size, 4))
    blob = np.zeros(x.size, np.bool_)
    for i in range(x.size):
        blob[i] = width[i] > field or height[i] > field
        half_x = 0.5 * width[i] if blob[i] and width[i] > 0 else 0.0
        half_y = 0.5 * height[i] if blob[i] and height[i] > 0 else 0.0
        boxes[i, 0], boxes[i, 1] = max(x[i] - half_x, -0.5), min(x[i] + half_x, columns - 0.5)
        boxes[i, 2], boxes[i, 3] = max(y[i] - half_y, -0.5), min(y[i] + half_y, rows - 0.5)
    return boxes, blob


@numba.njit(cache=True, nogil=True)
def _absorb(boxes: _Floats, blob: NDArray[np.bool_], rank: _Integers, spot: _Integers) -> None:
    """Merge what lies inside a blob's box into it, largest blobs first (ties: strongest)."""
    blobs = np.flatnonzero(blob & (spot != _OUTSIDE))
    blobs = blobs[np.argsort(rank[blobs])]
    sides = boxes[blobs]
    area = (sides[:, 1] - sides[:, 0]) * (sides[:, 3] - sides[:, 2])
    blobs = blobs[np.argsort(-area, kind="mergesort")]
    settled = np.zeros(spot.size, np.bool_)
    for large in blobs:
        settled[large] = True
        if spot[large] != large:
            continue
        left, right, top, bottom = boxes[large]
        for i in range(spot.size):
            if settled[i] or spot[i] != i:
                continue
            inside_x = boxes[i, 0] >= left and boxes[i, 1] <= right
            if inside_x and boxes[i, 2] >= top and boxes[i, 3] <= bottom:
                spot[i] = large


@numba.njit(cache=True, nogil=True)
def _tile_row(low: float, high: float, field: float) -> tuple[int, int, int]:
    """First and last centre and the number of fields that cover [low, high] without a gap.

    Whole-pixel centres at most floor(field) apart leave none, however the ends are rounded.
    """
    first = int(math.floor(low + field / 2))
    last = int(math.ceil(high - field / 2))
    if last <= first:
        center = min(max(int(math.floor((low + high) / 2 + 0.5)), last), first)
        return center, center, 1
    step = int(math.floor(field))
    return first, last, 1 + (last - first + step - 1) // step


@numba.njit(cache=True, nogil=True)
def _tile_center(first: int, last: int, count: int, index: int) -> int:
    if count == 1:
        return first
    return first + int(math.floor(index * (last - first) / (count - 1) + 0.5))


@numba.njit(cache=True, nogil=True)
def _tile(
    box: _Floats, field: float, out_x: NDArray[np.int32], out_y: NDArray[np.int32]
) -> None:
    """Fill `out` with the centres of the box's crops, ring by ring from the middle, while room."""
    first_x, last_x, across = _tile_row(box[0], box[1], field)
    first_y, last_y, down = _tile_row(box[2], box[3], field)
    middle_x, middle_y = (across - 1) // 2, (down - 1) // 2
    filled = 0
    for ring in range(max(across, down)):
        for row in range(max(middle_y - ring, 0), min(middle_y + ring + 1, down)):
            stride = 1 if abs(row - middle_y) == ring else 2 * ring
            for column in range(middle_x - ring, middle_x + ring + 1, max(stride, 1)):
                if not 0 <= column < across:
                    continue
                if filled == out_x.size:
                    return
                out_x[filled] = _tile_center(first_x, last_x, across, column)
                out_y[filled] = _tile_center(first_y, last_y, down, row)
                filled += 1


# ---- the plan ------------------------------------------------------------------------------


@numba.njit(cache=True, nogil=True)
def _merge_points(
    x: _Floats,
    y: _Floats,
    points: _Integers,
    rank: _Integers,
    field: float,
    radius: float,
    spot: _Integers,
    boxes: _Floats,
) -> None:
    """Set the spot of each point candidate, and the spots' boxes to their crops' centres."""
    point_x, point_y = x[points], y[points]
    part, center_x, center_y = _part(point_x, point_y, _link(point_x, point_y, radius), field / 2)
    best = np.full(points.size, -1)
    for i in range(points.size):
        if best[part[i]] < 0 or rank[points[i]] < rank[best[part[i]]]:
            best[part[i]] = points[i]
    for i in range(points.size):
        leader = best[part[i]]
        spot[points[i]] = leader
        boxes[leader, 0] = boxes[leader, 1] = center_x[i]
        boxes[leader, 2] = boxes[leader, 3] = center_y[i]


@numba.njit(cache=True, nogil=True)
def _emit(
    boxes: _Floats, rank: _Integers, spot: _Integers, field: float, max_crops: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.uint32]]:
    """Give the spots their crops, strongest first, as far as they reach."""
    best_rank = np.full(spot.size, spot.size)
    for i in range(spot.size):
        if spot[i] != _OUTSIDE:
            best_rank[spot[i]] = min(best_rank[spot[i]], rank[i])
    wanted = np.zeros(spot.size, np.int64)
    for i in range(spot.size):
        if spot[i] == i:
            across = _tile_row(boxes[i, 0], boxes[i, 1], field)[2]
            wanted[i] = across * _tile_row(boxes[i, 2], boxes[i, 3], field)[2]
    total = min(wanted.sum(), max_crops)
    center_x, center_y = np.empty(total, np.int32), np.empty(total, np.int32)
    crop_spot = np.empty(total, np.int32)
    cut = np.zeros(spot.size, np.bool_)
    used = 0
    for i in np.argsort(best_rank, kind="mergesort"):
        if wanted[i] == 0:
            continue
        end = min(used + wanted[i], total)
        _tile(boxes[i], field, center_x[used:end], center_y[used:end])
        crop_spot[used:end] = i
        cut[i] = end - used < wanted[i]
        used = end
    flags = np.zeros(spot.size, np.uint32)
    for i in range(spot.size):
        if spot[i] == _OUTSIDE:
            flags[i] = _OUTSIDE_FLAGS
        else:
            flags[i] = (_MERGED if spot[i] != i else 0) | (_TRUNCATED if cut[spot[i]] else 0)
    return center_x, center_y, crop_spot, flags


@numba.njit(cache=True, nogil=True)
def _plan(
    x: _Floats,
    y: _Floats,
    score: _Floats,
    width: _Floats,
    height: _Floats,
    rows: int,
    columns: int,
    field: float,
    radius: float,
    max_crops: int,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.uint32]]:
    rank = _strength_rank(score)
    spot = np.arange(x.size)
    for i in range(x.size):
        # Written so that NaN is outside; a pixel reaches from -0.5 up to but not including 0.5.
        if not (-0.5 <= x[i] < columns - 0.5 and -0.5 <= y[i] < rows - 0.5):
            spot[i] = _OUTSIDE
    boxes, blob = _boxes(x, y, width, height, rows, columns, field)
    if blob.any():
        _absorb(boxes, blob, rank, spot)
    points = np.flatnonzero((spot == np.arange(x.size)) & ~blob)
    _merge_points(x, y, points, rank, field, radius, spot, boxes)
    return _emit(boxes, rank, spot, field, max_crops)


# ---- targets that two crops found ----------------------------------------------------------


@numba.njit(cache=True, nogil=True)
def _owned(
    center_x: _Floats,
    center_y: _Floats,
    crops: _Integers,
    x: _Floats,
    y: _Floats,
    half_field: float,
    margin: float,
) -> NDArray[np.bool_]:
    """False where another crop covers the target by `margin` and is nearer by `margin`."""
    order = np.argsort(center_x)
    ordered = center_x[order]
    owned = np.ones(x.size, np.bool_)
    reach = half_field - margin
    for target in range(x.size):
        own = crops[target]
        own_distance = math.hypot(x[target] - center_x[own], y[target] - center_y[own])
        for place in range(np.searchsorted(ordered, x[target] - reach), order.size):
            if not ordered[place] <= x[target] + reach:
                break
            crop = order[place]
            if crop == own or not abs(y[target] - center_y[crop]) <= reach:
                continue
            distance = math.hypot(x[target] - center_x[crop], y[target] - center_y[crop]) + margin
            if distance < own_distance or (distance == own_distance and crop < own):
                owned[target] = False
                break
    return owned


@numba.njit(cache=True, nogil=True)
def _drop_weaker(
    crops: _Integers,
    x: _Floats,
    y: _Floats,
    rank: _Integers,
    min_separation: float,
    keep: NDArray[np.bool_],
) -> None:
    """Strongest first, drop the weaker kept targets of other crops that are too close."""
    across = np.argsort(x)
    ordered = x[across]
    for strong in np.argsort(rank):
        if not keep[strong]:
            continue
        for place in range(np.searchsorted(ordered, x[strong] - min_separation), x.size):
            if not ordered[place] <= x[strong] + min_separation:
                break
            weak = across[place]
            if rank[weak] <= rank[strong] or crops[weak] == crops[strong]:
                continue
            if math.hypot(x[weak] - x[strong], y[weak] - y[strong]) < min_separation:
                keep[weak] = False

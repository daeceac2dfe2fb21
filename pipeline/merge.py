"""Plans which crops to cut for a frame's candidates, and drops targets that two crops found.

Lengths and positions are frame pixels: x is the column, y the row, integers are pixel centres.
The field is the central square of a crop in which the model reports targets.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engines.compiled import checked_kernel
from pipeline.grouping import group_points
from pipeline.sorting import (
    Floats,
    Integers,
    first_from,
    ranks,
    sorted_order,
    strength_order_of,
    take,
)
from pipeline.tiling import OUTSIDE, absorb, boxes_of, tile_spots

LEAST_MERGE_RADIUS = 1e-3  # px; candidates this close are the same whatever the radius


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
      outermost members farther from the field's edge, and it does not hang on the scores. Parts
      with the same centre pixel share the crop. The spot of a crop is its best candidate (ties:
      the first); the others are flagged `MERGED`.
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
    column_x, column_y = _column("x", x, None), _column("y", y, np.size(x))
    count, (rows, columns), field = column_x.size, frame_shape, float(field_size)
    unknown = np.full(count, np.nan)
    widths = unknown if width is None else _column("width", width, count)
    heights = unknown if height is None else _column("height", height, count)
    order = strength_order_of(unknown if score is None else _column("score", score, count))
    # A pixel reaches from -0.5 up to but not including 0.5; comparisons with NaN are false.
    inside = (column_x >= -0.5) & (column_x < columns - 0.5)
    inside &= (column_y >= -0.5) & (column_y < rows - 0.5)
    spot = np.where(inside, np.arange(count), OUTSIDE)
    boxes, blob = boxes_of(column_x, column_y, widths, heights, int(rows), int(columns), field)
    if blob.any():
        absorb(boxes, blob, order, spot)
    points = np.flatnonzero((spot == np.arange(count)) & ~blob)
    radius = max(float(merge_radius), LEAST_MERGE_RADIUS)
    group_points(column_x, column_y, points, ranks(order), field, radius, spot, boxes)
    center_x, center_y, crop_spot, flags = tile_spots(boxes, order, spot, field, int(max_crops))
    return CropPlan(center_x, center_y, crop_spot, flags, field)


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
    _drop_weaker(crops, column_x, column_y, column_score, margin, keep)
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


def _column(name: str, values: ArrayLike, count: int | None) -> Floats:
    """A fresh float64 column: the kernels are compiled for this one type only."""
    column = np.array(values, dtype=np.float64)
    if column.ndim != 1 or (count is not None and column.size != count):
        expected = "one dimension" if count is None else f"shape ({count},) like x"
        raise ValueError(f"{name}: expected {expected}, got shape {column.shape}")
    return column


def _crop_column(plan: CropPlan, crop_index: ArrayLike, count: int) -> Integers:
    crops = np.array(crop_index, dtype=np.int64)
    if crops.shape != (count,):
        raise ValueError(f"crop_index: expected shape ({count},) like x, got shape {crops.shape}")
    if count and not 0 <= crops.min() <= crops.max() < plan.spot.size:
        raise ValueError(
            f"crop_index: expected 0 to {plan.spot.size - 1} (the plan's crops), "
            f"got {crops.min()} to {crops.max()}"
        )
    return crops


def _centers(plan: CropPlan) -> tuple[Floats, Floats]:
    return plan.center_x.astype(np.float64), plan.center_y.astype(np.float64)


@checked_kernel
def _owned(
    center_x: Floats,
    center_y: Floats,
    crops: Integers,
    x: Floats,
    y: Floats,
    half_field: float,
    margin: float,
) -> NDArray[np.bool_]:
    """False where another crop covers the target by `margin` and is nearer by `margin`."""
    order = sorted_order(center_x)
    ordered = take(center_x, order)
    owned = np.ones(x.size, np.bool_)
    reach = half_field - margin
    for target in range(x.size):
        own = crops[target]
        own_distance = math.hypot(x[target] - center_x[own], y[target] - center_y[own])
        for place in range(first_from(ordered, x[target] - reach), order.size):
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


@checked_kernel
def _drop_weaker(
    crops: Integers,
    x: Floats,
    y: Floats,
    score: Floats,
    min_separation: float,
    keep: NDArray[np.bool_],
) -> None:
    """Strongest first, drop the weaker kept targets of other crops that are too close."""
    strength_order = strength_order_of(score)
    rank = ranks(strength_order)
    across = sorted_order(x)
    ordered = take(x, across)
    for strong in strength_order:
        if not keep[strong]:
            continue
        for place in range(first_from(ordered, x[strong] - min_separation), x.size):
            if not ordered[place] <= x[strong] + min_separation:
                break
            weak = across[place]
            if rank[weak] <= rank[strong] or crops[weak] == crops[strong]:
                continue
            if math.hypot(x[weak] - x[strong], y[weak] - y[strong]) < min_separation:
                keep[weak] = False

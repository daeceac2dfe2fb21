"""Drops targets that two crops of one frame found."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dscsnet.engines.array_types import Float, Index
from dscsnet.engines.compiled import checked_kernel
from dscsnet.pipeline.cropping.plan import CropPlan, column_of
from dscsnet.pipeline.cropping.sorting import (
    first_from,
    ranks,
    sorted_order,
    strength_order_of,
    take,
)


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
    column_x = column_of("x", x, None)
    count = column_x.size
    column_y, column_score = column_of("y", y, count), column_of("score", score, count)
    crops = _crop_column(plan, crop_index, count)
    margin, half = float(min_separation), float(plan.field_size) / 2
    keep = _owned(*_centers(plan), crops, column_x, column_y, half, margin)
    _drop_weaker(crops, column_x, column_y, column_score, margin, keep)
    return keep


def _crop_column(plan: CropPlan, crop_index: ArrayLike, count: int) -> Index:
    crops = np.array(crop_index, dtype=np.int64)
    if crops.shape != (count,):
        raise ValueError(f"crop_index: expected shape ({count},) like x, got shape {crops.shape}")
    if count and not 0 <= crops.min() <= crops.max() < plan.spot.size:
        raise ValueError(
            f"crop_index: expected 0 to {plan.spot.size - 1} (the plan's crops), "
            f"got {crops.min()} to {crops.max()}"
        )
    return crops


def _centers(plan: CropPlan) -> tuple[Float, Float]:
    return plan.center_x.astype(np.float64), plan.center_y.astype(np.float64)


@checked_kernel
def _owned(
    center_x: Float,
    center_y: Float,
    crops: Index,
    x: Float,
    y: Float,
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
    crops: Index,
    x: Float,
    y: Float,
    score: Float,
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

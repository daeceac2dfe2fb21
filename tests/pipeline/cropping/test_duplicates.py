"""Targets that two crops found are published once: against brute force."""

import itertools

import numpy as np
import pytest

from dscsnet.pipeline.cropping.duplicates import deduplicate
from dscsnet.pipeline.cropping.plan import CropPlan


def crops_at(*positions: tuple[int, int], field: float = 7.0) -> CropPlan:
    columns = np.array(positions, np.int32)
    spot = np.arange(len(positions), dtype=np.int32)
    flags = np.zeros(len(positions), np.uint32)
    return CropPlan(columns[:, 0], columns[:, 1], spot, flags, field)


def test_without_a_margin_the_nearest_centre_that_covers_keeps_the_target() -> None:
    rng = np.random.default_rng(5)
    crops = crops_at(*map(tuple, rng.integers(0, 20, (12, 2))))
    index = rng.integers(0, 12, 500)
    # Whole and half pixels bring many ties.
    x, y = np.round(rng.uniform(0, 20, (2, 500)) * 2) / 2
    found = deduplicate(crops, index, x, y, np.ones(500), min_separation=0)
    for target in range(500):
        dx, dy = crops.center_x - x[target], crops.center_y - y[target]
        allowed = (abs(dx) <= 3.5) & (abs(dy) <= 3.5)
        allowed[index[target]] = True
        distance = np.where(allowed, dx**2 + dy**2, np.inf)
        assert found[target] == (np.argmin(distance) == index[target])


def test_a_target_outside_every_other_field_stays() -> None:
    narrow, wide = (crops_at((10, 10), (20, 10), field=field) for field in (7.0, 12.0))
    assert deduplicate(narrow, [0], [15.6], [10], [0.5]).all()
    assert not deduplicate(wide, [0], [15.6], [10], [0.5]).any()


@pytest.mark.parametrize("offset", [(6, 0), (4, 3), (1, 0), (7, 7)])
def test_a_target_that_two_crops_saw_is_published_exactly_once(offset: tuple[int, int]) -> None:
    crops = crops_at((50, 50), (50 + offset[0], 50 + offset[1]))
    rng = np.random.default_rng(6)
    both = 0
    for _ in range(2000):
        truth = rng.uniform(46, 60, 2)
        x, y = truth[:, None] + rng.uniform(-0.17, 0.17, (2, 2))
        seen = np.maximum(abs(x - crops.center_x), abs(y - crops.center_y)) <= 3.5
        if seen.any():
            index = np.flatnonzero(seen)
            keep = deduplicate(crops, index, x[index], y[index], rng.random(index.size))
            assert keep.sum() == 1
            both += index.size == 2
    assert both > 0 or offset == (7, 7)


def test_far_across_the_borderline_the_nearer_crop_wins_whatever_the_score() -> None:
    crops = crops_at((50, 50), (54, 50))
    # Two targets that the two crops place differently: no pair is closer than 0.5 px.
    keep = deduplicate(crops, [0, 1], [53.2, 53.2], [50, 51], [0.9, 0.2])
    assert keep.tolist() == [False, True]


def test_close_targets_of_different_crops_keep_the_higher_score() -> None:
    crops = crops_at((50, 50), (54, 50))
    x, y = [52.1, 51.9], [50, 50.3]
    assert deduplicate(crops, [0, 1], x, y, [0.4, 0.6]).tolist() == [False, True]
    assert deduplicate(crops, [0, 1], x, y, [0.5, 0.5]).tolist() == [True, False]
    assert deduplicate(crops, [0, 1], x, y, [np.nan, 0.1]).tolist() == [False, True]
    assert deduplicate(crops, [0, 1], x, y, [0.4, 0.6], min_separation=0.3).all()


def test_targets_of_one_crop_never_compete() -> None:
    rng = np.random.default_rng(7)
    x, y = 50 + rng.uniform(-0.5, 0.5, (2, 40))
    crops = crops_at((50, 50), (80, 50))
    assert deduplicate(crops, np.zeros(40, int), x, y, rng.random(40)).all()


def test_kept_targets_of_different_crops_are_separated() -> None:
    rng = np.random.default_rng(8)
    crops = crops_at(*map(tuple, rng.integers(0, 12, (6, 2))), field=11.0)
    index = rng.integers(0, 6, 400)
    x, y, score = rng.uniform(0, 12, 400), rng.uniform(0, 12, 400), rng.random(400)
    keep = deduplicate(crops, index, x, y, score)
    for one, other in itertools.combinations(np.flatnonzero(keep), 2):
        if index[one] != index[other]:
            assert np.hypot(x[one] - x[other], y[one] - y[other]) >= 0.5


def test_wrong_targets_are_named() -> None:
    crops = crops_at((50, 50))
    with pytest.raises(ValueError, match="crop_index: expected 0 to 0"):
        deduplicate(crops, [1], [5], [5], [1])
    with pytest.raises(ValueError, match="crop_index: expected shape"):
        deduplicate(crops, [0, 0], [5], [5], [1])
    with pytest.raises(ValueError, match="min_separation: "):
        deduplicate(crops, [0], [5], [5], [1], min_separation=-1)
    with pytest.raises(ValueError, match="crop plan: "):
        CropPlan(crops.center_x, crops.center_y[:0], crops.spot, crops.spot_flags)

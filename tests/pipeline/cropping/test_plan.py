"""Merging, covering and ownership against SciPy's linkage and brute force."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from dscsnet.engines.array_types import Float
from dscsnet.pipeline.cropping import tiling
from dscsnet.pipeline.cropping.duplicates import deduplicate
from dscsnet.pipeline.cropping.plan import CropPlan, plan_crops
from dscsnet.pipeline.messages import SpotFlag

FRAME = (512, 640)
OUTSIDE = SpotFlag.EDGE | SpotFlag.NOT_CONVERGED


def plan(x: Any, y: Any, **changes: Any) -> CropPlan:
    arguments: dict[str, Any] = {
        "frame_shape": FRAME,
        "crop_size": 11,
        "field_size": 7.0,
        "merge_radius": 2.0,
        "max_crops": 1000,
    }
    return plan_crops(x, y, **(arguments | changes))


def centers(found: CropPlan) -> list[tuple[int, int]]:
    return list(zip(found.center_x.tolist(), found.center_y.tolist(), strict=True))


def covered(found: CropPlan, x: Float, y: Float, field: float) -> NDArray[np.bool_]:
    """Whether each point lies in the field of any crop."""
    near_x = abs(x[:, None] - found.center_x) <= field / 2 + 1e-9
    near_y = abs(y[:, None] - found.center_y) <= field / 2 + 1e-9
    return np.any(near_x & near_y, axis=1)


def nearest(value: float) -> int:
    return int(np.floor(value + 0.5))


def test_single_candidates_get_the_nearest_pixel() -> None:
    found = plan([10.4, 30.6, 50.5], [20.0, 40.49, 60.51])
    assert centers(found) == [(10, 20), (31, 40), (51, 61)]
    assert found.spot.tolist() == [0, 1, 2]
    assert found.spot_flags.tolist() == [0, 0, 0]
    assert found.field_size == 7
    assert found.center_x.dtype == found.center_y.dtype == found.spot.dtype == np.int32
    assert found.spot_flags.dtype == np.uint32


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_scipys_single_linkage(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 60, (2, 60))
    score = rng.permutation(60).astype(float)
    radius = rng.uniform(1, 8)
    found = plan(
        x, y, score=score, frame_shape=(61, 61), crop_size=201, field_size=201, merge_radius=radius
    )
    groups = fcluster(linkage(np.c_[x, y], "single"), radius, "distance")
    members_at: dict[tuple[int, ...], list[int]] = {}
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        middle = tuple(nearest((v[members].min() + v[members].max()) / 2) for v in (x, y))
        members_at.setdefault(middle, []).extend(members.tolist())
    expected = {max(members, key=lambda i: score[i]): at for at, members in members_at.items()}
    assert dict(zip(found.spot.tolist(), centers(found), strict=True)) == expected
    assert (np.diff(score[found.spot]) < 0).all()
    merged = np.setdiff1d(np.arange(60), found.spot)
    assert (found.spot_flags[merged] == SpotFlag.MERGED).all()
    assert (found.spot_flags[found.spot] == 0).all()


def test_merging_just_within_and_just_beyond_the_radius() -> None:
    assert centers(plan([10, 13], [20, 24], merge_radius=5)) == [(12, 22)]
    assert len(plan([10, 13], [20, 24.001], merge_radius=5).spot) == 2
    assert len(plan([10, 10], [20, 20], merge_radius=0).spot) == 1
    assert len(plan([10.4, 10.6], [20, 20], merge_radius=0).spot) == 2
    # The same centre pixel means the same crop, whatever the radius.
    assert len(plan([10, 10.1], [20, 20], merge_radius=0).spot) == 1


def test_equal_scores_keep_the_first() -> None:
    assert plan([10, 11, 9], [5, 5, 5], score=[1, 1, 1]).spot.tolist() == [0]
    assert plan([10, 11, 9], [5, 5, 5]).spot.tolist() == [0]
    assert plan([10, 11, 9], [5, 5, 5], score=[np.nan, 0, 1]).spot.tolist() == [2]


@pytest.mark.parametrize("field", [1.0, 3.0, 6.4, 7.0, 11.0])
@pytest.mark.parametrize("seed", range(5))
def test_large_groups_are_covered_by_several_crops(seed: int, field: float) -> None:
    rng = np.random.default_rng(seed)
    x, y = 100 + rng.normal(0, 6, (2, 300))
    found = plan(x, y, field_size=field, merge_radius=20, max_crops=300)
    assert covered(found, x, y, field).all()
    assert 1 < len(found.spot) < 300
    assert (found.spot_flags == SpotFlag.MERGED).sum() == 300 - len(found.spot)
    assert len(set(centers(found))) == len(found.spot)


def test_a_group_is_parted_at_its_widest_gap() -> None:
    found = plan([10, 11, 12, 15, 16, 17], [5] * 6, merge_radius=3)
    assert sorted(centers(found)) == [(11, 5), (16, 5)]
    assert found.spot.tolist() == [0, 3]


def test_outside_candidates_keep_an_entry_but_get_no_crop() -> None:
    x = [-0.51, -0.5, 639.49, 639.5, 5, 5, np.nan, np.inf, 1e300, 5]
    y = [5, 50, 100, 5, -0.6, 511.6, 5, 5, 5, np.nan]
    found = plan(x, y)
    assert found.spot.tolist() == [1, 2]
    assert centers(found) == [(0, 50), (639, 100)]
    expected = [OUTSIDE if index not in (1, 2) else 0 for index in range(10)]
    assert found.spot_flags.tolist() == expected


def test_a_pixel_belongs_to_the_frame_up_to_its_further_edge() -> None:
    rows, columns = FRAME
    inside = [(-0.5, -0.5), (columns - 0.501, rows - 0.501), (0.0, rows - 0.501)]
    outside = [(-0.501, 5.0), (5.0, -0.501), (columns - 0.5, 5.0), (5.0, rows - 0.5)]
    x, y = np.array([*inside, *outside]).T
    found = plan(x, y)
    assert sorted(found.spot.tolist()) == [0, 1, 2]
    assert [bool(flags & SpotFlag.EDGE) for flags in found.spot_flags] == [False] * 3 + [True] * 4


@pytest.mark.parametrize(
    ("width", "height", "is_blob"),
    [
        *((7.0, 7.0, False), (7.001, np.nan, True), (np.nan, 7.001, True), (7.001, -1.0, True)),
        *((np.nan, np.nan, False), (7.0, 14.0, True), (14.0, 7.0, True)),
    ],
)
def test_what_is_larger_than_the_field_either_way_is_a_blob(
    width: float, height: float, is_blob: bool
) -> None:
    """A blob keeps its own middle and takes no neighbour in that lies outside its box."""
    found = plan([100.0, 101.9], [100.0, 100.0], width=[width, 0.0], height=[height, 0.0])
    merged = bool(found.spot_flags[1] & SpotFlag.MERGED)
    half = width / 2 if is_blob and width > 0 else 0.0
    assert merged == (not is_blob or half >= 1.9)
    if is_blob:
        boxes = [width if width > 0 else 0.0, height if height > 0 else 0.0]
        needed = [max(1, int(np.ceil(side / 7.0 - 1e-9))) for side in boxes]
        assert (found.spot == 0).sum() >= needed[0] * needed[1]


def test_what_just_lies_in_a_blobs_box_is_merged_into_it() -> None:
    """The box reaches from 90 to 110, and from 95 to 105."""
    others = {
        **{(110.0, 100.0): True, (90.0, 100.0): True, (100.0, 105.0): True, (100.0, 95.0): True},
        **{(110.0, 105.0): True, (110.001, 100.0): False, (89.999, 100.0): False},
        **{(100.0, 105.001): False, (100.0, 94.999): False},
    }
    for (x, y), inside in others.items():
        found = plan([100.0, x], [100.0, y], width=[20.0, 0.0], height=[10.0, 0.0])
        assert bool(found.spot_flags[1] & SpotFlag.MERGED) == inside, (x, y)


@pytest.mark.parametrize("limit", range(1, 27))
def test_a_blob_is_cut_ring_by_ring_from_its_middle(limit: int) -> None:
    """25 crops of 5x5: those of the inner ring come before those of the outer."""
    found = plan([100.0], [100.0], width=[35.0], height=[35.0], max_crops=limit)
    across = np.unique(plan([100.0], [100.0], width=[35.0], height=[35.0]).center_x)
    assert len(across) == 5
    ring = np.maximum(
        abs(np.searchsorted(across, found.center_x) - 2),
        abs(np.searchsorted(across, found.center_y) - 2),
    )
    assert len(found.spot) == min(limit, 25)
    assert len({*centers(found)}) == len(found.spot)
    assert ring.tolist() == sorted(ring.tolist())
    assert bool(found.spot_flags[0] & SpotFlag.TRUNCATED) == (limit < 25)


@pytest.mark.parametrize(
    ("low", "high", "field", "center"),
    [
        *((813.4999999999999, 819.5, 7.0, 816), (5925.999999999999, 5931.0, 6.0, 5928)),
        *((17462.999999999996, 17468.0, 6.0, 17465), (10.0, 12.0, 7.0, 11)),
    ],
)
def test_a_box_that_one_field_holds_is_held_to_the_last_bit(
    low: float, high: float, field: float, center: int
) -> None:
    """Also where the middle of its ends is rounded to the next pixel."""
    assert tiling._tile_row(low, high, field) == (center, center, 1)
    assert center - field / 2 <= low
    assert high <= center + field / 2


@pytest.mark.parametrize(("apart", "crops"), [(0.0009, 1), (0.0011, 2)])
def test_a_thousandth_of_a_pixel_is_no_distance(apart: float, crops: int) -> None:
    """On both sides of a pixel's edge, with a merge radius of nothing."""
    found = plan([10.5 - apart / 2, 10.5 + apart / 2], [20.0, 20.0], merge_radius=0.0)
    assert len(found.spot) == crops


def test_no_candidates() -> None:
    found = plan([], [], score=[], width=[], height=[])
    assert found.spot.size == found.spot_flags.size == 0
    assert deduplicate(found, [], [], [], []).size == 0


def test_weakest_are_cut_at_the_limit() -> None:
    x, y = np.arange(10) * 20.0, np.full(10, 30.0)
    score = np.array([3, 9, 1, 7, 5, 2, 8, np.nan, 4, 6])
    found = plan(x, y, score=score, max_crops=4)
    assert found.spot.tolist() == [1, 6, 3, 9]
    cut = np.setdiff1d(np.arange(10), found.spot)
    assert (found.spot_flags[cut] == SpotFlag.TRUNCATED).all()
    assert plan(x, y, max_crops=4).spot.tolist() == [0, 1, 2, 3]


def test_those_merged_into_a_cut_spot_are_cut_too() -> None:
    found = plan([10, 11, 50], [5, 5, 5], score=[1, 2, 3], max_crops=1)
    assert found.spot.tolist() == [2]
    both = SpotFlag.MERGED | SpotFlag.TRUNCATED
    assert found.spot_flags.tolist() == [both, SpotFlag.TRUNCATED, 0]


@settings(max_examples=150, deadline=None)
@given(
    x=st.floats(-0.5, 59.4),
    y=st.floats(-0.5, 49.4),
    width=st.floats(0, 70),
    height=st.floats(0, 70),
    field=st.floats(1, 11),
)
def test_blobs_are_covered_without_a_gap(
    x: float, y: float, width: float, height: float, field: float
) -> None:
    found = plan(
        [x], [y], width=[width], height=[height], frame_shape=(50, 60), field_size=field,
        max_crops=10_000,
    )  # fmt: skip
    assert (found.spot == 0).all()
    assert found.spot_flags.tolist() == [0]
    assert len(set(centers(found))) == len(found.spot)
    assert ((found.center_x >= 0) & (found.center_x < 60)).all()
    assert ((found.center_y >= 0) & (found.center_y < 50)).all()
    if max(width, height) <= field:
        assert centers(found) == [(nearest(x), nearest(y))]
        return
    left, right = max(x - width / 2, -0.5), min(x + width / 2, 59.5)
    top, bottom = max(y - height / 2, -0.5), min(y + height / 2, 49.5)
    points = np.meshgrid(np.linspace(left, right, 97), np.linspace(top, bottom, 89))
    assert covered(found, points[0].ravel(), points[1].ravel(), field).all()
    step = np.floor(field)
    across, down = ((right - left) // step + 2), ((bottom - top) // step + 2)
    assert len(found.spot) <= across * down


def test_blob_of_30_by_12_pixels() -> None:
    found = plan([100.3], [60.7], width=[30], height=[12])
    assert len(found.spot) == 10
    assert len(set(found.center_y.tolist())) == 2
    points = np.meshgrid(np.arange(85.3, 115.31, 0.05), np.arange(54.7, 66.71, 0.05))
    assert covered(found, points[0].ravel(), points[1].ravel(), 7).all()


def test_candidates_inside_a_blob_belong_to_it() -> None:
    x, y = [100, 108, 130, 100], [60, 63, 60, 60]
    found = plan(x, y, score=[1, 9, 5, 2], width=[30, 1, 1, 20], height=[12, np.nan, 1, 10])
    assert found.spot.tolist() == [0] * 10 + [2]
    assert found.spot_flags.tolist() == [0, SpotFlag.MERGED, 0, SpotFlag.MERGED]


def test_equal_blobs_are_one() -> None:
    found = plan([100, 100], [60, 60], score=[1, 2], width=[30, 30], height=[12, 12])
    assert set(found.spot.tolist()) == {1}
    assert found.spot_flags.tolist() == [SpotFlag.MERGED, 0]


def test_a_cut_blob_keeps_its_middle_and_says_so() -> None:
    found = plan([100], [60], width=[63], height=[63], max_crops=9)
    assert found.spot_flags.tolist() == [SpotFlag.TRUNCATED]
    assert abs(found.center_x - 100).max() <= 10
    assert abs(found.center_y - 60).max() <= 10


def test_huge_boxes_cost_no_more_than_the_limit() -> None:
    count = 2000
    rng = np.random.default_rng(3)
    boxes = {"width": np.full(count, np.inf), "height": np.full(count, 1e30)}
    found = plan(
        rng.uniform(0, 16383, count), rng.uniform(0, 16383, count),
        frame_shape=(16384, 16384), max_crops=50, **boxes,
    )  # fmt: skip
    assert len(found.spot) == 50
    assert (found.spot_flags & SpotFlag.TRUNCATED).all()


@pytest.mark.parametrize("radius", [0.0, 1.0, 6.0, 1e9])
@pytest.mark.parametrize("spread", ["uniform", "clump", "same", "line"])
def test_ten_thousand_candidates(spread: str, radius: float) -> None:
    count = 10_000
    rng = np.random.default_rng(4)
    x, y = {
        "uniform": (rng.uniform(0, 639, count), rng.uniform(0, 511, count)),
        "clump": (rng.normal(300, 3, count), rng.normal(200, 3, count)),
        "same": (np.full(count, 300.2), np.full(count, 200.7)),
        "line": (np.linspace(0, 639, count), np.full(count, 7.0)),
    }[spread]
    found = plan(x, y, merge_radius=radius, max_crops=count)
    assert covered(found, x[::7], y[::7], 7).all()
    assert len(found.spot) + (found.spot_flags == SpotFlag.MERGED).sum() == count
    if spread == "same":
        assert len(found.spot) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": [1.0]}, r"y: expected shape \(2,\) like x, got shape \(1,\)"),
        ({"score": [1.0]}, "score: expected shape"),
        ({"width": [[1.0], [2.0]]}, "width: expected shape"),
        ({"x": 3.0}, "x: expected one dimension"),
        ({"frame_shape": (0, 5)}, "frame_shape: "),
        ({"crop_size": 10}, "crop_size: expected an odd"),
        ({"field_size": 12.0}, "field_size: expected 1 to crop_size = 11"),
        ({"field_size": 0.5}, "field_size: "),
        ({"merge_radius": -1.0}, "merge_radius: "),
        ({"merge_radius": np.nan}, "merge_radius: "),
        ({"max_crops": 0}, "max_crops: "),
    ],
)
def test_impossible_arguments_are_named(changes: dict[str, Any], message: str) -> None:
    columns = {"x": [1.0, 2.0], "y": [1.0, 2.0]}
    with pytest.raises(ValueError, match=message):
        plan(**(columns | changes))

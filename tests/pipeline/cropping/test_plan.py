"""Merging, searched boxes and ownership against SciPy's linkage and brute force."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from dscsnet.engines.array_types import Float
from dscsnet.pipeline.cropping.duplicates import deduplicate
from dscsnet.pipeline.cropping.plan import CropPlan, Seek, plan_crops
from dscsnet.pipeline.cropping.seeking import Peaks
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
    """What lies in its box belongs to it, and is looked at where it is."""
    found = plan([100.0, 101.9], [100.0, 100.0], width=[width, 0.0], height=[height, 0.0])
    merged = bool(found.spot_flags[1] & SpotFlag.MERGED)
    assert merged  # into the blob, or with its neighbour into one crop
    far = plan([100.0, 103.4], [100.0, 100.0], width=[width, 0.0], height=[height, 0.0])
    half = width / 2 if is_blob and width > 0 else 0.0
    assert bool(far.spot_flags[1] & SpotFlag.MERGED) == (half >= 3.4)
    assert (far.spot == 0).sum() == 1 + (half >= 3.4)  # what lies in a blob has a crop of its own


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


def test_candidates_inside_a_blob_belong_to_it() -> None:
    x, y = [100, 108, 130, 100], [60, 63, 60, 60]
    found = plan(x, y, score=[1, 9, 5, 2], width=[30, 1, 1, 20], height=[12, np.nan, 1, 10])
    # The blob's own crop is that of the third candidate in its middle, too.
    assert found.spot.tolist() == [0, 2, 0]
    assert centers(found) == [(108, 63), (130, 60), (100, 60)]
    assert found.spot_flags.tolist() == [0, SpotFlag.MERGED, 0, SpotFlag.MERGED]


def test_equal_blobs_are_one() -> None:
    found = plan([100, 100], [60, 60], score=[1, 2], width=[30, 30], height=[12, 12])
    assert set(found.spot.tolist()) == {1}
    assert found.spot_flags.tolist() == [SpotFlag.MERGED, 0]


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


def seek(found: dict[int, list[tuple[float, float]]], lost: tuple[int, ...] = ()) -> Seek:
    """Peaks by the candidates whose boxes they are in; and whose boxes have more."""

    def look(boxes: Float) -> Peaks:
        given = [(x, y, owner) for owner, peaks in found.items() for x, y in peaks]
        x, y, owner = np.array(given, float).reshape(-1, 3).T
        cut = np.isin(np.arange(len(boxes)), lost).astype(np.int64)
        return Peaks(x.copy(), y.copy(), owner.astype(np.int64), cut)

    return look


def test_a_box_has_its_crops_where_its_peaks_are() -> None:
    """And none in its middle, unless nothing was found there."""
    boxes = {"width": [30.0, 30.0, 5.0], "height": [12.0, 12.0, 5.0]}
    look = seek({0: [(90.0, 58.0), (111.0, 64.0)], 2: [(301.0, 102.0)]})
    found = plan([100.0, 200.0, 300.0], [60.0, 60.0, 100.0], **boxes, seek=look)
    assert sorted(zip(found.spot.tolist(), centers(found), strict=True)) == [
        *((0, (90, 58)), (0, (111, 64)), (1, (200, 60)), (2, (301, 102))),
    ]
    assert found.spot_flags.tolist() == [0, 0, 0]


def test_peaks_that_one_field_holds_share_a_crop() -> None:
    look = seek({0: [(90.0, 58.0), (92.0, 58.0), (110.0, 60.0)]})
    found = plan([100.0], [60.0], width=[30.0], height=[12.0], seek=look, merge_radius=2.0)
    assert sorted(centers(found)) == [(91, 58), (110, 60)]
    assert found.spot_flags.tolist() == [0]


def test_what_lies_in_a_blob_is_merged_with_its_peaks_and_all() -> None:
    """Its peaks are those of the blob; they are as strong as it is itself."""
    x, y = [100.0, 108.0, 300.0], [60.0, 63.0, 60.0]
    boxes = {"width": [40.0, 6.0, 0.0], "height": [20.0, 6.0, 0.0]}
    look = seek({0: [(92.0, 58.0)], 1: [(109.0, 63.0)]})
    found = plan(x, y, score=[1.0, 9.0, 5.0], **boxes, seek=look)
    assert found.spot.tolist() == [0, 2, 0]
    assert centers(found) == [(109, 63), (300, 60), (92, 58)]
    assert found.spot_flags.tolist() == [0, SpotFlag.MERGED, 0]
    found = plan(x, y, score=[1.0, 9.0, 5.0], **boxes, seek=look, max_crops=2)
    assert found.spot.tolist() == [0, 2]
    cut = SpotFlag.TRUNCATED
    assert found.spot_flags.tolist() == [cut, cut | SpotFlag.MERGED, 0]


def test_a_box_with_more_peaks_than_are_taken_says_so() -> None:
    look = seek({0: [(90.0, 58.0)], 1: [(201.0, 61.0)]}, lost=(1,))
    found = plan([100.0, 200.0], [60.0] * 2, width=[30.0] * 2, height=[9.0] * 2, seek=look)
    assert found.spot_flags.tolist() == [0, SpotFlag.TRUNCATED]


def test_peaks_beyond_the_limit_of_crops_are_told() -> None:
    look = seek({0: [(90.0, 58.0), (100.0, 61.0), (110.0, 58.0)]})
    for limit in (2, 3):
        found = plan([100.0], [60.0], width=[30.0], height=[9.0], seek=look, max_crops=limit)
        assert centers(found) == [(90, 58), (100, 61), (110, 58)][:limit]
        assert found.spot_flags.tolist() == [SpotFlag.TRUNCATED if limit < 3 else 0]


def test_boxes_are_given_within_the_frame_and_of_candidates_within_alone() -> None:
    given: list[Float] = []

    def look(boxes: Float) -> Peaks:
        given.append(boxes)
        return seek({})(boxes)

    arguments = {"frame_shape": (50, 60), "seek": look}
    plan([2.0, -0.6, 10.0], [45.0, 20.0, 10.0], width=[9.0] * 3, height=[12.0, 9.0, np.nan],
         **arguments)  # fmt: skip
    expected = [[-0.5, 6.5, 39, 49.5], [np.nan] * 4, [5.5, 14.5, 10, 10]]
    np.testing.assert_array_equal(given, [expected])
    plan([2.0], [45.0], **arguments)
    assert len(given) == 1  # points have nothing to be searched
    plan([2.0], [45.0], height=[8.0], **arguments)
    np.testing.assert_array_equal(given[1], [[2, 2, 41, 49]])


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

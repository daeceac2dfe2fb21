"""Crops over a box: all of it is covered, from its middle outwards, whatever its shape."""

import numpy as np
import pytest

from dscsnet.pipeline.cropping import tiling


def tiled(box: tuple[float, float, float, float], field: float, room: int) -> list[tuple[int, int]]:
    out_x, out_y = np.full(room, -99, np.int32), np.full(room, -99, np.int32)
    tiling._tile(np.array(box), field, out_x, out_y)
    return list(zip(out_x.tolist(), out_y.tolist(), strict=True))


@pytest.mark.parametrize(
    ("box", "across", "down"),
    [
        ((0, 26, 0, 4), 6, 1),
        ((0, 4, 0, 26), 1, 6),
        ((0, 36, 0, 11), 8, 3),
        ((0, 11, 0, 36), 3, 8),
        ((0, 18.5, 0.5, 13), 4, 3),
        ((3, 4, 7, 8), 1, 1),
    ],
)
def test_crops_come_ring_by_ring_from_the_middle(
    box: tuple[float, float, float, float], across: int, down: int
) -> None:
    """Of fields of 5 px; with an even number the middle one is that nearer to the corner."""
    number = across * down
    centers = tiled(box, 5.0, number)
    columns, rows = (sorted(set(axis)) for axis in zip(*centers, strict=True))
    assert (len(columns), len(rows)) == (across, down)
    assert len(set(centers)) == number
    middle_x, middle_y = (across - 1) // 2, (down - 1) // 2
    rings = [
        max(abs(columns.index(x) - middle_x), abs(rows.index(y) - middle_y)) for x, y in centers
    ]
    assert rings == sorted(rings)
    assert centers[0] == (columns[middle_x], rows[middle_y])
    for room in range(1, number):  # with less room the first ones are the same
        assert tiled(box, 5.0, room) == centers[:room]
    for low, high, places in ((*box[:2], columns), (*box[2:], rows)):
        assert min(places) - 2.5 <= low
        assert max(places) + 2.5 >= high
        assert max(np.diff(places), default=0) <= 5  # no gap


@pytest.mark.parametrize(
    ("first", "last", "count", "places"),
    [(2, 2, 1, [2]), (2, 8, 3, [2, 5, 8]), (0, 7, 3, [0, 4, 7]), (0, 10, 4, [0, 3, 7, 10])],
)
def test_centres_are_spread_evenly(first: int, last: int, count: int, places: list[int]) -> None:
    assert [tiling._tile_center(first, last, count, k) for k in range(count)] == places


def boxes_of(*rows: tuple[float, float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """x, y, width and height of candidates in a frame of 30 rows and 40 columns."""
    boxes, blob = tiling.boxes_of(*np.array(rows, float).T.copy(), 30, 40, 5.0)
    return boxes, blob


def test_boxes_are_cut_at_the_frame_and_points_have_none() -> None:
    boxes, blob = boxes_of(
        *((10, 12, 6, 4), (10, 12, 5, 5), (10, 12, 4, 6), (1, 2, 8, 9), (38, 28, 8, 9)),
        *((10, 12, np.nan, 8), (10, 12, 8, np.nan), (10, 12, -3, 8)),
    )
    assert blob.tolist() == [True, False, True, True, True, True, True, True]
    assert boxes.tolist() == [
        [7, 13, 10, 14],
        [10, 10, 12, 12],
        [8, 12, 9, 15],
        [-0.5, 5, -0.5, 6.5],
        [34, 39.5, 23.5, 29.5],
        [10, 10, 8, 16],
        [6, 14, 12, 12],
        [10, 10, 8, 16],
    ]


def absorbed(boxes: list[list[float]], blobs: list[bool]) -> list[int]:
    spot = np.arange(len(boxes))
    tiling.absorb(np.array(boxes, float), np.array(blobs), np.arange(len(boxes)), spot)
    return spot.tolist()


def test_what_lies_inside_a_blob_is_part_of_it() -> None:
    blob = [10, 20, 10, 20]
    for inside in ([10, 20, 10, 20], [10, 10, 10, 10], [20, 20, 20, 20], [12, 18, 13, 14]):
        assert absorbed([blob, inside], [True, False]) == [0, 0]
    for beyond in ([9.9, 15, 12, 15], [12, 20.1, 12, 15], [12, 15, 9.9, 15], [12, 15, 12, 20.1]):
        assert absorbed([blob, beyond], [True, False]) == [0, 1]
    assert absorbed([[12, 18, 12, 18], blob], [True, True]) == [1, 1]  # the larger one takes it
    assert absorbed([blob, blob], [True, True]) == [0, 0]  # of two alike the stronger one
    assert absorbed([blob, [12, 18, 12, 18]], [False, False]) == [0, 1]  # no blob takes nothing
    # What is part of another takes nothing for itself.
    assert absorbed([blob, [12, 18, 12, 18], [13, 14, 13, 14]], [True, True, False]) == [0, 0, 0]

"""Which candidate stands for which, and whose crops there is room for."""

import numpy as np

from dscsnet.pipeline.cropping import allotment


def boxes_of(*rows: tuple[float, float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """x, y, width and height of candidates in a frame of 30 rows and 40 columns."""
    boxes, blob = allotment.boxes_of(*np.array(rows, float).T.copy(), 30, 40, 5.0)
    return boxes, blob


def test_boxes_are_cut_at_the_frame_and_unknown_sides_have_none() -> None:
    boxes, blob = boxes_of(
        *((10, 12, 6, 4), (10, 12, 5, 5), (10, 12, 4, 6), (1, 2, 8, 9), (38, 28, 8, 9)),
        *((10, 12, np.nan, 8), (10, 12, 8, np.nan), (10, 12, -3, 8)),
    )
    assert blob.tolist() == [True, False, True, True, True, True, True, True]
    assert boxes.tolist() == [
        [7, 13, 10, 14],
        [7.5, 12.5, 9.5, 14.5],
        [8, 12, 9, 15],
        [-0.5, 5, -0.5, 6.5],
        [34, 39.5, 23.5, 29.5],
        [10, 10, 8, 16],
        [6, 14, 12, 12],
        [10, 10, 8, 16],
    ]


def absorbed(boxes: list[list[float]], blobs: list[bool]) -> list[int]:
    spot = np.arange(len(boxes))
    allotment.absorb(np.array(boxes, float), np.array(blobs), np.arange(len(boxes)), spot)
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


def allotted(groups: list[int], owners: list[int], room: int) -> tuple[list[int], list[int]]:
    """Of points that come strongest first."""
    chosen, lost = allotment.allot(np.arange(len(groups)), np.array(groups), np.array(owners), room)
    return chosen.tolist(), lost.tolist()


def test_each_group_has_one_crop_as_far_as_they_reach() -> None:
    outside = allotment.OUTSIDE
    groups, owners = [1, 1, outside, 3, 4, 3], [0, 1, 2, 3, 4, 4]
    assert allotted(groups, owners, 9) == ([1, 3, 4], [0] * 6)
    assert allotted(groups, owners, 3) == ([1, 3, 4], [0] * 6)
    # The weakest group is left out, and its candidate told.
    assert allotted(groups, owners, 2) == ([1, 3], [0, 0, 0, 0, 1, 0])
    # So are all whose points lie in groups that are left out, the last point's owner included.
    assert allotted(groups, owners, 1) == ([1], [0, 0, 0, 1, 1, 0])
    assert allotted([outside], [0], 1) == ([], [0])

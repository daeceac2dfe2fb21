"""Peaks of boxes, against means by SciPy, and where stars were put."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from dscsnet.engines.array_types import Float
from dscsnet.engines.imaging import render
from dscsnet.pipeline.cropping import seeking
from dscsnet.pipeline.cropping.cut import seek_in
from dscsnet.pipeline.cropping.seeking import MOST_PEAKS, MOST_SIDE, Peaks, find_peaks
from dscsnet.pipeline.errors import ConfigError

NO_MASK = np.zeros((0, 0), bool)


def box_at(x: float, y: float, side: float) -> list[float]:
    return [x - side / 2, x + side / 2, y - side / 2, y + side / 2]


def look(
    frame: NDArray[np.generic], *boxes: list[float], mask: NDArray[np.bool_] = NO_MASK
) -> Peaks:
    return find_peaks(frame, mask, np.array(boxes, float))


def places(found: Peaks) -> set[tuple[float, float]]:
    return set(zip(found.x.tolist(), found.y.tolist(), strict=True))


def star(frame: Float, x: float, y: float, light: float) -> None:
    """Added with a PSF of 0.7 px."""
    frame += render([x], [y], [light], frame.shape, 0.7)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("side", [5.0, 7.0, 12.0, 20.0, 40.0])
def test_a_star_anywhere_in_a_box_is_found(side: float, dtype: type[np.generic]) -> None:
    """Its brightest pixel stands 10 noises above the background: 3 counts, of 60."""
    rng = np.random.default_rng(round(side))
    missed, others = 0, 0
    for _ in range(60):
        frame = rng.normal(60, 3, (60, 60))
        x, y = 30 + rng.uniform(-side / 2 + 0.5, side / 2 - 0.5, 2)
        star(frame, x, y, 30 * 3.8)
        found = look(np.rint(frame).clip(0, 255).astype(dtype), box_at(30, 30, side))
        near = np.hypot(found.x - x, found.y - y) < 1.6
        missed += not near.any()
        others += (~near).sum()
        assert (found.owner == 0).all()
        assert (abs(found.x - 30) <= side / 2).all()
        assert (abs(found.y - 30) <= side / 2).all()
    assert missed <= 1
    assert others < 60 * (0.2 + (side / 20) ** 2)
    assert found.lost.tolist() == [0]


def test_two_stars_of_a_box_are_two_peaks_strongest_first() -> None:
    frame = np.random.default_rng(1).normal(1000, 2, (50, 50))
    star(frame, 18.2, 20.1, 400)
    star(frame, 29.9, 27.7, 900)
    found = look(frame.astype(np.float32), box_at(25, 25, 24))
    assert list(zip(found.x[:2], found.y[:2], strict=True)) == [(30, 28), (18, 20)]


def test_peaks_are_the_local_maxima_of_a_mean_over_a_wider_one() -> None:
    """Of all good pixels of the region, by filters of SciPy; heights over its scatter."""
    rng = np.random.default_rng(4)
    frame = rng.normal(500, 10, (40, 46))
    for x, y in rng.uniform(3, 36, (14, 2)):
        star(frame, x, y, rng.uniform(100, 900))
    frame = frame.astype(np.float32)
    mask = rng.random(frame.shape) < 0.05
    frame[5, 7], frame[20, 20] = np.nan, np.inf
    left, right, top, bottom = 6, 31, 3, 29
    found = look(frame, [left - 0.4, right + 0.3, top - 0.2, bottom + 0.49], mask=mask)
    first_x, first_y = left - 4, 0  # the frame ends 3 px above the box
    region = np.s_[first_y : bottom + 5, first_x : right + 5]
    good = (np.isfinite(frame) & ~mask)[region]
    values = np.where(good, frame[region].astype(float) - 500, 0)

    def sums(size: int) -> tuple[Float, Float]:
        square = np.ones((size, size))
        total = ndimage.convolve(values, square, mode="constant")
        return total, np.rint(ndimage.convolve(good.astype(float), square, mode="constant"))

    (inner, of_inner), (outer, of_outer) = sums(3), sums(9)
    rise = inner / of_inner - (outer - inner) / (of_outer - of_inner)
    edges = (first_x, right + 4, first_y, bottom + 4)
    np.testing.assert_allclose(seeking._rises(frame, mask, *edges), rise, atol=1e-9)
    scatter = 1.4826 * np.median(abs(rise - np.median(rise)))
    highest = rise == ndimage.maximum_filter(rise, 3, mode="constant", cval=-np.inf)
    rows, columns = np.nonzero(highest & (rise > np.median(rise) + 3.5 * scatter))
    rows, columns = rows + first_y, columns + first_x
    inside = (rows >= top) & (rows <= bottom) & (columns >= left) & (columns <= right)
    expected = set(zip(columns[inside].tolist(), rows[inside].tolist(), strict=True))
    assert len(expected) >= 7
    assert places(found) == expected
    heights = rise[found.y.astype(int) - first_y, found.x.astype(int) - first_x]
    assert (np.diff(heights) <= 0).all()


def test_only_boxes_of_more_than_4_px_are_searched() -> None:
    frame = np.random.default_rng(2).normal(100, 1, (30, 30))
    star(frame, 15, 15, 500)
    frame = frame.astype(np.float32)
    wide, flat = [13.0, 17.0, 13.0, 17.0], [12.9, 17.0, 15.0, 15.0]
    unknown = [math.nan] * 4
    found = look(frame, wide, unknown, flat)
    assert (places(found), found.owner.tolist()) == ({(15, 15)}, [2])
    assert found.lost.tolist() == [0, 0, 0]


def test_nothing_is_found_in_a_flat_frame_nor_without_pixels() -> None:
    for frame in (np.full((30, 30), 7, np.uint16), np.full((30, 30), np.nan, np.float32)):
        assert len(look(frame, box_at(15, 15, 20)).x) == 0
    frame = np.random.default_rng(3).normal(100, 1, (30, 30)).astype(np.float32)
    assert len(look(frame, box_at(15, 15, 20), mask=np.ones((30, 30), bool)).x) == 0


def test_of_a_plateau_the_first_pixel_is_the_peak() -> None:
    for rows, columns in ((3, 4), (4, 3), (4, 4)):
        frame = np.zeros((30, 30), np.uint16)
        frame[10 : 10 + rows, 10 : 10 + columns] = 1000  # so are several means of 3 x 3
        assert places(look(frame, box_at(12, 12, 12))) == {(11, 11)}


def test_bad_and_infinite_pixels_are_no_peaks() -> None:
    rng = np.random.default_rng(6)
    frame = rng.normal(100, 1, (40, 40)).astype(np.float32)
    frame[20, 20], frame[25, 22] = np.inf, 1e6
    mask = np.zeros(frame.shape, bool)
    mask[25, 22] = True
    star_frame = frame.astype(float)
    star_frame[np.isinf(star_frame)] = 100
    star(star_frame, 15, 24, 300)
    star_frame[20, 20] = np.inf
    found = look(star_frame.astype(np.float32), box_at(20, 22, 16), mask=mask)
    assert (15, 24) in places(found)
    assert len(found.x) <= 3
    near_bad = np.hypot(found.x - 22, found.y - 25) < 3
    assert not near_bad.any()


def test_more_peaks_than_are_taken_are_told() -> None:
    rng = np.random.default_rng(7)
    frame = rng.normal(100, 1, (100, 100))
    grid = np.arange(6, 94, 8)
    for x in grid:
        for y in grid:
            star(frame, x, y, 200 + x + y)
    found = look(frame.astype(np.float32), box_at(50, 50, 98), box_at(20, 20, 12))
    assert found.lost.tolist() == [1, 0]
    taken = found.owner == 0
    assert taken.sum() == MOST_PEAKS
    strongest = sorted(((x + y, x, y) for x in grid for y in grid), reverse=True)[:40]
    assert {(x, y) for _, x, y in strongest} <= places(found)  # the faint ones are left out


def test_of_a_box_too_large_a_part_is_searched_and_it_says_so() -> None:
    frame = np.random.default_rng(8).normal(100, 1, (30, MOST_SIDE + 60))
    for x in (100, MOST_SIDE + 30):
        star(frame, x, 15, 500)
    frame = frame.astype(np.float32)
    for wide, cut in ((MOST_SIDE - 1, False), (MOST_SIDE, True)):
        found = look(frame, [10.0, 10.0 + wide, 5.0, 25.0])
        assert found.lost.tolist() == [int(cut)]
        assert (100, 15) in places(found)
        assert found.x.max() < 10 + MOST_SIDE


def test_boxes_are_searched_as_long_as_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As plain Python, for compiled code holds the bound that it was compiled with."""
    plain = {name: loop.py_func for name, loop in vars(seeking).items() if hasattr(loop, "py_func")}
    for name, loop in plain.items():
        monkeypatch.setattr(seeking, name, loop)
    frame = np.random.default_rng(9).normal(100, 1, (40, 60))
    for x in (15, 45):
        star(frame, x, 20, 500)
    boxes = np.array([box_at(15, 20, 9), box_at(45, 20, 9), box_at(15, 20, 5)])
    # With 4 px around them the first two have 17 x 17 pixels, the last one 13 x 13.
    for room, owners in ((2 * 17**2 + 13**2, {0, 1, 2}), (17**2 + 13**2, {0, 2}), (168, set())):
        monkeypatch.setattr(seeking, "MOST_PIXELS", room)
        found = seeking.find_peaks(frame.astype(np.float32), NO_MASK, boxes)
        assert set(found.owner.tolist()) == owners
        assert set(np.flatnonzero(found.lost).tolist()) == {0, 1, 2} - owners


def test_ten_thousand_boxes_of_a_whole_frame_take_no_longer_than_a_few() -> None:
    """Counted, not timed: boxes of 2 million pixels are searched at most."""
    frame = np.random.default_rng(10).normal(100, 1, (600, 600)).astype(np.float32)
    star_frame = frame.astype(float)
    star(star_frame, 300, 300, 500)
    boxes = np.tile(box_at(299.5, 299.5, 600), (10_000, 1))
    found = find_peaks(star_frame.astype(np.float32), NO_MASK, boxes)
    assert (found.lost == 1).all()
    assert len(np.unique(found.owner)) <= (1 << 21) // 512**2


def test_a_frame_of_another_kind_or_mask_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^pixels: expected \(H, W\) uint8, uint16 or float32"):
        seek_in(np.zeros((4, 4)))
    with pytest.raises(ConfigError, match=r"^bad_pixels: expected a bool mask"):
        seek_in(np.zeros((4, 4), np.uint8), np.zeros((4, 5), bool))

"""Text, grey and marks at their limits."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dscsnet.engines.errors import DscsnetError
from dscsnet.tools.drawing import canvas as module
from dscsnet.tools.drawing.canvas import (
    RESOLVED,
    TEXT,
    cross,
    ellipse,
    magnified,
    outline,
    overlap,
    ring,
    save_picture,
    stretch,
    text_width,
    whole,
    write,
)


def test_text_is_smaller_only_where_it_would_be_too_wide() -> None:
    font = cv2.FONT_HERSHEY_SIMPLEX
    usual = module._font_scale("wide words", 16, None, font)
    needed = text_width("wide words", 16)
    for width, share in ((2 * needed, 1.0), (needed, 1.0), (needed / 2, 0.5)):
        assert module._font_scale("wide words", 16, width, font) == pytest.approx(share * usual)
    assert module._font_scale("", 16, 5.0, font) == usual
    assert module._font_scale("H", 32, None, font) == pytest.approx(2 * usual)
    assert text_width("wide words", 32) > 1.8 * needed
    assert text_width("wide words", 16, bold=True) > needed


def test_text_has_a_rim_where_told() -> None:
    pictures = []
    for rim in (False, True):
        picture = np.full((40, 120, 3), 255, np.uint8)
        write(picture, "rim", 10, 28, height=24, colour=(0, 0, 255), rim=rim)
        pictures.append(picture)
    dark = [(picture.max(axis=2) < 60).sum() for picture in pictures]
    assert dark[0] == 0
    assert dark[1] > 50


def test_grey_is_black_below_and_white_above() -> None:
    values = np.array([[-9.0, 0.0, 2.0, 4.0, 8.0, 99.0]])
    grey = stretch(values, 0, 8)
    assert grey.shape == (1, 6, 3)
    assert grey[0, :, 0].tolist() == [0, 0, 64, 128, 255, 255]
    assert stretch(values, 0, 8, 0.5)[0, 2, 1] == 128
    flat = stretch(np.full((2, 2), 5.0), 5.0, 5.0)
    assert (flat == 0).all()
    assert stretch(np.array([[5.0, 5.1]]), 5.0, 5.0)[0, :, 0].tolist() == [0, 255]


def test_a_place_of_an_image_in_its_picture() -> None:
    # The first pixel of an image begins at the first of its picture, and they share their edges.
    assert magnified(-0.5, 8) == -0.5
    assert magnified(4.5, 8, first=3) == 15.5


def test_a_box_lies_on_its_edges_with_a_dark_rim() -> None:
    picture = np.full((60, 80, 3), 255, np.uint8)
    outline(picture, (20, 10, 50, 40), RESOLVED, 1)
    for row, column in ((10, 30), (40, 30), (25, 20), (25, 50)):
        assert picture[row, column].tolist() == pytest.approx(list(RESOLVED), abs=30)
    assert picture[9, 30].max() < 100
    assert picture[25, 30].tolist() == [255] * 3


def test_a_picture_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DscsnetError, match=r"none/a\.png: cannot be written: "):
        save_picture(tmp_path / "none" / "a.png", np.zeros((2, 2, 3), np.uint8))


def blank(shade: int = 255) -> np.ndarray:
    return np.full((80, 120, 3), shade, np.uint8)


def test_text_is_thin_light_and_16_px_high_unless_told() -> None:
    usual, told = blank(0), blank(0)
    write(usual, "Words", 20, 50)
    write(told, "Words", 20, 50, height=16, colour=TEXT, bold=False, rim=False, width=None)
    np.testing.assert_array_equal(usual, told)
    bold = blank(0)
    write(bold, "Words", 20, 50, bold=True)
    assert (bold != usual).any()
    assert text_width("Words", 16) == text_width("Words", 16, bold=False)


def test_a_rim_is_a_pixel_wide_around_the_letters() -> None:
    plain, rimmed = blank(0), blank(255)
    write(plain, "I", 20, 50, height=30, colour=(255, 255, 255))
    write(rimmed, "I", 20, 50, height=30, colour=(255, 255, 255), rim=True)
    letters = plain[..., 0] > 200
    dark = (rimmed < 100).all(axis=2)
    rows, columns = np.nonzero(letters)
    dark_rows, dark_columns = np.nonzero(dark)
    assert (dark_rows.min(), dark_rows.max()) == pytest.approx(
        (rows.min() - 1, rows.max() + 1), abs=1
    )
    assert (dark_columns.min(), dark_columns.max()) == pytest.approx(
        (columns.min() - 1, columns.max() + 1), abs=1
    )
    assert (rimmed[letters] > 200).all()


def extent(mask: np.ndarray) -> list[int]:
    """Left, top, right, bottom."""
    rows, columns = np.nonzero(mask)
    return [int(each) for each in (columns.min(), rows.min(), columns.max(), rows.max())]


def coloured(picture: np.ndarray) -> np.ndarray:
    """What is nearer to orange than to white or dark."""
    return picture[..., 2].astype(int) - picture[..., 0] > 100


def changed(picture: np.ndarray) -> np.ndarray:
    """What is covered by half at least: edges are smoothed."""
    return (picture < 150).any(axis=2)


def test_a_ring_is_two_pixels_wide_with_a_rim_of_one() -> None:
    picture = blank()
    ring(picture, 60, 40, 20, RESOLVED)
    assert extent(coloured(picture)) == pytest.approx([39, 19, 81, 61], abs=1)
    assert extent(changed(picture)) == pytest.approx([38, 18, 82, 62], abs=1)
    along = coloured(picture)[40]
    assert np.count_nonzero(along) == pytest.approx(7, abs=1)  # two crossings, edges included
    assert picture[40, 60].tolist() == [255] * 3
    assert picture[40, 78:84].sum(axis=1).min() < sum(RESOLVED)  # the rim is darker


def test_arms_of_a_cross_reach_as_far_as_told() -> None:
    picture = blank()
    cross(picture, 60, 40, 12, RESOLVED)
    left, top, right, bottom = extent(coloured(picture))
    assert (left, right) == pytest.approx((48, 72), abs=2)
    assert (top, bottom) == pytest.approx((28, 52), abs=2)
    assert np.count_nonzero(coloured(picture)[:, 50]) == pytest.approx(2, abs=1)
    assert np.count_nonzero(changed(picture)[:, 50]) == pytest.approx(5, abs=1)
    corner = picture[25:34, 45:54]
    assert (corner == 255).all()


@pytest.mark.parametrize("thickness", [1, -1])
def test_an_ellipse_has_its_half_axes(thickness: int) -> None:
    picture = blank()
    ellipse(picture, 60.5, 40.5, 30, 12, RESOLVED, thickness)
    assert extent(changed(picture)) == pytest.approx([30, 28, 91, 53], abs=1)
    assert coloured(picture)[40, 60] == (thickness < 0)
    area = np.count_nonzero(changed(picture))
    if thickness < 0:
        assert area == pytest.approx(np.pi * 30 * 12, rel=0.08)


def test_positions_are_told_in_sixteenths_of_a_pixel() -> None:
    assert [whole(value) for value in (0, 1, 2.5, -0.0625, 0.03)] == [0, 16, 40, -1, 0]


def test_boxes_that_touch_share_no_area() -> None:
    box = (10.0, 20.0, 30.0, 40.0)
    assert overlap(box, (29.9, 39.9, 50, 60))
    assert overlap(box, (0, 0, 10.1, 20.1))
    for other in ((30, 20, 40, 40), (0, 20, 10, 40), (10, 40, 30, 50), (10, 0, 30, 20)):
        assert not overlap(box, other)
        assert not overlap(other, box)

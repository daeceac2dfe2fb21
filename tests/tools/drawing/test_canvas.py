"""Text, grey and marks at their limits."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dscsnet.engines.errors import DscsnetError
from dscsnet.tools.drawing import canvas as module
from dscsnet.tools.drawing.canvas import (
    RESOLVED,
    magnified,
    outline,
    save_picture,
    stretch,
    text_width,
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

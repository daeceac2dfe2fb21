"""What a panel shows and where its marks and numbers go, at the limits of each."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dscsnet.tools.drawing.canvas import BACKGROUND, TEXT, overlap
from dscsnet.tools.show import crop_panel as module
from dscsnet.tools.show.crop_panel import (
    PANEL,
    Mark,
    draw_error,
    draw_marks,
    marks_of,
    place_number,
    targets_window,
)


def view_of(*targets: tuple[float, float, float, float]) -> Any:
    """A crop of 11x11 px with targets: x, y and their sigmas."""
    x, y, sigma_x, sigma_y = np.array(targets, float).reshape(-1, 4).T
    found = SimpleNamespace(x=x, y=y, sigma_x=sigma_x, sigma_y=sigma_y)
    return SimpleNamespace(estimates=found, observed=np.zeros((11, 11)))


@pytest.mark.parametrize(
    ("targets", "window"),
    [
        ([], (-0.5, -0.5, 11)),
        ([(5, 6, 0.01, 0.01)], (4, 5, 2)),
        ([(5, 6, 0.5, 0.01)], (3.4, 4.4, 3.2)),
        ([(5, 6, 0.01, 0.5)], (3.4, 4.4, 3.2)),
        ([(5, 6, 3.0, 0.1)], (2.9, 3.9, 4.2)),
        ([(5, 6, np.nan, np.nan)], (4, 5, 2)),
        ([(0, 10, 0.5, 0.5)], (-0.5, 7.3, 3.2)),
        ([(10, 0, 0.5, 0.5)], (7.3, -0.5, 3.2)),
        ([(3, 4, 0.2, 0.2), (7, 5, 0.2, 0.2)], (2, 1.5, 6)),
        ([(0, 4, 0.2, 0.2), (10, 5, 0.2, 0.2)], (-0.5, -0.5, 11)),
    ],
)
def test_the_window_is_about_the_targets(
    targets: list[tuple[float, float, float, float]], window: tuple[float, float, float]
) -> None:
    assert targets_window(view_of(*targets)) == pytest.approx(window)


def test_marks_have_the_places_and_sizes_of_their_targets() -> None:
    marks = marks_of(view_of((4, 7, 0.1, 0.2), (5, 6.5, np.nan, np.nan)), (3.0, 6.0, 2.0))
    zoom = PANEL / 2
    expected = [
        Mark(zoom - 0.5, zoom - 0.5, 0.1 * zoom, 0.2 * zoom),
        Mark(2 * zoom - 0.5, 0.5 * zoom - 0.5, 0, 0),
    ]
    for mark, wanted in zip(marks, expected, strict=True):
        assert (mark.x, mark.y, mark.wide, mark.high) == pytest.approx(tuple(vars(wanted).values()))


@pytest.mark.parametrize(
    "mark", [Mark(100, 100, 12, 8), Mark(100, 100, 1, 9), Mark(100, 100, 0, 0)]
)
@pytest.mark.parametrize("sigmas", [0.0, 1.0, 2.0])
def test_a_box_touches_where_a_point_of_it_lies_in_the_ellipse(mark: Mark, sigmas: float) -> None:
    across, down = max(sigmas * mark.wide, 5), max(sigmas * mark.high, 5)
    seen = set()
    for angle in np.linspace(0, 2 * math.pi, 16, endpoint=False):
        for far in (0.2, 0.9, 1.4):
            x = mark.x + far * (across + 6) * math.cos(angle)
            y = mark.y + far * (down + 4) * math.sin(angle)
            box = (x - 6, y - 4, x + 6, y + 4)
            columns, rows = np.meshgrid(
                np.linspace(x - 6, x + 6, 97), np.linspace(y - 4, y + 4, 97)
            )
            away = np.hypot((columns - mark.x) / across, (rows - mark.y) / down).min()
            if abs(away - 1) > 0.02:
                assert mark.touches(box, sigmas) == (away < 1)
                seen.add(away < 1)
    assert seen == {True, False}


def test_the_dots_own_rim_does_not_touch() -> None:
    mark = Mark(100, 100, 0, 0)
    assert not mark.touches((105, 90, 120, 110), 2.0)
    assert mark.touches((104.9, 90, 120, 110), 2.0)


@pytest.mark.parametrize(
    ("mark", "across", "down"),
    [(Mark(90, 80, 10, 4), 20, 8), (Mark(90, 80, 1, 2), 5, 5), (Mark(90, 80, 40, 30), 50, 50)],
)
def test_numbers_are_tried_at_the_ellipse_first(mark: Mark, across: float, down: float) -> None:
    places = list(module._around(mark, 7, 9))
    assert len(places) == 6 * 8
    steps = [0] * 8 + [6] * 8 + [12] * 8 + [20] * 8 + [30] * 8 + [44] * 8
    angles = [-45, 45, -135, 135, 0, 180, -90, 90] * 6
    for (x, y), step, angle in zip(places, steps, angles, strict=True):
        assert x == pytest.approx(90 + math.cos(math.radians(angle)) * (across + step + 9))
        assert y == pytest.approx(80 + math.sin(math.radians(angle)) * (down + step + 9))


def test_a_number_goes_where_there_is_room_and_else_to_the_first_place() -> None:
    mark = Mark(100, 100, 4, 4)
    first = place_number(mark, "1", [mark], [])
    assert (first[0] + first[2]) / 2 == pytest.approx(100 + 8 + 2 + (first[2] - first[0]) / 2)
    assert (first[1] + first[3]) / 2 == pytest.approx(100)  # to the right: nearer ones touch
    second = place_number(mark, "1", [mark], [first])
    assert not overlap(first, second)
    assert not mark.touches(second, 2.0)
    everywhere = [(0.0, 0.0, float(PANEL), float(PANEL))]
    assert place_number(mark, "1", [mark], everywhere) == first
    # Ellipses all over the panel: the inner ones are kept clear.
    wide = [Mark(100, 100, 4, 4), Mark(130, 100, 150, 150)]
    crowded = place_number(wide[0], "1", wide, [])
    assert not wide[0].touches(crowded, 0.0)
    corner = Mark(PANEL - 2.0, 2.0, 0, 0)
    left, top, right, bottom = place_number(corner, "1", [corner], [])
    assert min(left, top) >= 0
    assert max(right, bottom) < PANEL


@pytest.mark.parametrize(("wide", "high"), [(0.0, 9.0), (9.0, 0.0)])
def test_an_error_known_along_one_axis_alone_is_not_drawn(wide: float, high: float) -> None:
    picture = np.full((PANEL, PANEL, 3), BACKGROUND, np.uint8)
    draw_error(picture, Mark(100, 100, wide, high))
    assert (picture == BACKGROUND).all()


def test_every_target_has_its_dot_and_its_number() -> None:
    panel = np.full((PANEL, PANEL, 3), BACKGROUND, np.uint8)
    draw_marks(panel, [Mark(60, 80, 20, 10), Mark(200, 180, 0, 0)])
    for x, y in ((60, 80), (200, 180)):
        assert panel[y, x].tolist() == list(TEXT)
        near = (panel[y - 40 : y + 41, x - 60 : x + 61] == TEXT).all(axis=2)
        near[35:46, 55:66] = False
        assert near.any()


def test_where_all_is_crowded_a_number_stands_at_its_first_place() -> None:
    marks = [Mark(x, y, 0, 0) for x in range(0, PANEL, 6) for y in range(0, PANEL, 6)]
    mark = next(each for each in marks if (each.x, each.y) == (132, 132))
    label = place_number(mark, "7", marks, [])
    x, y = next(iter(module._around(mark, (label[2] - label[0]) / 2, module.TEXT_HEIGHT / 2)))
    assert ((label[0] + label[2]) / 2, (label[1] + label[3]) / 2) == pytest.approx((x, y))

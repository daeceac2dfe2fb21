"""Bars, points and lines lie where their values are."""

import numpy as np
import pytest

from dscsnet.tools.drawing.axes import Axes, bars, curve, points, ticks
from dscsnet.tools.drawing.line_plot import LEFT, RIGHT, Line, draw_plot

COLOUR = (0, 0, 255)
AXES = Axes((20, 10, 100, 50), (0.0, 10.0), (0.0, 5.0))


def blank() -> np.ndarray:
    return np.zeros((80, 140, 3), np.uint8)


def marked(picture: np.ndarray) -> list[int]:
    """Left, top, right, bottom of what is drawn."""
    rows, columns = np.nonzero(picture.any(axis=2))
    return [columns.min(), rows.min(), columns.max(), rows.max()]


def test_values_have_their_places() -> None:
    assert (AXES.column(0), AXES.column(10), AXES.row(0), AXES.row(5)) == (20, 120, 60, 10)
    assert AXES.column(2.5) == 45
    assert AXES.row(1.0) == 50


@pytest.mark.parametrize(
    ("edges", "value", "place"),
    [
        ((2, 4), 3.0, [40, 30, 58, 59]),  # one column is left free
        ((2, 2.1), 3.0, [40, 30, 40, 59]),
        ((2, 2.02), 3.0, [40, 30, 40, 59]),
        ((2, 4), 9.0, [40, 10, 58, 59]),
        ((2, 4), 5.0, [40, 10, 58, 59]),
    ],
)
def test_a_bar(edges: tuple[float, float], value: float, place: list[int]) -> None:
    picture = blank()
    bars(picture, AXES, np.array(edges), np.array([value]), COLOUR)
    assert marked(picture) == place


def test_no_bar_of_nothing() -> None:
    picture = blank()
    bars(picture, AXES, np.array([0.0, 5.0, 10.0]), np.array([0.0, -1.0]), COLOUR)
    assert not picture.any()


def test_points_at_the_rim_are_drawn_and_none_beyond() -> None:
    for x, y, seen in (
        *((0, 0, True), (10, 5, True), (0, 5, True), (10, 0, True)),
        *((-0.1, 2, False), (10.1, 2, False), (5, -0.1, False), (5, 5.1, False)),
    ):
        picture = blank()
        points(picture, AXES, np.array([float(x)]), np.array([float(y)]), COLOUR, 2)
        assert picture.any() == seen
        if seen:
            left, top, right, bottom = marked(picture)
            assert (left + right) / 2 == pytest.approx(AXES.column(x), abs=0.5)
            assert (top + bottom) / 2 == pytest.approx(AXES.row(y), abs=0.5)


def test_a_curve_ends_where_the_axes_do() -> None:
    picture = blank()
    curve(picture, AXES, np.array([-5.0, 15.0]), np.array([2.5, 2.5]), COLOUR)
    left, top, right, bottom = marked(picture)
    assert (left, right) == (20, 120)
    assert (top + bottom) / 2 == pytest.approx(35, abs=0.5)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0, 5, [0, 1, 2, 3, 4, 5]), (-1, 24, [0, 5, 10, 15, 20]),
     (0.1, 0.9, [0.2, 0.4, 0.6, 0.8]), (0, 50.1, [0, 20, 40])],
)  # fmt: skip
def test_ticks(low: float, high: float, expected: list[float]) -> None:
    np.testing.assert_allclose(ticks(low, high), expected)


def test_a_plot_of_percentages_and_one_of_a_single_point() -> None:
    view = np.zeros((300, 400, 3), np.uint8)
    line = Line("a", COLOUR, np.array([0.0, 1.0]), np.array([0.0, 100.0]), ("0", "1"))
    draw_plot(view, "title", [line])
    rows, columns = np.nonzero((view[60:] == COLOUR).all(axis=2))
    assert columns.min() == pytest.approx(LEFT, abs=5)
    assert columns.max() == pytest.approx(399 - RIGHT, abs=5)
    assert rows[columns.argmin()] > rows[columns.argmax()] + 150
    single = np.zeros((300, 400, 3), np.uint8)
    draw_plot(single, "title", [Line("a", COLOUR, np.array([3.0]), np.array([50.0]), ("3",))])
    _, columns = np.nonzero((single[60:] == COLOUR).all(axis=2))
    assert columns.mean() == pytest.approx(LEFT, abs=2)

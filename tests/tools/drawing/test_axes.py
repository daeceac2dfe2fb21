"""Bars, points and lines lie where their values are."""

import numpy as np
import pytest

from dscsnet.tools.drawing import axes as module
from dscsnet.tools.drawing import line_plot
from dscsnet.tools.drawing.axes import Axes, bars, curve, frame_axes, points, ticks
from dscsnet.tools.drawing.canvas import text_width
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


@pytest.mark.parametrize(
    ("x", "y", "seen"),
    [
        *((1.0, -2.0, True), (9.0, 3.0, True), (5.0, 0.0, True), (0.9, 0.0, False)),
        *((9.1, 0.0, False), (5.0, -2.1, False), (5.0, 3.1, False), (2.0, 2.5, True)),
    ],
)
def test_points_are_held_to_the_range_of_each_axis(x: float, y: float, seen: bool) -> None:
    picture = blank()
    axes = Axes((20, 10, 100, 50), (1.0, 9.0), (-2.0, 3.0))
    points(picture, axes, np.array([x]), np.array([y]), COLOUR, 2)
    assert picture.any() == seen


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


def test_each_axis_has_a_range_of_its_own() -> None:
    axes = Axes((20, 10, 100, 50), (1.0, 9.0), (-2.0, 3.0))
    assert (axes.column(1), axes.column(9), axes.column(3)) == (20, 120, 45)
    assert (axes.row(-2), axes.row(3), axes.row(0)) == (60, 10, 40)
    np.testing.assert_allclose(axes.columns(np.array([1.0, 5.0])), [20, 70])
    np.testing.assert_allclose(axes.rows(np.array([-1.0, 2.0])), [50, 20])


def test_ticks_and_numbers_stand_at_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: dict[str, tuple[float, float]] = {}
    monkeypatch.setattr(
        module, "write", lambda _view, text, x, y, **_: texts.__setitem__(text, (x, y))
    )
    picture = np.zeros((140, 220, 3), np.uint8)
    frame_axes(picture, Axes((60, 20, 100, 80), (0.0, 50.0), (0.0, 4.0)), "below", "above")
    drawn = picture.any(axis=2)
    # The frame; below it ticks of 4 px at 0, 10, ... 50, to its left at 0, 1, ... 4.
    assert drawn[20, 60:161].all()
    assert drawn[100, 60:161].all()
    assert drawn[20:101, 60].all()
    assert drawn[20:101, 160].all()
    for row in (101, 104):
        assert np.flatnonzero(drawn[row]).tolist() == [60, 80, 100, 120, 140, 160]
    assert not drawn[105:].any()
    for column in (56, 59):
        assert np.flatnonzero(drawn[:, column]).tolist() == [20, 40, 60, 80, 100]
    assert not drawn[:, :56].any()
    assert texts["30"] == (120 - text_width("30", 14) / 2, 120)
    assert texts["3"] == (60 - 8 - text_width("3", 14), 45)
    assert (texts["below"], texts["above"]) == ((60, 144), (60, 12))


def test_a_plot_has_lines_at_each_fifth_and_names_in_a_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts: dict[str, tuple[float, float]] = {}
    monkeypatch.setattr(
        line_plot, "write", lambda _view, text, x, y, **_: texts.setdefault(text, (x, y))
    )
    view = np.zeros((306, 476, 3), np.uint8)
    x = np.array([0.0, 1.0, 4.0])
    lines = [
        Line("one", COLOUR, x, np.array([10.0, np.nan, 30.0]), ("a", "b", "c")),
        Line("second", (255, 0, 0), x, np.array([60.0, 70.0, 75.0]), ("a", "b", "c")),
    ]
    draw_plot(view, "title", lines)
    # Axes of 400 x 200 px from (52, 70): 100 % at the top, 20 % are 40 px.
    grid = np.flatnonzero((view[:, 300] == line_plot.GRID).all(axis=1))
    assert grid.tolist() == [70, 110, 150, 190, 230, 270]
    assert np.flatnonzero((view[110] == line_plot.GRID).all(axis=1))[[0, -1]].tolist() == [52, 452]
    assert texts["40"] == (52 - 8 - text_width("40", 16), 190 + 5)
    places = [texts[label][0] + text_width(label, 16) / 2 for label in "abc"]
    assert places == [52, 152, 452]
    assert texts["a"][1] == 306 - 12
    assert texts["one"] == (52, 48)
    assert texts["second"] == (52 + text_width("one", 16) + 24, 48)
    dots = (view == COLOUR).all(axis=2)
    assert dots[250, 52]
    assert dots[210, 452]


def test_a_point_without_a_value_is_passed_over() -> None:
    view = np.zeros((306, 476, 3), np.uint8)
    x, values = np.array([0.0, 2.0, 4.0]), np.array([0.0, np.nan, 0.0])
    draw_plot(view, "", [Line("", COLOUR, x, values, ("", "", ""))])
    rows, columns = np.nonzero((view == COLOUR).all(axis=2))
    assert rows.max() - 270 == 4  # dots of 4 px at both ends
    at_middle = rows[np.abs(columns - 252) < 10]
    assert np.ptp(at_middle) < 3  # the line alone

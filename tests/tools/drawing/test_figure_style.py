"""Units of time and colours of matplotlib's figures."""

import pytest

from dscsnet.tools.drawing.figure_style import as_hex, style_panel, time_unit


@pytest.mark.parametrize(
    ("seconds", "unit"),
    [
        *((299, (1, "s")), (300, (60, "min")), (10_799, (60, "min")), (10_800, (3600, "h"))),
    ],
)
def test_a_time_is_told_in_a_unit_that_reads_well(seconds: float, unit: tuple[float, str]) -> None:
    assert time_unit(seconds) == unit


def test_colours_are_blue_green_red_and_told_the_other_way_round() -> None:
    assert as_hex((1, 0x20, 0xFF)) == "#ff2001"


def test_axes_stand_on_two_sides_over_a_grid() -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    style_panel(panel)
    assert {side for side, spine in panel.spines.items() if spine.get_visible()} == {
        "left",
        "bottom",
    }
    assert all(line.get_visible() for line in panel.get_xgridlines())
    assert max(panel.get_facecolor()[:3]) < 0.2
    assert panel.xaxis.label.get_color() == panel.yaxis.label.get_color() == "#e6eaee"
    assert {label.get_color() for label in panel.get_xticklabels()} == {"#96a0ac"}
    assert {label.get_size() for label in panel.get_xticklabels()} == {9}

"""The lines, ticks and titles of the crops' picture."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dscsnet.tools.drawing.canvas import BACKGROUND, BOX, QUIET
from dscsnet.tools.show import crops_picture as module
from dscsnet.tools.show.crop_panel import PANEL
from dscsnet.tools.show.crops import _strongest


def view_of(targets: int = 0, **changes: Any) -> Any:
    found = SimpleNamespace(x=np.zeros(targets))
    given = {"left": 0, "top": 0, "field": (2, 9), "observed": np.zeros((11, 11)), "noise": 2.0}
    given |= {"usable": np.ones((11, 11), bool), "residual": np.zeros((11, 11))}
    return SimpleNamespace(estimates=found, **given | changes)


@pytest.fixture(name="rows")
def _rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of as many targets as the view has; four lines on the crop."""
    monkeypatch.setattr(module, "target_rows", lambda view: [("row",)] * len(view.estimates.x))
    monkeypatch.setattr(module, "quality_rows", lambda view: [("name", "text")] * 4)


@pytest.mark.usefixtures("rows")
def test_twelve_targets_are_listed_and_of_more_eleven() -> None:
    assert module._table(view_of(0)) == []
    twelve = module._table(view_of(12))
    assert [row[0] for row in twelve] == [str(k) for k in range(1, 13)]
    more = module._table(view_of(13))
    assert len(more) == 12
    assert more[-1] == ("", "and 2 more")
    assert more[-2] == ("11", "row")


@pytest.mark.usefixtures("rows")
def test_a_row_is_as_high_as_its_longer_text() -> None:
    heights = [module._height(view_of(number)) for number in (0, 3, 4, 12, 20)]
    line = module.LINE
    assert [height - heights[0] for height in heights] == [0, 0, line, 9 * line, 9 * line]


@pytest.mark.parametrize(
    ("first", "side", "offset", "step", "expected"),
    [
        (-0.5, 11, 20, 2, [(k + 0.5, str(20 + k)) for k in (0, 2, 4, 6, 8, 10)]),
        (0.5, 2, 0, 0.5, [(0, "0.5"), (0.5, "1"), (1, "1.5"), (1.5, "2"), (2, "2.5")]),
        (0.6, 1, -3, 1, [(0.4, "-2")]),
    ],
)  # fmt: skip
def test_ticks_are_at_round_numbers_of_the_frame(
    first: float, side: float, offset: int, step: float, expected: list[tuple[float, str]]
) -> None:
    found = module._ticks(first, side, offset, step)
    assert [label for _, label in found] == [label for _, label in expected]
    assert [place for place, _ in found] == pytest.approx([place for place, _ in expected])


@pytest.mark.parametrize("numbered", [True, False])
def test_rows_are_numbered_where_told(numbered: bool) -> None:
    picture = np.full((PANEL + 100, PANEL + 100, 3), BACKGROUND, np.uint8)
    view = view_of(left=20, top=30)
    module._draw_ticks(picture, 60, 20, view, (-0.5, -0.5, 11.0), numbered=numbered)
    below = (picture[20 + PANEL + 2 : 20 + PANEL + 6] == QUIET).all(axis=(0, 2))
    assert np.flatnonzero(below).tolist() == [
        round(60 + (k + 0.5) * 24 - 0.5) for k in (0, 2, 4, 6, 8, 10)
    ]
    aside = (picture[:, 54:58] == QUIET).all(axis=(1, 2))
    expected = [round(20 + (k + 0.5) * 24 - 0.5) for k in (0, 2, 4, 6, 8, 10)]
    assert np.flatnonzero(aside).tolist() == (expected if numbered else [])


def test_titles_say_what_is_known() -> None:
    assert [module._targets_title(view_of(n)) for n in range(3)] == [
        *("no target", "1 target", "2 targets")
    ]
    residual = np.zeros((11, 11))
    residual[3, 3], residual[4, 4], residual[5, 5] = -2.5, 3.25, 99
    usable = np.ones((11, 11), bool)
    usable[5, 5] = False
    view = view_of(residual=residual, usable=usable)
    assert module._residual_title(view) == "residual, -2.5 to +3.2 sigmas"
    assert module._residual_title(view_of(noise=math.nan)) == "residual"
    none = np.zeros((11, 11), bool)
    assert module._residual_title(view_of(usable=none)) == "residual"
    assert module._range(residual, none) == (-2.5, 99)
    assert module._range(residual, usable) == (-2.5, 3.25)


def test_the_field_is_marked_unless_it_is_the_crop() -> None:
    panel = np.zeros((PANEL, PANEL, 3), np.uint8)
    module._mark_field(panel, view_of(field=(0, 11)))
    assert not panel.any()
    module._mark_field(panel, view_of(field=(2, 9)))
    rows, columns = np.nonzero((panel == BOX).all(axis=2))
    assert [rows.min(), rows.max(), columns.min(), columns.max()] == [48, 215, 48, 215]


def test_each_pixel_that_does_not_count_is_crossed_out() -> None:
    panel = np.zeros((PANEL, PANEL, 3), np.uint8)
    usable = np.ones((11, 11), bool)
    usable[2, 7] = False
    module._mark_left_out(panel, view_of(usable=usable))
    rows, columns = np.nonzero(panel.any(axis=2))
    assert (rows.min(), rows.max()) == pytest.approx((2 * 24 + 5, 3 * 24 - 6), abs=1)
    assert (columns.min(), columns.max()) == pytest.approx((7 * 24 + 5, 8 * 24 - 6), abs=1)


def test_the_first_crop_of_each_candidate_in_their_order() -> None:
    plan: Any = SimpleNamespace(spot=np.array([2, 0, 0, 1, 2]))
    assert _strongest(plan) == [0, 1, 3]

"""The contact sheet: which crops it shows and where."""

import pytest

torch = pytest.importorskip("torch")

from typing import Any  # noqa: E402

from dscsnet.tools.dataset import contact_sheet  # noqa: E402
from dscsnet.tools.dataset.contact_sheet import draw_sheet  # noqa: E402
from dscsnet.tools.simulation.scenes import Scenes  # noqa: E402

SIZE, CENTER = 11, 5


def scenes(numbers: list[int]) -> Scenes:
    """Crops with so many targets, each crop filled with its index but for one brighter pixel."""
    present = torch.arange(max(*numbers, 1))[None] < torch.tensor(numbers)[:, None]
    x, y = (torch.where(present, CENTER + off, float(CENTER)) for off in (2.0, -1.0))
    crops = torch.arange(len(numbers)).float()[:, None, None].expand(-1, SIZE, SIZE).clone()
    crops[:, 4, 7] += 100
    return Scenes(crops, x, y, present * 50.0, present, torch.ones(len(numbers)))


def test_each_row_shows_the_first_crops_of_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[int, int]] = []
    words: list[tuple[str, float, float]] = []

    def draw(view: Any, _: Scenes, index: int, reach: int) -> None:
        assert view.shape == (132, 132, 3)
        drawn.append((index, reach))
        view[:] = (index, 0, 255)

    def write(_: Any, text: str, x: float, y: float, **__: Any) -> None:
        words.append((text, x, y))

    monkeypatch.setattr(contact_sheet, "_draw_crop", draw)
    monkeypatch.setattr(contact_sheet, "write", write)
    numbers = [2, 0, 1, 2] + [1] * 9
    sheet = draw_sheet(scenes(numbers), "set")
    shown = [[1], [2, 4, 5, 6, 7, 8, 9, 10], [0, 3]]  # of one target not the last two
    assert drawn == [(index, 3) for row in shown for index in row]
    assert sheet.shape == (56 + 3 * 170, 12 + 8 * 144, 3)
    for row, indices in enumerate(shown):
        top = 56 + row * 170 + 26
        for column, index in enumerate(indices):
            left = 12 + 144 * column
            assert (sheet[top : top + 132, left : left + 132] == (index, 0, 255)).all()
    assert words == [
        ("set, 11x11 px, central 7x7 shown; rings: true targets", 12, 36),
        ("0 targets: 1 crops", 12, 56 + 14),
        ("1 target: 10 crops", 12, 226 + 14),
        ("2 targets: 2 crops", 12, 396 + 14),
    ]


def test_only_the_eight_fewest_numbers_have_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    monkeypatch.setattr(
        contact_sheet, "_draw_crop", lambda view, _, index, reach: drawn.append(index)
    )
    sheet = draw_sheet(scenes([9, 8, 7, 6, 5, 4, 3, 2, 1]), "set")
    assert sheet.shape[0] == 56 + 8 * 170
    assert drawn == [8, 7, 6, 5, 4, 3, 2, 1]


def test_rings_are_where_targets_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Magnified like the pixels: pixel (7, 4) is the last but one to the right of 7x7."""
    rings: list[tuple[float, ...]] = []
    monkeypatch.setattr(
        contact_sheet, "ring", lambda view, x, y, radius, colour: rings.append((x, y, radius))
    )
    given = scenes([1, 2])
    sheet = draw_sheet(given, "set")
    step = 132 / 7
    assert len(rings) == 3  # of all targets
    for x, y, radius in rings:
        assert (x, y) == pytest.approx((5.5 * step - 0.5, 2.5 * step - 0.5), abs=0.51)
        assert radius == 5
    for row in (0, 1):
        top = 56 + row * 170 + 26
        view = sheet[top : top + 132, 12 : 12 + 132, 0]
        assert view[round(2.5 * step), round(5.5 * step)] == 255
        assert view[round(2.5 * step), round(4.4 * step)] == 0

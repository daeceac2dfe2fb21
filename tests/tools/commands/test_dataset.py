"""`dscsnet dataset`: its progress without a terminal, and what it prints of a set."""

import io
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from rich.console import Console  # noqa: E402

from dscsnet.tools.commands import dataset as module  # noqa: E402
from dscsnet.tools.simulation.scenes import Scenes  # noqa: E402


def test_a_line_every_five_seconds_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    with module.progress("reading") as tell:
        for done, now in enumerate((104.9, 105.0, 109.9, 110.0), 1):
            clock.now = now
            tell(done, 9)
    lines = ["reading: 2 of 9 crops", "reading: 4 of 9 crops"]
    assert capsys.readouterr().err.splitlines() == lines


def test_a_bar_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(force_terminal=True, record=True, file=io.StringIO())
    monkeypatch.setattr(module, "Console", lambda **_: terminal)
    with module.progress("reading") as tell:
        tell(3, 9)
    assert "3/9" in terminal.export_text()


def test_base_is_what_the_reader_takes() -> None:
    assert [module.base_of(option) for option in ("auto", "0", "1")] == ["auto", 0, 1]


def test_a_row_for_each_number_of_targets(capsys: pytest.CaptureFixture[str]) -> None:
    present = torch.tensor([[True, True], [True, False], [False, False], [True, False]])
    column = torch.tensor([[1.0, 2.0], [3.0, 0.0], [0.0, 0.0], [4.0, 0.0]])
    crops = torch.zeros(4, 11, 11)
    crops[1, 2, 3], crops[0, 0, 0] = 40, -3
    noise = torch.tensor([0.0, 1.5, 0.5, 0.0])
    module._print("val", Scenes(crops, column + 1, column + 2, column * 100, present, noise))
    head, columns, *rows = capsys.readouterr().out.splitlines()
    assert head == "val: 4 crops of 11x11 px, -3 to 40 counts, noise sigma up to 1.5"
    assert columns.split() == ["targets", "crops", "intensity", "x,", "px", "y,", "px"]
    assert [row.split() for row in rows] == [
        ["0", "1"],
        ["1", "2", "300.00", "to", "400.00", "4.00", "to", "5.00", "5.00", "to", "6.00"],
        ["2", "1", "100.00", "to", "200.00", "2.00", "to", "3.00", "3.00", "to", "4.00"],
    ]
    module._print("val", Scenes(crops, column, column, column, present, 0 * noise))
    assert "noise" not in capsys.readouterr().out

"""`dscsnet calibrate`: its progress; what it measures is tested with the calibration."""

import io

import pytest
from rich.console import Console

import dscsnet.pipeline.commands.progress
from dscsnet.tools.commands import calibrate as module


def test_a_bar_on_a_terminal_and_lines_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        dscsnet.pipeline.commands.progress,
        "plain_progress",
        lambda write: lambda done, total: write(f"{done} of {total}"),
    )
    terminal = Console(force_terminal=True, record=True, file=io.StringIO())
    monkeypatch.setattr(module, "Console", lambda **_: terminal)
    with module._progress() as tell:
        tell(3, 9)
    assert "3/9" in terminal.export_text()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(module, "Console", lambda **_: Console(file=io.StringIO()))
    with module._progress() as tell:
        tell(3, 9)
    assert capsys.readouterr().err == "reading: 3 of 9\n"

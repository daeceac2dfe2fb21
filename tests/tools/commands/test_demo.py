"""`dscsnet demo`: what it is run with, and what its exit code is."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import dscsnet.tools.demo.console
from dscsnet.pipeline.config import EngineSettings
from dscsnet.tools.cli import new_cli
from dscsnet.tools.demo.run import DemoSettings


@pytest.mark.parametrize("code", [0, 1, 130])
def test_the_exit_code_is_the_demos(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    given: list[DemoSettings] = []
    monkeypatch.setattr(
        dscsnet.tools.demo.console, "show_demo", lambda settings: given.append(settings) or code
    )
    arguments = [
        "--frames",
        "7",
        "--rate",
        "2.5",
        "--seed",
        "9",
        "--model",
        "psf-fit",
        "--output",
        "else",
    ]
    result = CliRunner().invoke(new_cli(), ["demo", *arguments])
    assert result.exit_code == code
    assert given == [DemoSettings(Path("else"), 7, 2.5, 9, "psf-fit")]


def test_by_default_it_is_the_scene_of_the_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[DemoSettings] = []
    monkeypatch.setattr(
        dscsnet.tools.demo.console, "show_demo", lambda settings: given.append(settings) or 0
    )
    assert CliRunner().invoke(new_cli(), ["demo"]).exit_code == 0
    assert given == [DemoSettings(Path("demo-output"), 300, 20.0, 3, EngineSettings().model)]

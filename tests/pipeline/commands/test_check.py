"""`dscsnet check`: what it says of a configuration that can be used."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import dscsnet.pipeline.cropping.bad_pixels
import dscsnet.pipeline.worker
from dscsnet.pipeline.commands import node as module


@pytest.fixture(autouse=True)
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that takes no time to load."""
    engine: Any = SimpleNamespace(name="fit", runtime_name="none")
    monkeypatch.setattr(dscsnet.pipeline.worker, "load_engine", lambda _settings: engine)


def test_without_a_file_it_is_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    module.check(None)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["defaults: ok", "  engine  fit on none"]
    assert [line.split()[:3] for line in lines[2:]] == [
        ["frames", "connects", "to"],
        ["detections", "connects", "to"],
        ["targets", "binds", "tcp://127.0.0.1:5552"],
    ]


def test_a_file_is_named_and_its_mask_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = np.zeros((20, 30), bool)
    mask[3, 4:7] = True
    monkeypatch.setattr(dscsnet.pipeline.cropping.bad_pixels, "load_bad_pixels", lambda _path: mask)
    path = tmp_path / "mine.yaml"
    path.write_text("{}")
    module.check(path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path}: ok"
    assert lines[2] == "  mask    3 bad pixels of 30x20"
    assert len(lines) == 6

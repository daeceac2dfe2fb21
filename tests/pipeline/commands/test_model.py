"""`dscsnet model list`: for which GPUs each model is compiled."""

from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import dscsnet.engines.model
import dscsnet.engines.runtimes.tensorrt
from dscsnet.pipeline.commands.model import app


def note(model: str, precision: str, device: str) -> Any:
    return SimpleNamespace(key=SimpleNamespace(model=model, precision=precision, device=device))


def test_engines_are_listed_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = ["9.0", "8.6", "12.0", "8.9", "7.5"]
    notes = [note("one", kind, device) for kind in ("fp32", "fp16") for device in devices]
    notes += [*notes, note("another", "fp16", "8.6")]
    card = SimpleNamespace(
        description="words", crop_size=11, psf_sigma=0.5, training=SimpleNamespace(crops=1_234_567)
    )
    cache = SimpleNamespace(entries=lambda: iter(notes))
    monkeypatch.setattr(dscsnet.engines.runtimes.tensorrt, "EngineCache", lambda: cache)
    monkeypatch.setattr(dscsnet.engines.model, "shipped_models", lambda: ["one", "two"])
    monkeypatch.setattr(
        dscsnet.engines.model, "load_model", lambda _name: SimpleNamespace(card=card)
    )
    monkeypatch.setenv("COLUMNS", "300")
    group = typer.Typer()
    group.add_typer(app, name="model")
    result = CliRunner().invoke(group, ["model", "list"])
    assert result.exit_code == 0, result.output
    _, one, two = (" ".join(line.split()) for line in result.output.splitlines())
    told = ", ".join(f"{kind} {device}" for kind in ("fp16", "fp32") for device in sorted(devices))
    assert one == f"one words 11 0.5 1,234,567 {told}"
    assert two == "two words 11 0.5 1,234,567"

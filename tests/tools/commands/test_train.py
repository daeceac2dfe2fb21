"""`dscsnet train`, `dscsnet model export` and `dscsnet curves`: what is made of what, and where."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

torch = pytest.importorskip("torch")

import dscsnet.tools.export.model_folder  # noqa: E402
import dscsnet.tools.training.checkpoint  # noqa: E402
import dscsnet.tools.training.curves  # noqa: E402
import dscsnet.tools.training.trainer  # noqa: E402
from dscsnet.pipeline.errors import ConfigError  # noqa: E402
from dscsnet.tools.cli import new_cli  # noqa: E402

COMPACT, MLP = (Path(f"configs/train/{name}.yaml") for name in ("csist100k-compact", "field-mlp"))


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(new_cli(), [str(each) for each in arguments])


@pytest.fixture(name="trained")
def _trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Runs that were to be trained; none is."""
    trained: list[tuple[Any, ...]] = []

    class Trainer:
        def __init__(self, config: Any, folder: Path, device: str, **given: Any) -> None:
            self._given = (config.name, folder, device, given)

        def run(self, tell: Any) -> None:
            tell(1, 2)
            trained.append(self._given)

    monkeypatch.setattr(dscsnet.tools.training.trainer, "Trainer", Trainer)
    return trained


def test_each_configuration_is_trained_under_its_name(
    tmp_path: Path, trained: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    usual = {"compiled": False, "mixed_precision": False, "data_processes": 0}
    assert invoke("train", COMPACT, MLP, "--runs", tmp_path).exit_code == 0
    assert trained == [(path.stem, tmp_path / path.stem, "cpu", usual) for path in (COMPACT, MLP)]
    options = ("--device", "cuda:1", "--compiled", "--mixed-precision", "--data-processes", "3")
    assert invoke("train", MLP, *options, "--threads", "4").exit_code == 0
    for_gpus = {"compiled": True, "mixed_precision": True, "data_processes": 3}
    assert trained[2:] == [("field-mlp", Path("runs/field-mlp"), "cuda:1", for_gpus)]
    assert threads == [1, 4]


@pytest.mark.usefixtures("trained")
def test_what_the_trainer_logs_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[str] = []
    monkeypatch.setattr(logging, "basicConfig", lambda **given: levels.append(given["level"]))
    assert invoke("train", MLP).exit_code == 0
    assert levels == ["INFO"]


def test_a_mistake_in_the_last_comes_to_light_before_the_first_is_trained(
    tmp_path: Path, trained: list[tuple[Any, ...]]
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: bad\nnonsense: 1\n")
    result = invoke("train", COMPACT, bad)
    assert isinstance(result.exception, ConfigError)
    assert trained == []


def test_a_run_is_exported_to_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_run(folder: Path, config: Any) -> tuple[Path, str]:
        return folder, config.name

    def export_model(run: Any, folder: Path, tell: Any) -> Any:
        assert run == (tmp_path / "field-mlp", "field-mlp")
        assert folder == tmp_path / "model"
        return SimpleNamespace(name="field-mlp", training=SimpleNamespace(crops=3_000_064))

    monkeypatch.setattr(dscsnet.tools.training.checkpoint, "read_run", read_run)
    monkeypatch.setattr(dscsnet.tools.export.model_folder, "export_model", export_model)
    result = invoke("model", "export", MLP, tmp_path / "model", "--runs", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.output == f"{tmp_path / 'model'}: field-mlp, 3,000,064 crops seen\n"


def test_curves_are_drawn_of_all_that_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[list[str], Path]] = []
    monkeypatch.setattr(
        dscsnet.tools.training.curves,
        "draw_curves",
        lambda found, out: drawn.append(([c.name for c in found], out)),
    )
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / dscsnet.tools.training.curves.CURVE).write_text(
            "step,crops,seconds,loss,cso_map\n10,320,1.5,0.5,12\n"
        )
    result = invoke("curves", tmp_path, "-o", tmp_path / "c.svg")
    assert result.exit_code == 0, result.output
    assert drawn == [(["one", "two"], tmp_path / "c.svg")]
    assert result.output == f"{tmp_path / 'c.svg'}: one, two\n"

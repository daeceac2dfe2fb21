"""`dscsnet evaluate`: what is measured, told and written into the card."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("torch")

import dscsnet.tools.commands.evaluate as command
import dscsnet.tools.commands.field
import dscsnet.tools.commands.robustness
import dscsnet.tools.dataset.reader
import dscsnet.tools.evaluation.simulated_crops
from dscsnet.engines.model import load_model
from dscsnet.tools.cli import new_cli
from dscsnet.tools.evaluation.simulated_crops import Report, Row
from dscsnet.tools.measures.average_precision import AveragePrecision

MODEL = "csist100k-compact"
PROTOCOL = "configs/train/csist100k-compact.yaml"


def report(noise: float | None) -> Report:
    level = noise or 0.0
    return Report(
        precision=AveragePrecision(50.0 + level, (10.0, 20.0, 30.0, 40.0, 50.0)),
        by_intensity=AveragePrecision(45.25, (1.0, 2.0, 3.0, 4.0, 5.0)),
        coverage=(0.68, 0.95),
        intensity_coverage=(0.5, 0.75),
        doubted=0.125,
        crops_per_s=1234.5,
        overall=Row(20, 0.9, 0.8, 0.1, 0.05),
        by_count={1: Row(4, 1.0, 0.75, 0.0321, 0.021)},
    )


@pytest.fixture(name="asked")
def _asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was to be measured; nothing is."""
    asked: list[Any] = []
    monkeypatch.setenv("COLUMNS", "200")

    def evaluate(engine: Any, protocol: Any, **given: Any) -> Report:
        asked.append((engine.name, protocol.targets, given))
        return report(given["noise"])

    def evaluate_scenes(engine: Any, scenes: Any) -> Report:
        asked.append((engine.name, scenes))
        return report(None)

    def comparison(runs: Any, protocol: Path, **given: Any) -> None:
        asked.append((runs, str(protocol), given))

    def field(model: str, folder: Path, **given: Any) -> None:
        asked.append((model, str(folder), given))

    monkeypatch.setattr(dscsnet.tools.evaluation.simulated_crops, "evaluate", evaluate)
    monkeypatch.setattr(
        dscsnet.tools.evaluation.simulated_crops, "evaluate_scenes", evaluate_scenes
    )
    monkeypatch.setattr(command, "print_comparison", comparison)
    monkeypatch.setattr(dscsnet.tools.commands.field, "run_field", field)
    monkeypatch.setattr(
        dscsnet.tools.commands.robustness, "run_robustness", lambda *given: asked.append(given)
    )
    return asked


def evaluate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(new_cli(), ["evaluate", *map(str, arguments)])


def test_a_model_on_fresh_crops(asked: list[Any]) -> None:
    result = evaluate(MODEL)
    assert result.exit_code == 0, result.output
    assert asked == [(MODEL, (1, 5), {"crops": 2000, "seed": 1234, "noise": None})]
    first, *_ = result.output.splitlines()
    assert first == (
        f"{MODEL}: CSO-mAP 50.00  AP05..AP25 10.00  20.00  30.00  40.00  50.00  "
        "(2000 crops, seed 1234)"
    )
    rows = [line.split() for line in result.output.splitlines()]
    assert ["1", "4", "100.0", "75.0", "0.032", "2.1"] in rows
    assert ["all", "20", "90.0", "80.0", "0.100", "5.0"] in rows
    assert "positions within 1 and 2 sigma: 68.0 and 95.0 %; " in result.output
    assert "ranked by intensity: 45.25; in doubt: 12.5 %; 1,234 crops/s" in result.output


def test_each_level_of_noise_is_written_into_the_card(asked: list[Any], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(load_model(MODEL).folder, folder)
    result = evaluate(
        *(folder, "--crops", "30", "--seed", "7", "--noise", "0", "--noise", "2.5", "--write")
    )
    assert result.exit_code == 0, result.output
    given = [more for _, _, more in asked]
    assert given == [{"crops": 30, "seed": 7, "noise": noise} for noise in (0.0, 2.5)]
    assert "30 crops, seed 7, noise 2.5)" in result.output
    measured = load_model(folder).card.measured
    assert (measured["crops"], measured["seed"]) == (30, 7)
    assert (measured["cso_map_noise0"], measured["cso_map_noise2.5"]) == (50.0, 52.5)
    assert measured["intensity_within_2_sigma_noise0"] == 75.0
    assert len(measured) == 2 + 2 * len(report(0.0).figures())


def test_without_being_told_nothing_is_written(asked: list[Any], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(load_model(MODEL).folder, folder)
    assert evaluate(folder).exit_code == 0
    assert load_model(folder).card == load_model(MODEL).card


def test_a_data_set(asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = SimpleNamespace(x=[0.0] * 3)
    monkeypatch.setattr(
        dscsnet.tools.dataset.reader, "load_dataset", lambda folder, progress: scenes
    )
    result = evaluate(MODEL, "--data", tmp_path)
    assert asked == [(MODEL, scenes)]
    assert f"(3 crops of {tmp_path})" in result.output


def test_real_frames(asked: list[Any], tmp_path: Path) -> None:
    assert evaluate(MODEL, "--field", tmp_path).exit_code == 0
    given = {"crops": 2000, "seed": 1234, "out": None, "threads": 1, "references": ()}
    assert asked.pop() == (MODEL, str(tmp_path), {**given, "write": False})
    arguments = ("--crops", "9", "--threads", "3", "--reference", "a", "--reference", "b")
    assert evaluate(MODEL, "--field", tmp_path, *arguments, "--write").exit_code == 0
    given |= {"crops": 9, "threads": 3, "references": ["a", "b"]}
    assert asked == [(MODEL, str(tmp_path), {**given, "write": True})]


def test_the_battery(asked: list[Any], tmp_path: Path) -> None:
    assert evaluate(MODEL, "--robustness", "*").exit_code == 0
    assert asked.pop() == ([MODEL], "*", 1234, None, 1)
    arguments = ("--seed", "7", "--threads", "3", "--reference", "a", "--reference", "b")
    result = evaluate(MODEL, "--robustness", "box*", "--out", tmp_path, *arguments)
    assert result.exit_code == 0
    assert asked.pop() == ([MODEL, "a", "b"], "box*", 7, tmp_path, 3)
    for other in (("--field", tmp_path), ("--data", tmp_path), ("--write",)):
        result = evaluate(MODEL, "--robustness", "*", *other)
        assert result.exit_code == 2
        assert "--robustness excludes" in result.output
    assert not asked


def test_a_table_of_runs(asked: list[Any]) -> None:
    assert evaluate("one", "two", "--table").exit_code == 0
    given = {"crops": 10_000, "seed": 1234, "markdown": None}
    assert asked.pop() == ([Path("one"), Path("two")], PROTOCOL, given)
    assert evaluate("one", "--table", "--crops", "5", "--markdown", "t.md").exit_code == 0
    assert asked == [
        ([Path("one")], PROTOCOL, {"crops": 5, "seed": 1234, "markdown": Path("t.md")})
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("one", "--table", "--write"), "excludes --data and --write"),
        (("one", "--table", "--data", "."), "excludes --data and --write"),
        (("one", "two"), "need --table"),
        (("one", "--markdown", "t.md"), "need --table"),
        (("one", "--data", ".", "--write"), "so it excludes --data"),
        (("psf-fit", "--write"), "psf-fit has no card to write to"),
    ],
)
def test_wrong_use(asked: list[Any], arguments: tuple[str, ...], words: str) -> None:
    result = evaluate(*arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.output.replace("│", " ").split())

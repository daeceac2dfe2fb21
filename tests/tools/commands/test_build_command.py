"""`dscsnet model build`, `precision` and what `list` tells of compiled engines."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("torch")
pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is for x86-64 Linux only")

from dscsnet.engines.model import load_model
from dscsnet.engines.model_engine import ModelEngine
from dscsnet.engines.runtimes import RuntimeOptions, open_runtime
from dscsnet.tools.cli import new_cli
from dscsnet.tools.evaluation.precision import HalfEvaluator, precision_cost

SMALL = "csist100k-mlp"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(new_cli(), ["model", *arguments])


def test_built_once_kept_and_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSCSNET_CACHE", str(tmp_path / "engines"))
    monkeypatch.setenv("COLUMNS", "200")
    first = run("build", SMALL, "--capability", "8.6", "--capability", "8.9")
    assert first.exit_code == 0, first.output
    assert "compiling" in first.output
    assert f"{SMALL} fp16 for 8.9: " in first.output
    again = run("build", SMALL, "--capability", "8.6")
    assert "compiling" not in again.output
    assert len(list((tmp_path / "engines").glob("*.engine"))) == 2
    listed = next(line for line in run("list").output.splitlines() if SMALL in line)
    assert listed.rstrip().endswith("fp16 8.6, fp16 8.9")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a model, or give --all"),
        (("--all", SMALL), "names or --all, not both"),
    ],
)
def test_wrong_use(arguments: tuple[str, ...], message: str) -> None:
    result = run("build", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_what_half_precision_costs(tmp_path: Path) -> None:
    table = tmp_path / "precision.md"
    result = run("precision", SMALL, "--crops", "100", "--markdown", str(table))
    assert result.exit_code == 0, result.output
    header, _, row = table.read_text().splitlines()
    assert header.startswith("| model | crops | error fp32 | error fp16 |")
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:2] == [SMALL, "100"]
    assert float(cells[2]) < 1e-5 < float(cells[3]) < 2.5e-3


def test_the_cost_is_between_two_runs_of_the_same_crops() -> None:
    cost = precision_cost(SMALL, 100)
    assert abs(cost.cso_map["fp16"] - cost.cso_map["fp32"]) < 1
    assert 0 < cost.moved < 0.01


def test_the_evaluator_gives_what_a_runtime_gives() -> None:
    model = load_model(SMALL)
    golden = model.golden().inputs
    single = open_runtime("onnxruntime", model, RuntimeOptions(threads=1)).run(golden)
    engine = ModelEngine(model, HalfEvaluator(model))
    engine.check_golden()
    for name, values in engine.runtime.run(golden).items():
        assert values.shape == single[name].shape
        assert values.dtype == np.float32

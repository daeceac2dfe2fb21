"""A visit to a GPU, rehearsed with the CPU in its place: every line but those for CUDA alone."""

import json
import time
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest
import yaml

torch = pytest.importorskip("torch")

from dscsnet.tools.gpu import __main__ as command  # noqa: E402
from dscsnet.tools.gpu import runtimes, visit  # noqa: E402
from dscsnet.tools.gpu.training import Stepped, Way, gradient_agreement, step_speeds  # noqa: E402
from dscsnet.tools.training.checkpoint import read_run  # noqa: E402
from dscsnet.tools.training.config import load_train_config  # noqa: E402

SMALL = "configs/train/csist100k-compact.yaml"
QUICK = visit.Sizes(
    batches=(1, 2),
    models=("csist100k-mlp",),
    runtimes=(("onnxruntime", "fp32"), ("torch", "fp32")),
    ways=(Way(SMALL, 4, graphed=False), Way("no/such.yaml", 4)),
    steps=2,
    compared=8,
    candidates=(1,),
    frames=20,
)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "SECONDS", 0.01)
    monkeypatch.setattr(runtimes, "LATENCY_RUNS", 3)
    monkeypatch.setattr(runtimes, "PEAK_SIZE", 64)
    monkeypatch.setattr(visit, "FIELD", "configs/train/field-mlp.yaml")
    monkeypatch.setattr(visit, "PAPER", SMALL)
    # Compiling takes minutes here; that it is asked for is enough.
    monkeypatch.setattr(torch, "compile", lambda network: network)


def test_the_parts_tell_what_they_found_and_what_failed(tmp_path: Path) -> None:
    visit.measure_training(tmp_path, "cpu", QUICK)
    found = json.loads((tmp_path / "training.json").read_text())
    assert found["device"] == "no GPU: cpu"
    worked, failed = found["ways"]
    assert worked["crops_per_s"] > 0
    assert worked["loss"] > 0
    assert failed["refused"].startswith("ConfigError: no/such.yaml")
    for name in ("field-mlp", "csist100k-compact"):
        cosines = found[f"gradients of {name}"]
        assert cosines["fp32, as PyTorch has it"] > 0.9999
        assert 0.9 < cosines["bf16"] < 1
    visit.measure_runtimes(tmp_path, "cpu", QUICK)
    (tmp_path / "tests.log").write_text("...\n3 passed\n")
    visit.measure_node(tmp_path, "cpu", QUICK)
    text = visit.summary(tmp_path)
    assert text.startswith("no GPU: cpu\n")
    assert "| csist100k-compact | kernel by kernel, fp32 | 4 |" in text
    assert "torch eager, DISTA-Net" in text
    assert text.count("crops on the device") == 2
    (speed,) = json.loads((tmp_path / "node.json").read_text())["speeds"]
    assert speed["candidates"] == 1
    assert speed["frames_per_s"] > 0
    assert f"node: {json.dumps(speed)}" in text
    assert text.endswith("\n\n3 passed\n")


def test_a_part_that_dies_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def run(log: Path, seconds: float, module: str, *arguments: str) -> None:
        begun.append((module, *arguments[-2:]))
        log.write_text("Segmentation fault\n")

    monkeypatch.setattr(visit, "run_python", run)
    visit.prove(tmp_path, "cuda:1")
    folder = str(tmp_path)
    assert begun == [
        ("pytest", "gpu", "tests/gpu"),
        ("dscsnet.tools.gpu", "training", folder),
        ("dscsnet.tools.gpu", "runtimes", folder),
        ("dscsnet.tools.gpu", "node", folder),
    ]
    assert "runtimes: nothing was found, see runtimes.log" in (tmp_path / "report.md").read_text()


def test_what_has_no_time_left_is_not_begun() -> None:
    (line,) = step_speeds((Way(SMALL, 4),), "cpu", 2, time.monotonic() - 1)
    assert line.refused == "no time was left"
    table = visit.training_table([line, Stepped("a", "b", 8, 1234.5, 3.0, launches=7.0, waits=1.0)])
    assert "| no time was left |" in table
    assert "| a | b | 8 | 1,234 | 3 | 7 | 1 | 0.0 |" in table
    assert len({row.count("|") for row in table.strip().splitlines()}) == 1


def test_how_a_process_ended_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    visit.run_python(log, 60, "platform")
    assert "Linux" in log.read_text()
    visit.run_python(log, 60, "no_such_module")
    assert log.read_text().endswith("ended with exit code 1\n")
    visit.run_python(log, 0.5, "http.server", "0", "--bind", "127.0.0.1")
    assert log.read_text().endswith("ended after 0 s\n")


def test_gradients_of_the_same_precision_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_: nullcontext())
    cosines = gradient_agreement(SMALL, "cpu", 8)
    assert cosines["bf16"] == pytest.approx(1, abs=1e-9)


def test_training_goes_on_at_the_next_visit(tmp_path: Path) -> None:
    config = msgspec.to_builtins(load_train_config(Path(SMALL)))
    config["optimisation"] |= {"crops": 160, "batch": 16, "warm_up": 1, "seconds": None}
    path = tmp_path / "next.yaml"
    path.write_text(yaml.safe_dump(config))
    runs = tmp_path / "runs"
    arguments = ["train", str(runs), str(path), "--device", "cpu", "--seconds"]
    command.main([*arguments, "0"])
    assert read_run(runs / "csist100k-compact").crops == 0
    command.main([*arguments, "600"])
    assert read_run(runs / "csist100k-compact").crops == 160


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(SystemExit, match="needs a GPU"):
        command.main(["prove", "nowhere"])


def test_training_says_in_a_line_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["train", str(tmp_path), "--device", "cpu"])
    assert capsys.readouterr().err.endswith("error: train: give training configurations\n")
    with pytest.raises(SystemExit, match=r"^dscsnet: no/such\.yaml: "):
        command.main(["train", str(tmp_path), "no/such.yaml", "--device", "cpu"])

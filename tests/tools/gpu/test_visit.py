"""A visit to a GPU, rehearsed with the CPU in its place: every line but those for CUDA alone."""

import json
import logging
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import yaml

torch = pytest.importorskip("torch")

from dscsnet.pipeline.config import EngineSettings  # noqa: E402
from dscsnet.tools.gpu import __main__ as command  # noqa: E402
from dscsnet.tools.gpu import runtimes, visit  # noqa: E402
from dscsnet.tools.gpu.training import (  # noqa: E402
    WAYS,
    Stepped,
    Way,
    gradient_agreement,
    step_speeds,
)
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


def test_a_rehearsal_is_smaller_than_a_visit() -> None:
    sizes = visit.Sizes()
    assert (sizes.steps, sizes.compared, sizes.candidates, sizes.frames) == (200, 512, (20,), 60)
    assert sizes.batches == (1, 8, 64, 256, 1024)
    assert sizes.models is None
    assert sizes.ways == WAYS
    assert sizes.tests == ("-m", "gpu", "tests/gpu")
    assert sizes.runtimes == tuple(
        (kind, precision) for kind in ("tensorrt", "torch") for precision in ("fp16", "fp32")
    )


@pytest.fixture(name="begun")
def _begun(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Processes that were to be begun, with their logs and seconds."""
    begun: list[tuple[Any, ...]] = []

    def run(log: Path, seconds: float, module: str, *arguments: str) -> None:
        begun.append((log.name, seconds, module, *arguments))
        log.write_text("")

    monkeypatch.setattr(visit, "run_python", run)
    return begun


def test_each_part_has_its_time_and_all_of_them_less_than_five_minutes(
    tmp_path: Path, begun: list[tuple[Any, ...]]
) -> None:
    folder = tmp_path / "deep" / "report"
    visit.prove(folder)
    part = ("dscsnet.tools.gpu", "--device", "cuda")
    assert begun == [
        ("tests.log", 90, "pytest", "-q", "-m", "gpu", "tests/gpu"),
        ("training.log", 80, *part, "training", str(folder)),
        ("runtimes.log", 70, *part, "runtimes", str(folder)),
        ("node.log", 30, *part, "node", str(folder)),
    ]
    assert (folder / "report.md").read_text().endswith("\n\nno output\n")
    visit.prove(folder, "cuda:1")
    assert begun[5][3:5] == ("--device", "cuda:1")


def test_a_process_ends_in_time_and_its_output_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def run(command: list[str], **more: Any) -> Any:
        given.update(more, command=command)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    visit.run_python(tmp_path / "log", 7.5, "a.module", "b")
    assert given["command"] == [sys.executable, "-X", "faulthandler", "-m", "a.module", "b"]
    assert (given["timeout"], given["check"]) == (7.5, False)
    assert given["stdout"].name == given["stderr"].name == str(tmp_path / "log")
    assert (tmp_path / "log").read_text() == ""


def test_training_begins_its_last_way_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def speeds(*given: Any) -> Any:
        asked.append(given)
        yield Stepped("a", "b", 4)

    def agreement(*given: Any) -> dict[str, float]:
        asked.append(given)
        return {"bf16": 0.5}

    monkeypatch.setattr(visit, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    monkeypatch.setattr(visit, "step_speeds", speeds)
    monkeypatch.setattr(visit, "gradient_agreement", agreement)
    visit.measure_training(tmp_path, "cpu")
    assert asked == [
        ("configs/train/field-mlp.yaml", "cpu", 512),
        (SMALL, "cpu", 512),
        (WAYS, "cpu", 200, 1050.0),
    ]


def test_a_node_and_runtimes_are_measured_as_large_as_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def bench(*given: Any, **more: Any) -> Any:
        asked.append((given, more))
        return iter(())

    monkeypatch.setattr(visit, "bench_node", bench)
    monkeypatch.setattr(visit, "report", bench)
    visit.measure_node(tmp_path, "cpu")
    visit.measure_runtimes(tmp_path, "cpu", QUICK)
    assert asked == [
        ((EngineSettings().model, (20,)), {"frames": 60, "threads": 0}),
        ((QUICK.batches, QUICK.models, QUICK.runtimes, "cpu"), {}),
    ]


def test_findings_are_written_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    path = tmp_path / "a.json"
    found = visit._Findings(path, "cuda:1")
    found.append("lines", 1)
    assert json.loads(path.read_text())["lines"] == [1]
    found.append("lines", 2)
    found.add("more", {"a": 3})
    written = json.loads(path.read_text())
    assert (written["device"], written["lines"], written["more"]) == ("a GPU", [1, 2], {"a": 3})
    assert torch.__version__ in written["machine"]


def test_a_table_of_steps_says_what_is_not_known() -> None:
    known = Stepped("a", "b", 8, 1234.6, 3.4, 0.5, 1.26, launches=7.6, waits=0.0)
    unknown = Stepped("a", "b", 8, 2.0, 1.0)
    refused = Stepped("c", "d", 16, refused="no room", launches=1.0)
    head, line, *rows = visit.training_table([known, unknown, refused]).splitlines()
    assert line == "|---" * 8 + "|"
    assert head.count("|") == 9
    assert rows == [
        "| a | b | 8 | 1,235 | 3 | 8 | 0 | 1.3 |",
        "| a | b | 8 | 2 | 1 |  |  | 0.0 |",
        "| c | d | 16 | no room |  |  |  | 0.0 |",
    ]


class FakeTrainer:
    """Notes what it was made with and when it is to stop; how far it comes is told before."""

    fractions: list[float]
    made: list[tuple[Any, ...]]

    def __init__(self, config: Any, folder: Path, device: str, **given: Any) -> None:
        self.made.append((config.name, folder, device, given))
        self.fraction = self.fractions.pop(0)
        self.finished = self.fraction == 1

    def run(self, **given: Any) -> None:
        self.made.append((given,))


@pytest.mark.parametrize(("fractions", "trained"), [([1.0, 1.0], 2), ([0.5, 1.0], 1)])
def test_the_next_is_trained_where_one_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fractions: list[float], trained: int
) -> None:
    FakeTrainer.fractions, FakeTrainer.made = fractions, []
    monkeypatch.setattr(visit, "Trainer", FakeTrainer)
    monkeypatch.setattr(visit, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    configs = [Path(SMALL), Path("configs/train/field-mlp.yaml")]
    visit.train(tmp_path, configs)
    usual = {"compiled": False, "mixed_precision": False}
    expected: list[tuple[Any, ...]] = []
    for path in configs[:trained]:
        expected.append((path.stem, tmp_path / path.stem, "cuda", usual))
        expected.append(({"stop_at": 1400.0, "validate_every": 100},))
    assert FakeTrainer.made == expected


def test_options_of_a_visit_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("prove", "measure_training", "measure_runtimes", "measure_node"):
        monkeypatch.setattr(command, name, lambda *given, name=name: asked.append((name, given)))
    monkeypatch.setattr(command, "train", lambda *given, **more: asked.append((given, more)))
    monkeypatch.setattr(logging, "basicConfig", lambda **more: asked.append(more["level"]))
    for part in ("prove", "training", "runtimes", "node"):
        command.main([part, "out", "--device", "cuda:1"])
    command.main(["prove", "out"])
    assert [each for each in asked if each != "INFO"] == [
        ("prove", (Path("out"), "cuda:1")),
        ("measure_training", (Path("out"), "cuda:1")),
        ("measure_runtimes", (Path("out"), "cuda:1")),
        ("measure_node", (Path("out"), "cuda:1")),
        ("prove", (Path("out"), "cuda")),
    ]
    assert asked.count("INFO") == 5
    asked.clear()
    command.main(["train", "out", "a", "b"])
    command.main(["train", "out", "a", "--seconds", "9", "--compiled", "--mixed-precision"])
    ways = [{"compiled": on, "mixed_precision": on} for on in (False, True)]
    assert [each for each in asked if each != "INFO"] == [
        ((Path("out"), [Path("a"), Path("b")], "cuda", 400.0), ways[0]),
        ((Path("out"), [Path("a")], "cuda", 9.0), ways[1]),
    ]

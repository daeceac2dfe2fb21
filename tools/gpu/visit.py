"""The two parts of a visit to a GPU: prove and measure, then train.

Each keeps to its time and writes what it found as it goes, so that a visit that is cut short has
shown what it found until then.
"""

import json
import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from dscsnet.pipeline.config import EngineSettings
from dscsnet.tools.bench.node import bench_node
from dscsnet.tools.gpu.runtimes import BATCHES, RUNTIMES, Measured, as_markdown, report
from dscsnet.tools.gpu.training import (
    FIELD,
    PAPER,
    WAYS,
    Stepped,
    Way,
    gradient_agreement,
    step_speeds,
)
from dscsnet.tools.host.machine import describe
from dscsnet.tools.training.config import load_train_config
from dscsnet.tools.training.trainer import Trainer

log = logging.getLogger(__name__)

#: Seconds of each part of the proof; together 4.5 minutes at most.
TESTS_S, TRAINING_S, RUNTIMES_S, NODE_S = 90.0, 80.0, 70.0, 30.0
#: Of the training's seconds, those after which no further way is begun.
LAST_WAY_S = 50.0


@dataclass(frozen=True)
class Sizes:
    """How much is measured; smaller in a rehearsal without a GPU.

    Attributes:
        compared: crops whose gradients are compared.
        models: None: every shipped one.
        tests: arguments of `pytest`.
        candidates, frames: of the node's part.
    """

    ways: tuple[Way, ...] = WAYS
    steps: int = 200
    compared: int = 512
    batches: tuple[int, ...] = BATCHES
    models: tuple[str, ...] | None = None
    runtimes: tuple[tuple[Any, Any], ...] = RUNTIMES
    tests: tuple[str, ...] = ("-m", "gpu", "tests/gpu")
    candidates: tuple[int, ...] = (20,)
    frames: int = 60


def prove(folder: Path, device: str = "cuda") -> None:
    """All parts, each in a process of its own: what brings one down leaves the others.

    Args:
        folder: `report.md` is written there, and files of each part.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = ("dscsnet.tools.gpu", "--device", device)
    run_python(folder / "tests.log", TESTS_S, "pytest", "-q", *Sizes.tests)
    run_python(folder / "training.log", TRAINING_S, *part, "training", str(folder))
    run_python(folder / "runtimes.log", RUNTIMES_S, *part, "runtimes", str(folder))
    run_python(folder / "node.log", NODE_S, *part, "node", str(folder))
    (folder / "report.md").write_text(summary(folder))


def run_python(log_file: Path, seconds: float, module: str, *arguments: str) -> None:
    """A module as a process of its own; its output, and how it ended if badly, go to a file."""
    command = [sys.executable, "-X", "faulthandler", "-m", module, *arguments]
    with log_file.open("w") as out:
        try:
            done = subprocess.run(command, stdout=out, stderr=out, check=False, timeout=seconds)
        except subprocess.TimeoutExpired:
            out.write(f"\nended after {seconds:.0f} s\n")
        else:
            if done.returncode:
                out.write(f"\nended with exit code {done.returncode}\n")


def measure_training(folder: Path, device: str, sizes: Sizes = Sizes()) -> None:
    """Speed of training by every way, and agreement of gradients, as `training.json`."""
    found = _Findings(folder / "training.json", device)
    deadline = time.monotonic() + LAST_WAY_S
    for config in (FIELD, PAPER):
        agreement = gradient_agreement(config, device, sizes.compared)
        found.add(f"gradients of {Path(config).stem}", agreement)
    for line in step_speeds(sizes.ways, device, sizes.steps, deadline):
        log.info("%s", line)
        found.append("ways", asdict(line))


def measure_runtimes(folder: Path, device: str, sizes: Sizes = Sizes()) -> None:
    """Speed of every model by runtime, as `runtimes.json`."""
    found = _Findings(folder / "runtimes.json", device)
    for line in report(sizes.batches, sizes.models, sizes.runtimes, device):
        log.info("%s", line)
        found.append("lines", asdict(line))


def measure_node(folder: Path, device: str, sizes: Sizes = Sizes()) -> None:
    """Speed of the whole node with its own choice of runtime, as `node.json`."""
    found = _Findings(folder / "node.json", device)
    model = EngineSettings().model
    for speed in bench_node(model, sizes.candidates, frames=sizes.frames, threads=0):
        found.append("speeds", asdict(speed))


class _Findings:
    """What was found so far, as a file."""

    def __init__(self, path: Path, device: str) -> None:
        on_gpu = device.startswith("cuda")
        name = torch.cuda.get_device_name() if on_gpu else f"no GPU: {device}"
        self.path = path
        self.found: dict[str, Any] = {
            "device": name,
            "machine": f"{describe()}, torch {torch.__version__}",
        }

    def add(self, name: str, value: object) -> None:
        self.found[name] = value
        self.path.write_text(json.dumps(self.found, indent=1) + "\n")

    def append(self, name: str, value: object) -> None:
        self.add(name, [*self.found.get(name, ()), value])


def summary(folder: Path) -> str:
    """The findings of a folder as text, those parts that there are."""
    parts: list[str] = []
    for name in ("training", "runtimes", "node"):
        path = folder / f"{name}.json"
        if not path.exists():
            parts.append(f"{name}: nothing was found, see {name}.log")
            continue
        found = json.loads(path.read_text())
        if not parts:
            parts.append(f"{found.pop('device')}\n\n{found.pop('machine')}")
        parts += [f"{key}: {value}" for key, value in found.items() if key.startswith("gradients")]
        if "ways" in found:
            parts.append(training_table([Stepped(**line) for line in found["ways"]]))
        if "lines" in found:
            parts.append(as_markdown([Measured(**line) for line in found["lines"]]))
        parts += [f"node: {json.dumps(speed)}" for speed in found.get("speeds", ())]
    parts.append((folder / "tests.log").read_text().strip().rpartition("\n")[2] or "no output")
    return "\n\n".join(parts) + "\n"


def training_table(steps: Sequence[Stepped]) -> str:
    """The ways of training as a table."""
    head = "| model | step | crops a step | crops/s | s to start | launches a step | waits | GiB |"
    rows = [head, "|---" * 8 + "|"]
    for line in steps:
        calls = [f"{v:.0f}" if v is not None else "" for v in (line.launches, line.waits)]
        figures = (f"{line.crops_per_s:,.0f}", f"{line.start_s:.0f}", *calls)
        cells = (line.refused, "", "", "") if line.refused else figures
        memory = f"{line.memory_gib:.1f}"
        rows.append(f"| {' | '.join((line.model, line.way, str(line.batch), *cells, memory))} |")
    return "\n".join(rows) + "\n"


def train(
    folder: Path,
    configs: Sequence[Path],
    device: str = "cuda",
    seconds: float = 400.0,
    *,
    compiled: bool = False,
    mixed_precision: bool = False,
) -> None:
    """Train what is next in a list; what is not finished goes on at the next visit.

    Args:
        folder: holds the runs, each under its name.
        seconds: of all, saving included.
    """
    end = time.monotonic() + seconds
    for config in map(load_train_config, configs):
        trainer = Trainer(
            config,
            folder / config.name,
            device,
            compiled=compiled,
            mixed_precision=mixed_precision,
        )
        trainer.run(stop_at=end, validate_every=100)
        if not trainer.finished:
            log.info("%s: goes on from %.0f %% next time", config.name, 100 * trainer.fraction)
            return

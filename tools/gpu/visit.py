"""The two parts of a visit to a GPU: prove and measure, then train.

Each keeps to its time and writes what it found as it goes, so that a visit that is cut short has
shown what it did until then.
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

from dscsnet.tools.gpu.runtimes import BATCHES, RUNTIMES, as_markdown, report
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

#: Seconds of the whole first part, of its tests, and after which no way of training is begun.
PROVE_S, TESTS_S, WAYS_S = 270.0, 90.0, 180.0
#: Crops whose gradients are compared.
COMPARED = 512


@dataclass(frozen=True)
class Sizes:
    """How much the first part measures; smaller in a rehearsal without a GPU."""

    batches: tuple[int, ...] = BATCHES
    models: tuple[str, ...] | None = None
    runtimes: tuple[tuple[Any, Any], ...] = RUNTIMES
    ways: tuple[Way, ...] = WAYS
    steps: int = 200
    compared: int = COMPARED
    tests: tuple[str, ...] = ("-m", "gpu", "tests/gpu")


class Report:
    """What was found so far, as `report.json` and `report.md` in a folder."""

    def __init__(self, folder: Path, device: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.began = folder, time.monotonic()
        on_gpu = device.startswith("cuda")
        name = torch.cuda.get_device_name() if on_gpu else f"no GPU: {device}"
        self.found: dict[str, Any] = {
            "device": name,
            "machine": f"{describe()}, torch {torch.__version__}",
        }

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    def add(self, name: str, value: Any) -> None:
        """Keep one more finding, or a better one."""
        self.found[name] = value
        self.found["seconds"] = round(self.seconds, 1)
        (self.folder / "report.json").write_text(json.dumps(self.found, indent=1) + "\n")


def prove(folder: Path, device: str = "cuda", sizes: Sizes = Sizes()) -> dict[str, Any]:
    """Tests, training by every way, agreement of gradients, runtimes; `report.*` in a folder."""
    found = Report(folder, device)
    found.add("tests", run_tests(folder / "tests.log", sizes.tests, TESTS_S))
    steps: list[Stepped] = []
    for line in step_speeds(sizes.ways, device, sizes.steps, found.began + WAYS_S):
        log.info("%s", line)
        steps.append(line)
        found.add("training", [asdict(each) for each in steps])
    for config in (FIELD, PAPER):
        agreement = gradient_agreement(config, device, sizes.compared)
        found.add(f"gradients of {Path(config).stem}", agreement)
    lines = []
    for measured in report(sizes.batches, sizes.models, sizes.runtimes, device):
        log.info("%s", measured)
        lines.append(measured)
        found.add("runtimes", [asdict(each) for each in lines])
        header = f"{found.found['device']}\n\n{found.found['machine']}"
        tables = f"{as_markdown(lines, header)}\n{training_table(steps)}\n"
        (folder / "report.md").write_text(f"{tables}Tests: {found.found['tests']}\n")
        if found.seconds > PROVE_S:
            break
    return found.found


def training_table(steps: Sequence[Stepped]) -> str:
    """The ways of training as a table."""
    head = "| model | step | crops a step | crops/s | s to start | launches a step | waits | GiB |"
    rows = [head, "|---" * 8 + "|"]
    for line in steps:
        calls = [f"{v:.0f}" if v is not None else "" for v in (line.launches, line.waits)]
        figures = (f"{line.crops_per_s:,.0f}", f"{line.start_s:.0f}", *calls)
        cells = (line.refused,) * 1 + ("",) * 3 if line.refused else figures
        memory = f"{line.memory_gib:.1f}"
        rows.append(f"| {' | '.join((line.model, line.way, str(line.batch), *cells, memory))} |")
    return "\n".join(rows) + "\n"


def run_tests(log_file: Path, chosen: tuple[str, ...], seconds: float) -> str:
    """Tests in a process of their own; their output goes to a file, their last line is returned."""
    command = [sys.executable, "-m", "pytest", "-q", *chosen]
    with log_file.open("w") as out:
        try:
            subprocess.run(command, stdout=out, stderr=out, check=False, timeout=seconds)
        except subprocess.TimeoutExpired:
            out.write(f"\nended after {seconds:.0f} s\n")
    return (log_file.read_text().strip().splitlines() or ["no output"])[-1]


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
        if time.monotonic() > end:
            log.info("%s: goes on from %.0f %% next time", config.name, 100 * trainer.fraction)
            return

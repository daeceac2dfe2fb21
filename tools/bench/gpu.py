"""`python -m dscsnet.tools.bench.gpu FOLDER`: everything that only a GPU can show, in one run.

The tests that need one, agreement with the float64 reference, crops a second by batch size beside
eager PyTorch and DISTA-Net, the latency of 64 crops, and the share of the device's arithmetic.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dscsnet.engines.errors import InferenceError, ModelError
from dscsnet.engines.model import Model, load_model
from dscsnet.engines.model_engine import ModelEngine
from dscsnet.engines.networks.dista_net import DISTANet, DISTANetConfig
from dscsnet.engines.networks.stored import load_network
from dscsnet.engines.runtime_names import Precision
from dscsnet.engines.runtimes import RuntimeOptions, open_runtime
from dscsnet.engines.runtimes.base import Arrays
from dscsnet.tools.bench.engine import bench_batch, rate
from dscsnet.tools.host.machine import describe
from dscsnet.tools.measures.complexity import multiply_accumulates

MODELS = ("field-unfolded", "field-mlp", "csist100k-compact")
BATCHES = (1, 8, 64, 256, 1024)
RUNTIMES: tuple[tuple[str, Precision], ...] = (
    ("tensorrt", "fp16"),
    ("tensorrt", "fp32"),
    ("torch", "fp16"),
    ("torch", "fp32"),
)
LATENCY_BATCH, LATENCY_RUNS = 64, 200
PEAK_SIZE = 8192  # side of the matrices whose product shows the device's peak


@dataclass(frozen=True)
class Measured:
    """One runtime with one model.

    Attributes:
        error: largest relative L2 error of an output on the golden crops; None: not compared.
        crops_per_s: by batch size.
        latency_ms: median and 99th percentile of a batch of 64, arrays in, arrays out.
        share_of_peak: arithmetic at the largest batch over that of a large matrix product.
        refused: why there are no figures.
    """

    model: str
    what: str
    error: float | None = None
    crops_per_s: dict[int, float] | None = None
    latency_ms: tuple[float, float] | None = None
    share_of_peak: float | None = None
    refused: str = ""


def measure(
    model: str, kind: str, precision: Precision, peak: float, batches: tuple[int, ...]
) -> Measured:
    """One runtime with one shipped model.

    Args:
        peak: operations a second of the device in this precision.
    """
    loaded = load_model(model)
    try:
        runtime = open_runtime(kind, loaded, RuntimeOptions(precision=precision))
        engine = ModelEngine(loaded, runtime)
        engine.check(batch_sizes=(1,))
        inputs = {size: _inputs(engine, size) for size in (*batches, LATENCY_BATCH)}
        speeds = {size: rate(lambda n=size: runtime.run(inputs[n]), size) for size in batches}  # type: ignore[misc]
        latency = _latency(lambda: runtime.run(inputs[LATENCY_BATCH]))
        work = 2 * work_of_a_crop(loaded) * speeds[batches[-1]]
        result = Measured(model, runtime.name, engine.golden_error(), speeds, latency, work / peak)
        engine.close()
    except (ModelError, InferenceError) as error:
        return Measured(model, f"{kind} {precision}", refused=str(error))
    return result


def measure_eager(
    what: str, network: torch.nn.Module, inputs: Callable[[int], list[torch.Tensor]],
    batches: tuple[int, ...], device: str,
) -> Measured:  # fmt: skip
    """The peer: a network as PyTorch executes it when nothing is done about speed."""
    network = network.to(device).eval()
    speeds = {}
    for size in batches:
        given = inputs(size)

        def run(given: list[torch.Tensor] = given) -> None:
            with torch.inference_mode():
                results = network(*(value.to(device) for value in given))
            for value in results if isinstance(results, tuple) else (results,):
                value.cpu()

        speeds[size] = rate(run, size)
    return Measured("", what, crops_per_s=speeds)


def peak_operations(device: str, precision: Precision, size: int) -> float:
    """Operations a second in a product of two large matrices: what the device really reaches."""
    kind = torch.float16 if precision == "fp16" else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None

    def run() -> None:
        left @ right
        wait()

    return 2 * size**3 * rate(run, 1)


def report(
    batches: tuple[int, ...] = BATCHES,
    models: tuple[str, ...] = MODELS,
    runtimes: tuple[tuple[str, Precision], ...] = RUNTIMES,
    device: str = "cuda",
) -> Iterator[Measured]:
    """Every line of the table."""
    peaks = {kind: peak_operations(device, kind, PEAK_SIZE) for kind in {p for _, p in runtimes}}
    for model in models:
        for kind, precision in runtimes:
            yield measure(model, kind, precision, peaks[precision], batches)
        loaded = load_model(model)
        engine = ModelEngine(loaded, open_runtime("onnxruntime", loaded))

        def inputs(size: int, engine: ModelEngine = engine) -> list[torch.Tensor]:
            return [torch.from_numpy(np.array(value)) for value in _inputs(engine, size).values()]

        yield measure_eager(
            f"torch eager, {model}", load_network(loaded.folder), inputs, batches, device
        )
    crops = {size: torch.from_numpy(bench_batch(11, size).pixels) for size in batches}
    dista = DISTANet(DISTANetConfig())
    yield measure_eager(
        "torch eager, DISTA-Net", dista, lambda size: [crops[size]], batches, device
    )


def _inputs(engine: ModelEngine, size: int) -> Arrays:
    batch = bench_batch(engine.grid.crop_size, size)
    given = {"crops": batch.pixels, "noise": batch.noise, "psf_sigma": batch.psf}
    return {name: given[name] for name in engine.model.card.inputs}


def work_of_a_crop(model: Model) -> int:
    """Multiply-accumulates of a shipped model's network."""
    inputs = (torch.tensor(value[:1]) for value in model.golden().inputs.values())
    return multiply_accumulates(load_network(model.folder), *inputs)


def _latency(run: Callable[[], object]) -> tuple[float, float]:
    times = []
    for _ in range(LATENCY_RUNS):
        started = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times), float(np.percentile(times, 99))


def as_markdown(lines: list[Measured], header: str) -> str:
    """The table as it goes into the documentation."""
    sizes = next((list(line.crops_per_s) for line in lines if line.crops_per_s), [])
    columns = ["model", "runtime", "error", *(f"crops/s at {n}" for n in sizes)]
    columns += [f"ms for {LATENCY_BATCH}: median", "99 %", "share of peak"]
    rows = [columns, ["---"] * len(columns)]
    for line in lines:
        speeds = line.crops_per_s or {}
        rows.append(
            [
                line.model,
                f"{line.what}: {line.refused}" if line.refused else line.what,
                f"{line.error:.1e}" if line.error is not None else "",
                *(f"{speeds[n]:,.0f}" if n in speeds else "" for n in sizes),
                *((f"{ms:.3f}" for ms in line.latency_ms) if line.latency_ms else ("", "")),
                f"{100 * line.share_of_peak:.1f} %" if line.share_of_peak is not None else "",
            ]
        )
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{header}\n\n{table}\n"


def run_tests(log: Path) -> str:
    """The tests marked `gpu`; their output goes to a file, their last line is returned."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "tests/gpu", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    log.write_text(done.stdout + done.stderr)
    return (done.stdout.strip().splitlines() or ["no output"])[-1]


def main(folder: Path) -> None:
    """Write `report.md`, `report.json` and `tests.log` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    header = f"{name}\n\n{describe()}\n\nTests: {run_tests(folder / 'tests.log')}"
    lines: list[Measured] = []
    for line in report():
        print(line, flush=True)
        lines.append(line)
        # After each line, so that a run that is cut off has shown what it found.
        (folder / "report.md").write_text(as_markdown(lines, header))
        plain: list[dict[str, Any]] = [asdict(each) for each in lines]
        (folder / "report.json").write_text(json.dumps(plain, indent=1))


if __name__ == "__main__":
    if len(sys.argv) != 2 or not torch.cuda.is_available():
        sys.exit(
            "usage: python -m dscsnet.tools.bench.gpu FOLDER; needs a GPU that PyTorch can use"
        )
    main(Path(sys.argv[1]))

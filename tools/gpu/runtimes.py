"""Every shipped model on a GPU, by runtime, beside eager and compiled PyTorch and DISTA-Net.

Agreement with the float64 reference, crops a second by batch size from arrays to arrays and of the
kernels alone, the latency of 64 crops, and the share of the device's arithmetic.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dscsnet.engines.errors import InferenceError, ModelError
from dscsnet.engines.model import Model, load_model, shipped_models
from dscsnet.engines.model_engine import ModelEngine
from dscsnet.engines.networks.dista_net import DISTANet, DISTANetConfig
from dscsnet.engines.networks.stored import build_model, load_network
from dscsnet.engines.runtime_names import Precision
from dscsnet.engines.runtimes import Runtime, RuntimeOptions, open_runtime
from dscsnet.engines.runtimes.base import Arrays
from dscsnet.tools.bench.engine import bench_batch, rate
from dscsnet.tools.measures.complexity import multiply_accumulates
from dscsnet.tools.training.config import load_train_config

PAPER = Path("configs/train/csist100k-paper.yaml")
BATCHES = (1, 8, 64, 256, 1024)
RUNTIMES: tuple[tuple[str, Precision], ...] = (
    ("tensorrt", "fp16"),
    ("tensorrt", "fp32"),
    ("torch", "fp16"),
    ("torch", "fp32"),
)
LATENCY_BATCH, LATENCY_RUNS = 64, 200
PEAK_SIZE = 8192  # side of the matrices whose product shows the device's peak
SECONDS = 0.1  # of each of three repetitions


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
        inputs = {size: _inputs(loaded, size) for size in (*batches, LATENCY_BATCH)}
        speeds = {size: _speed(runtime, inputs[size], size) for size in batches}
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

        speeds[size] = rate(run, size, SECONDS)
    return Measured("", what, crops_per_s=speeds)


def peak_operations(device: str, precision: Precision, size: int) -> float:
    """Operations a second in a product of two large matrices: what the device really reaches."""
    kind = torch.float16 if precision == "fp16" else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None

    def run() -> None:
        left @ right
        wait()

    return 2 * size**3 * rate(run, 1, SECONDS)


def measure_kernels(
    what: str, network: torch.nn.Module, crops: torch.Tensor, peak: float, device: str
) -> Measured:  # fmt: skip
    """The device's part alone: a grid network compiled in half precision, its crops there."""
    work = 2 * multiply_accumulates(network, crops[:1])
    network = network.to(device).to(memory_format=torch.channels_last).eval()
    compiled, given, size = torch.compile(network), crops.to(device), len(crops)

    def run() -> None:
        with torch.inference_mode(), torch.autocast(torch.device(device).type, torch.bfloat16):
            compiled(given)
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    speed = rate(run, size, SECONDS)
    return Measured("", what, crops_per_s={size: speed}, share_of_peak=work * speed / peak)


def report(
    batches: tuple[int, ...] = BATCHES,
    models: tuple[str, ...] | None = None,
    runtimes: tuple[tuple[str, Precision], ...] = RUNTIMES,
    device: str = "cuda",
) -> Iterator[Measured]:
    """Every line of the table; what others are compared with comes first."""
    peaks = {kind: peak_operations(device, kind, PEAK_SIZE) for kind in ("fp16", "fp32")}
    crops = {size: torch.from_numpy(bench_batch(11, size).pixels) for size in batches}
    largest = crops[batches[-1]]
    config = load_train_config(PAPER)
    peers: dict[str, Callable[[], torch.nn.Module]] = {
        "DISTA-Net": lambda: DISTANet(DISTANetConfig()),
        "DSCSNet at the paper's size": lambda: build_model(config.network, config.normalisation),
    }
    for what, make in peers.items():
        yield measure_eager(
            f"torch eager, {what}", make(), lambda size: [crops[size]], batches, device
        )
    for model in shipped_models() if models is None else models:
        for kind, precision in runtimes:
            yield measure(model, kind, precision, peaks[precision], batches)
        yield _eager_model(model, batches, device)
    for what, make in peers.items():
        name = f"torch compiled, bf16, crops on the device, {what}"
        yield measure_kernels(name, make(), largest, peaks["fp16"], device)


def _eager_model(model: str, batches: tuple[int, ...], device: str) -> Measured:
    loaded = load_model(model)

    def inputs(size: int) -> list[torch.Tensor]:
        return [torch.from_numpy(np.array(value)) for value in _inputs(loaded, size).values()]

    network = load_network(loaded.folder)
    return measure_eager(f"torch eager, {model}", network, inputs, batches, device)


def _speed(runtime: Runtime, inputs: Arrays, size: int) -> float:
    return rate(lambda: runtime.run(inputs), size, SECONDS)


def _inputs(model: Model, size: int) -> Arrays:
    batch = bench_batch(model.card.crop_size, size)
    given = {"crops": batch.pixels, "noise": batch.noise, "psf_sigma": batch.psf}
    return {name: given[name] for name in model.card.inputs}


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


def as_markdown(lines: list[Measured]) -> str:
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
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)

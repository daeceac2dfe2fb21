"""Speed of an engine alone: crops a second by batch size, beside a peer in the same run."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from dscsnet.engines.engine import CropBatch, Engine
from dscsnet.engines.imaging import render
from dscsnet.engines.model_engine import ModelEngine, open_model_engine
from dscsnet.engines.runtimes import RuntimeOptions

SECONDS = 1.0
#: PSF sigma of the benchmarks' targets, px.
BENCH_PSF_SIGMA = 0.5


@dataclass(frozen=True)
class EngineSpeed:
    """One line of the table.

    Attributes:
        what: the engine or its peer, and its threads.
        crops_per_s: whole batches, best of three repetitions of a second each.
    """

    what: str
    batch: int
    crops_per_s: float


def bench_batch(size: int, number: int, seed: int = 0) -> CropBatch:
    """Crops of two targets on Gaussian noise of 5 counts."""
    generator = np.random.default_rng(seed)
    pixels = generator.normal(0, 5, (number, size, size))
    for index in range(number):
        x, y = generator.uniform(size // 2 - 1, size // 2 + 1, (2, 2))
        counts = generator.uniform(300, 1000, 2)
        pixels[index] += render(x, y, counts, (size, size), BENCH_PSF_SIGMA)
    usable = np.ones(pixels.shape, bool)
    noise, psf = np.full(number, 5, np.float32), np.full((number, 2), BENCH_PSF_SIGMA, np.float32)
    return CropBatch(pixels.astype(np.float32), usable, noise, psf)


def bench_engine(
    model: str, batches: tuple[int, ...], thread_counts: tuple[int, ...]
) -> Iterator[EngineSpeed]:
    """Network alone, network with readout, and eager PyTorch if it is installed."""
    for threads in thread_counts:
        engine = open_model_engine(model, "auto", options=RuntimeOptions(threads=threads))
        label = f"{engine.runtime.name}, {threads} thread{'s' * (threads > 1)}"
        for number in batches:
            batch = bench_batch(engine.grid.crop_size, number)
            yield EngineSpeed(f"{label}: network", number, rate(_network(engine, batch), number))
            yield EngineSpeed(
                f"{label}: with readout", number, rate(_with_readout(engine, batch), number)
            )
        yield from _eager_peer(engine, batches, threads)
        engine.close()


def rate(run: Callable[[], object], crops: int, seconds: float | None = None) -> float:
    """Crops a second of repeated calls; the best of three, since disturbances only slow down.

    Args:
        seconds: of each of the three; None: `SECONDS`.
    """
    seconds = SECONDS if seconds is None else seconds
    run()
    best = 0.0
    for _ in range(3):
        calls, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds:
            run()
            calls += 1
        best = max(best, calls * crops / elapsed)
    return best


def _network(engine: Engine, batch: CropBatch) -> Callable[[], object]:
    return lambda: engine.run(batch)


def _with_readout(engine: Engine, batch: CropBatch) -> Callable[[], object]:
    return lambda: engine.read(engine.run(batch), batch)


def _eager_peer(
    engine: ModelEngine, batches: tuple[int, ...], threads: int
) -> Iterator[EngineSpeed]:
    try:
        import torch

        from dscsnet.engines.networks.stored import load_network
    except ModuleNotFoundError:
        return
    torch.set_num_threads(threads)
    network = load_network(engine.model.folder)
    label = f"torch {torch.__version__} eager, {threads} thread{'s' * (threads > 1)}: network"
    for number in batches:
        batch = bench_batch(engine.grid.crop_size, number)
        given = {"crops": batch.pixels, "noise": batch.noise, "psf_sigma": batch.psf}
        inputs = [torch.from_numpy(given[name]) for name in engine.model.card.inputs]

        def run(inputs: list[torch.Tensor] = inputs) -> object:
            with torch.inference_mode():
                return network(*inputs)

        yield EngineSpeed(label, number, rate(run, number))

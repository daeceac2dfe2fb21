"""Trained networks and classical methods, measured on the same unseen crops in one run."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dscsnet.engines.geometry import Grid
from dscsnet.engines.networks.offgrid import OffGridConfig
from dscsnet.pipeline.errors import ConfigError
from dscsnet.tools.bench.in_turn import speeds_in_turn
from dscsnet.tools.measures.average_precision import AveragePrecision, Points, average_precision
from dscsnet.tools.measures.complexity import multiply_accumulates, parameters
from dscsnet.tools.references.grid_methods import (
    ITERATIONS,
    L1_WEIGHT,
    RANKINGS,
    ista,
    oracle_points,
)
from dscsnet.tools.references.multistart_fit import fit_crops
from dscsnet.tools.references.published import ISTA, Published, published
from dscsnet.tools.simulation.csist import CropProtocol, Simulator
from dscsnet.tools.simulation.scenes import ROUNDING, Scenes, true_points
from dscsnet.tools.simulation.source_kinds import CsistSource
from dscsnet.tools.training.checkpoint import CHECKPOINT, TrainedRun, read_run

#: The paper's readout: cells above this are targets, counts.
THRESHOLD = 50.0
BATCH = 64
FIT_STARTS = 20
ISTA_NAME = f"ISTA, {ITERATIONS} iterations, l1 weight {L1_WEIGHT:g}"
FIT_NAME = f"PSF fit, {FIT_STARTS} starts, intensity range known"


@dataclass(frozen=True)
class Cost:
    """What a trained network took.

    Attributes:
        parameters, multiply_accumulates: of the network, the latter for one crop.
        crops, seconds: seen in training.
        budget: what the training was limited to, in words.
    """

    parameters: int
    multiply_accumulates: int
    crops: int
    seconds: float
    budget: str


@dataclass(frozen=True)
class Entry:
    """One method of the comparison.

    Attributes:
        crops_per_s: of processor time; None where it makes no sense.
        measured_on: crops, the first ones of the common set.
        cost: None for a method that learns nothing.
        published: the paper's figures of the same method, if there are any.
    """

    name: str
    precision: AveragePrecision
    crops_per_s: float | None
    measured_on: int
    cost: Cost | None = None
    published: Published | None = None


def find_runs(folders: Iterable[Path]) -> list[Path]:
    """Folders of runs: those given, and those directly in the ones given.

    Raises:
        ConfigError: one of them neither is nor holds a run.
    """
    found: list[Path] = []
    for folder in folders:
        inside = sorted(path.parent for path in folder.glob(f"*/{CHECKPOINT}"))
        here = [folder] if (folder / CHECKPOINT).is_file() else []
        if not (here or inside):
            raise ConfigError(f"{folder}: no run here: expected {CHECKPOINT}, or folders with one")
        found += here + inside
    return found


def compare(
    runs: Sequence[Path],
    *,
    protocol: CropProtocol,
    crops: int,
    crops_fitted: int,
    seed: int,
    tell: Callable[[str], None],
) -> Iterator[Entry]:
    """Measure the classical methods, then each run, on the same exact draws; one thread.

    Args:
        crops_fitted: crops for the PSF fit, which is slow; at most `crops`.
        tell: takes a line on what is being done, or why a run is left out.
    """
    torch.set_num_threads(1)
    tell(f"drawing {crops} crops")
    scenes = Simulator(protocol, seed=seed, exact=True).draw(crops)
    source = CsistSource(protocol)
    yield from _classical(scenes, protocol, min(crops, crops_fitted), tell)
    for folder in runs:
        run = read_run(folder)
        if isinstance(run.config.network, OffGridConfig) or run.config.source != source:
            tell(f"{folder}: left out: not a grid network of this protocol")
            continue
        tell(f"{run.config.name}: measuring")
        yield _measure(run, scenes)


def _classical(
    scenes: Scenes, protocol: CropProtocol, fitted: int, tell: Callable[[str], None]
) -> Iterator[Entry]:
    grid, sigma = Grid(protocol.crop_size), protocol.psf_sigma
    true, number = true_points(scenes), len(scenes.crops)
    tell("ISTA: measuring")
    started = time.process_time()
    parts = [ista(part, grid, sigma).numpy() for part in scenes.crops.split(BATCH)]
    speed = number / (time.process_time() - started)
    found = Points.from_grids(np.concatenate(parts), THRESHOLD, grid)
    yield Entry(ISTA_NAME, average_precision(found, true), speed, number, published=ISTA)
    yield _fit(scenes, protocol, fitted, tell)
    for ranking in RANKINGS:
        points = oracle_points(scenes, grid, ranking)
        name = f"Oracle: exact cells, ranked by {ranking}"
        yield Entry(name, average_precision(points, true), None, number)


def _fit(scenes: Scenes, protocol: CropProtocol, number: int, tell: Callable[[str], None]) -> Entry:
    tell(f"PSF fit: measuring on {number} crops")
    first = Scenes(**{name: values[:number] for name, values in vars(scenes).items()})
    pixels, settings = first.crops.double().numpy(), fit_settings(protocol, first)
    fit_crops(pixels[:1], **settings)  # compiles
    started = time.process_time()
    found = fit_crops(pixels, **settings)
    speed = number / (time.process_time() - started)
    return Entry(FIT_NAME, average_precision(found, true_points(first)), speed, number)


def fit_settings(protocol: CropProtocol, scenes: Scenes) -> dict[str, Any]:
    """What `fit_crops` is told of the scenes."""
    return {
        "sigma": protocol.psf_sigma,
        "noise": math.hypot(ROUNDING, float(scenes.noise.mean())),
        "intensity": protocol.intensity,
        "most": protocol.targets[1],
        "starts": FIT_STARTS,
    }


@torch.inference_mode()
def _measure(run: TrainedRun, scenes: Scenes) -> Entry:
    parts = [run.model(part).numpy() for part in scenes.crops.split(BATCH)]
    network = run.config.network
    assert not isinstance(network, OffGridConfig), "left out by its caller"
    found = Points.from_grids(np.concatenate(parts), THRESHOLD, network.grid)
    batch = scenes.crops[torch.arange(BATCH) % len(scenes.crops)]
    speeds = speeds_in_turn({run.config.name: lambda: run.model(batch)}, BATCH)
    return Entry(
        run.config.name,
        average_precision(found, true_points(scenes)),
        speeds[run.config.name].cpu,
        len(scenes.crops),
        Cost(
            parameters(run.model.network),
            multiply_accumulates(run.model.network, scenes.crops[:1]),
            run.crops,
            run.progress.seconds,
            _budget(run),
        ),
        published(network),
    )


def _budget(run: TrainedRun) -> str:
    settings = run.config.optimisation
    limit = f"{settings.crops:,} crops" if settings.seconds is None else f"{settings.seconds:g} s"
    done = run.progress.fraction(settings)
    return limit if done == 1 else f"{limit}, {100 * done:.0f} % done"

"""Measures a model on simulated crops that it has not seen."""

import time
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.engine import Engine, make_batch
from dscsnet.engines.errors import DscsnetError
from dscsnet.engines.estimates import Estimates
from dscsnet.tools.measures.average_precision import (
    DISTANCES,
    AveragePrecision,
    Points,
    average_precision,
)
from dscsnet.tools.measures.matching import match_points
from dscsnet.tools.simulation.csist import CropProtocol, Simulator
from dscsnet.tools.simulation.scenes import Scenes, true_points

#: Distance within which an estimate counts as a found target for the errors below, px.
FOUND_WITHIN = 0.5

BATCH = 250


@dataclass(frozen=True)
class Row:
    """Figures of the crops with one number of targets, or of all.

    Attributes:
        recall: share of true targets found within 0.5 px.
        count_accuracy: share of crops in which the number of targets is right.
        position_rms: root mean square distance of the found ones, px.
        intensity_error: median relative error of their intensities.
    """

    crops: int
    recall: float
    count_accuracy: float
    position_rms: float
    intensity_error: float


@dataclass(frozen=True)
class Report:
    """What one evaluation found.

    Attributes:
        precision: CSO-mAP, ranked by score; for a grid readout by intensity, as published.
        by_intensity: CSO-mAP ranked by intensity.
        coverage: shares of the position errors (x and y apart) within 1 and 2 stated sigmas, over
            the targets found in crops whose number of targets is right.
        intensity_coverage: the same of intensities; NaN where no sigma is given.
        doubted: share of the crops in doubt.
        crops_per_s: engine and readout, a second of processor time: on one thread, of one core.
        by_count: one row for each number of targets.
    """

    precision: AveragePrecision
    by_intensity: AveragePrecision
    coverage: tuple[float, float]
    intensity_coverage: tuple[float, float]
    doubted: float
    crops_per_s: float
    overall: Row
    by_count: dict[int, Row]

    def figures(self) -> dict[str, float]:
        """As they stand in a model card."""
        result = {"cso_map": round(self.precision.cso_map, 2)}
        for distance, value in zip(DISTANCES, self.precision.by_distance, strict=True):
            result[f"ap{round(100 * distance):02d}"] = round(value, 2)
        result["count_accuracy"] = round(100 * self.overall.count_accuracy, 2)
        result["recall_half_pixel"] = round(100 * self.overall.recall, 2)
        result["position_rms_px"] = round(self.overall.position_rms, 4)
        result["intensity_error_percent"] = round(100 * self.overall.intensity_error, 2)
        shares = {"position": self.coverage, "intensity": self.intensity_coverage}
        for what, (one, two) in shares.items():
            if not np.isnan(one):
                result[f"{what}_within_1_sigma"] = round(100 * one, 1)
                result[f"{what}_within_2_sigma"] = round(100 * two, 1)
        return result


def evaluate(
    engine: Engine, protocol: CropProtocol, *, crops: int, seed: int, noise: float | None = None
) -> Report:
    """Run an engine over fresh crops of a protocol, drawn exactly.

    Args:
        noise: sigma in counts, in place of the protocol's.
    """
    if noise is not None:
        protocol = replace(protocol, noise=(noise, noise), noise_free=0.0)
    return evaluate_scenes(engine, Simulator(protocol, seed=seed, exact=True).draw(crops))


def evaluate_scenes(engine: Engine, scenes: Scenes) -> Report:
    """Run an engine over crops with known targets.

    Raises:
        DscsnetError: the crops are not of the model's size.
    """
    size, taken = scenes.crops.shape[-1], engine.grid.crop_size
    if size != taken:
        raise DscsnetError(
            f"the crops are {size}x{size} px, but {engine.name} takes {taken}x{taken}"
        )
    started = time.process_time()
    estimates = run_engine(engine, scenes)
    crops_per_s = len(scenes.crops) / max(time.process_time() - started, 1e-9)
    true, counts = true_points(scenes), scenes.present.numpy().sum(1)
    by_score, by_intensity = (
        average_precision(Points(estimates.crop, estimates.x, estimates.y, rank), true)
        for rank in (estimates.score, estimates.intensity)
    )
    off_grid = not np.isnan(estimates.sigma_intensity).all()
    pairs = _pairs(estimates, true, len(counts))
    found = estimates.number
    right = (found == counts)[pairs.crop]
    return Report(
        by_score if off_grid else by_intensity,
        by_intensity,
        _coverage(np.concatenate([pairs.pull_x[right], pairs.pull_y[right]])),
        _coverage(pairs.pull_intensity[right]),
        float(np.mean(~estimates.converged)),
        crops_per_s,
        *_rows(pairs, found, counts),
    )


def run_engine(engine: Engine, scenes: Scenes) -> Estimates:
    """Targets of simulated crops, through the engine that a node would use."""
    pixels = np.ascontiguousarray(scenes.crops.numpy(), np.float32)
    noise = np.hypot(scenes.noise.numpy(), 1 / np.sqrt(12)).astype(np.float32)
    parts = []
    for first in range(0, len(pixels), BATCH):
        rows = np.s_[first : first + BATCH]
        batch = make_batch(engine, pixels[rows], np.ones(pixels[rows].shape, bool), noise[rows])
        parts.append(engine.read(engine.run(batch), batch))
    return Estimates.join(parts)


@dataclass(frozen=True)
class _Pairs:
    """Estimates matched to true targets.

    Attributes:
        crop: (m,) of each pair.
        distance: (m,) px.
        error: (m,) relative error of the intensity.
        pull_x, pull_y, pull_intensity: (m,) errors over their stated sigmas.
    """

    crop: NDArray[np.int64]
    distance: Float
    error: Float
    pull_x: Float
    pull_y: Float
    pull_intensity: Float


def _pairs(estimates: Estimates, true: Points, crops: int) -> _Pairs:
    mine, real = [], []
    for image in range(crops):
        here = np.s_[slice(*np.searchsorted(estimates.crop, (image, image + 1)))]
        there = np.s_[slice(*np.searchsorted(true.image, (image, image + 1)))]
        partner, _ = match_points(
            (estimates.x[here], estimates.y[here]), (true.x[there], true.y[there]), FOUND_WITHIN
        )
        matched = np.flatnonzero(partner >= 0)
        mine.append(here.start + matched)
        real.append(there.start + partner[matched])
    found, truth = np.concatenate(mine), np.concatenate(real)
    off_x = estimates.x[found] - true.x[truth]
    off_y = estimates.y[found] - true.y[truth]
    counts = true.score[truth]
    off_counts = estimates.intensity[found] - counts
    return _Pairs(
        estimates.crop[found],
        np.hypot(off_x, off_y),
        off_counts / counts,
        off_x / estimates.sigma_x[found],
        off_y / estimates.sigma_y[found],
        off_counts / estimates.sigma_intensity[found],
    )


def _coverage(pulls: Float) -> tuple[float, float]:
    """Shares within 1 and 2 sigma; NaN without a sigma."""
    if not np.isfinite(pulls).any():
        return float("nan"), float("nan")
    size = np.abs(pulls)
    return float((size <= 1).mean()), float((size <= 2).mean())


def _rows(
    pairs: _Pairs, found: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[Row, dict[int, Row]]:
    matched_count = counts[pairs.crop]

    def row(chosen: NDArray[np.bool_], matched: NDArray[np.bool_]) -> Row:
        gap, error = pairs.distance[matched], pairs.error[matched]
        total = counts[chosen].sum()
        return Row(
            int(chosen.sum()),
            float(len(gap) / total) if total else float("nan"),
            float((found[chosen] == counts[chosen]).mean()),
            float(np.sqrt((gap**2).mean())) if len(gap) else float("nan"),
            float(np.median(np.abs(error))) if len(gap) else float("nan"),
        )

    overall = row(np.ones(len(counts), bool), np.ones(len(pairs.crop), bool))
    by_count = {int(k): row(counts == k, matched_count == k) for k in np.unique(counts)}
    return overall, by_count

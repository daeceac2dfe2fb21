"""Measures a model on simulated crops that it has not seen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.engine import CropBatch, Engine
from engines.errors import DscsnetError
from engines.estimates import Estimates
from tools.matching import match_points
from tools.metrics import DISTANCES, AveragePrecision, Points, average_precision
from tools.simulation import Protocol, Scenes, Simulator, true_points

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
        precision: CSO-mAP, ranked by intensity as published.
        by_count: one row for each number of targets.
    """

    precision: AveragePrecision
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
        return result


def evaluate(engine: Engine, protocol: Protocol, *, crops: int, seed: int) -> Report:
    """Run an engine over fresh crops of a protocol, drawn exactly."""
    return evaluate_scenes(engine, Simulator(protocol, seed=seed, exact=True).draw(crops))


def evaluate_scenes(engine: Engine, scenes: Scenes) -> Report:
    """Run an engine over crops with known targets.

    Raises:
        DscsnetError: the crops are not of the model's size.
    """
    size, card = scenes.crops.shape[-1], engine.model.card
    if size != card.crop_size:
        raise DscsnetError(
            f"the crops are {size}x{size} px, but {card.name} takes "
            f"{card.crop_size}x{card.crop_size}"
        )
    estimates = run_engine(engine, scenes)
    predicted = Points(estimates.crop, estimates.x, estimates.y, estimates.intensity)
    true = true_points(scenes)
    return Report(
        average_precision(predicted, true),
        *_rows(estimates, true, scenes.present.numpy().sum(1)),
    )


def run_engine(engine: Engine, scenes: Scenes) -> Estimates:
    """Targets of simulated crops, through the engine that a node would use."""
    pixels = np.ascontiguousarray(scenes.crops.numpy(), np.float32)
    noise = np.hypot(scenes.noise.numpy(), 1 / np.sqrt(12)).astype(np.float32)
    parts = []
    for first in range(0, len(pixels), BATCH):
        rows = np.s_[first : first + BATCH]
        batch = CropBatch(pixels[rows], np.ones(pixels[rows].shape, bool), noise[rows])
        parts.append(engine.read(engine.run(batch), batch))
    return Estimates.join(parts)


def _rows(
    estimates: Estimates, true: Points, counts: NDArray[np.int64]
) -> tuple[Row, dict[int, Row]]:
    found = np.bincount(estimates.crop, minlength=len(counts))
    pairs = [
        (image, *pair) for image in range(len(counts)) for pair in _pairs_of(estimates, true, image)
    ]
    columns = np.array(pairs, float).reshape(-1, 3)
    matched_count = counts[columns[:, 0].astype(int)]

    def row(chosen: NDArray[np.bool_], matched: NDArray[np.bool_]) -> Row:
        gap, error = columns[matched, 1], columns[matched, 2]
        total = counts[chosen].sum()
        return Row(
            int(chosen.sum()),
            float(len(gap) / total) if total else float("nan"),
            float((found[chosen] == counts[chosen]).mean()),
            float(np.sqrt((gap**2).mean())) if len(gap) else float("nan"),
            float(np.median(np.abs(error))) if len(gap) else float("nan"),
        )

    overall = row(np.ones(len(counts), bool), np.ones(len(columns), bool))
    by_count = {int(k): row(counts == k, matched_count == k) for k in np.unique(counts)}
    return overall, by_count


def _pairs_of(estimates: Estimates, true: Points, image: int) -> list[tuple[float, float]]:
    """(distance, relative intensity error) of the matched targets of one crop."""
    mine = np.s_[slice(*np.searchsorted(estimates.crop, (image, image + 1)))]
    real = np.s_[slice(*np.searchsorted(true.image, (image, image + 1)))]
    x, y, intensity = estimates.x[mine], estimates.y[mine], estimates.intensity[mine]
    partner, distance = match_points((x, y), (true.x[real], true.y[real]), FOUND_WITHIN)
    return [
        (float(distance[i]), float(intensity[i] / true.score[real][partner[i]] - 1))
        for i in np.flatnonzero(partner >= 0)
    ]

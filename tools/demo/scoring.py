"""Compares what a node published with the truth of a simulated scene.

A true target counts as found where a published one lies within `FOUND_RADIUS`, one to one
(`tools.measures.matching`). The node unmixes what the detector points at, so the targets of a
cluster that the detector did not report are counted apart and belong to no recall.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import numpy as np

from dscsnet.engines.array_types import Float, Index, Mask
from dscsnet.pipeline.messages import FrameKey, Targets
from dscsnet.tools.demo.scene_truth import TrueFrame
from dscsnet.tools.measures.matching import distances, match_points

#: A published target this near to a true one finds it, px; and the radius of the stricter recall.
FOUND_RADIUS, CLOSE_RADIUS = 0.5, 0.25
#: A candidate, or a published target, this near to one of a cluster's targets belongs to it, px.
CLUSTER_REACH = 3.0


class Outcome(IntEnum):
    """What became of a true target."""

    FOUND = 0
    MISSED = 1
    NOT_DETECTED = 2  # the detector reported no candidate at its cluster
    NOT_UNMIXED = 3  # the frame's answer is `dropped` or the like, or there is none


@dataclass(frozen=True)
class Score:
    """Columns of one frame, or of many.

    Attributes:
        size: (targets,) number of targets in the true target's cluster.
        outcome: (targets,) `Outcome`.
        distance: (targets,) from the true to the published target, px; NaN unless found.
        close: (targets,) whether it is found within `CLOSE_RADIUS`.
        intensity_error: (targets,) published over true intensity, minus 1; NaN unless found.
        cluster_size: (clusters,) true number of targets, of clusters that were unmixed.
        cluster_count: (clusters,) published number of targets.
        false_size: (false targets,) size of the cluster that each lies in; 0: in none.
        spots, stray_spots: candidates, and those of them that lie at no true cluster.
    """

    size: Index
    outcome: Index
    distance: Float
    close: Mask
    intensity_error: Float
    cluster_size: Index
    cluster_count: Index
    false_size: Index
    spots: int
    stray_spots: int

    @staticmethod
    def join(scores: Sequence["Score"]) -> "Score":
        """Return the columns of some frames, at least one, one after another."""
        columns: dict[str, Any] = {
            field.name: np.concatenate([getattr(score, field.name) for score in scores])
            for field in fields(Score)
            if field.name not in ("spots", "stray_spots")
        }
        return Score(
            **columns,
            spots=sum(score.spots for score in scores),
            stray_spots=sum(score.stray_spots for score in scores),
        )

    def of_size(self, size: int) -> "Score":
        """Return what belongs to clusters of so many targets; the spots are left as they are."""
        rows, clusters = self.size == size, self.cluster_size == size
        return Score(
            self.size[rows],
            self.outcome[rows],
            self.distance[rows],
            self.close[rows],
            self.intensity_error[rows],
            self.cluster_size[clusters],
            self.cluster_count[clusters],
            self.false_size[self.false_size == size],
            self.spots,
            self.stray_spots,
        )

    def count(self, outcome: Outcome) -> int:
        """Return the number of true targets with this outcome."""
        return int(np.count_nonzero(self.outcome == outcome))

    def recall(self, *, close: bool = False) -> float:
        """Return found over found and missed, or found within `CLOSE_RADIUS`; NaN without any."""
        unmixed = self.count(Outcome.FOUND) + self.count(Outcome.MISSED)
        found = np.count_nonzero(self.close) if close else self.count(Outcome.FOUND)
        return float(found / unmixed) if unmixed else math.nan

    def count_accuracy(self) -> float:
        """Return the share of clusters with as many published targets as true ones; NaN: none."""
        right = self.cluster_count == self.cluster_size
        return float(right.mean()) if right.size else math.nan

    def position_error(self) -> tuple[float, float]:
        """Return median and root mean square over the found targets, px; NaN without any."""
        found = self.distance[np.isfinite(self.distance)]
        if not found.size:
            return math.nan, math.nan
        return float(np.median(found)), math.sqrt(np.square(found).mean())

    def intensity_errors(self) -> tuple[float, float]:
        """Return the medians of the error's size and of the error itself; NaN without any."""
        found = self.intensity_error[np.isfinite(self.intensity_error)]
        if not found.size:
            return math.nan, math.nan
        return float(np.median(np.abs(found))), float(np.median(found))


def score_frame(truth: TrueFrame, answer: Targets | None) -> Score:
    """Compare one frame's answer with the truth; None stands for an answer that never came."""
    number, size = _clusters(truth)
    if answer is None or answer.status not in ("ok", "empty"):
        return _not_unmixed(size)
    true, found = (truth.targets.x, truth.targets.y), (answer.targets.x, answer.targets.y)
    partner, distance = match_points(true, found, FOUND_RADIUS)
    to_spot = distances(true, (answer.spots.x, answer.spots.y))
    near_spot = to_spot.min(axis=1, initial=np.inf) <= CLUSTER_REACH
    # One candidate may serve two clusters that meet, far from the members of either.
    detected = np.isin(number, number[near_spot | (partner >= 0)])
    outcome = np.where(detected, Outcome.MISSED, Outcome.NOT_DETECTED)
    outcome[partner >= 0] = Outcome.FOUND
    members = _members(true, found)
    unmixed, first = np.unique(number[detected], return_index=True)
    extra = np.setdiff1d(np.arange(len(answer.targets)), partner)
    return Score(
        size=size,
        outcome=outcome,
        distance=distance,
        close=match_points(true, found, CLOSE_RADIUS)[0] >= 0,
        intensity_error=_intensity_error(truth, answer, partner),
        cluster_size=size[detected][first],
        cluster_count=np.array(
            [np.count_nonzero(number[members[members >= 0]] == n) for n in unmixed], np.int64
        ),
        false_size=np.where(members >= 0, np.append(size, 0)[members], 0)[extra],
        spots=len(answer.spots),
        stray_spots=int(np.count_nonzero(~(to_spot <= CLUSTER_REACH).any(axis=0))),
    )


def _clusters(truth: TrueFrame) -> tuple[Index, Index]:
    """Cluster number of each true target, and how many targets that cluster has: (n,) each."""
    number = np.array(truth.targets.cluster, np.int64)
    _, place, count = np.unique(number, return_inverse=True, return_counts=True)
    return number, count[place].astype(np.int64)


def _not_unmixed(size: Index) -> Score:
    nothing, blank = np.zeros(0, np.int64), np.full(len(size), np.nan)
    return Score(
        size=size,
        outcome=np.full(len(size), Outcome.NOT_UNMIXED),
        distance=blank,
        close=np.zeros(len(size), bool),
        intensity_error=blank,
        cluster_size=nothing,
        cluster_count=nothing,
        false_size=nothing,
        spots=0,
        stray_spots=0,
    )


def _members(
    true: tuple[list[float], list[float]], found: tuple[list[float], list[float]]
) -> Index:
    """Index of the true target nearest to each published one, (m,); -1: none within reach."""
    between = distances(found, true)
    if not between.size:
        return np.full(len(found[0]), -1)
    nearest = between.argmin(axis=1)
    return np.where(between.min(axis=1) <= CLUSTER_REACH, nearest, -1)


def _intensity_error(truth: TrueFrame, answer: Targets, partner: Index) -> Float:
    error = np.full(len(partner), np.nan)
    rows = np.flatnonzero(partner >= 0)
    published = np.array(answer.targets.intensity)[partner[rows]]
    error[rows] = published / np.array(truth.targets.intensity)[rows] - 1
    return error


@dataclass(frozen=True)
class Delivery:
    """Whether every frame was answered exactly once and in order.

    Attributes:
        frames: published by the simulator.
        missing: frames without an answer.
        repeated: answers beyond the first of a frame.
        unexpected: answers to frames that were never published.
        disordered: answers that came after one of a later frame.
    """

    frames: int
    missing: int
    repeated: int
    unexpected: int
    disordered: int

    @property
    def exact(self) -> bool:
        """Whether each frame was answered once, in order, and nothing else came."""
        return not (self.missing or self.repeated or self.unexpected or self.disordered)


def check_delivery(published: Iterable[FrameKey], answered: Sequence[FrameKey]) -> Delivery:
    """Compare the keys of the frames, in the order of publication, with those of the answers."""
    place = {key: index for index, key in enumerate(published)}
    counts = Counter(answered)
    order = np.array([place[key] for key in answered if key in place], np.int64)
    latest = np.maximum.accumulate(order)
    return Delivery(
        frames=len(place),
        missing=sum(key not in counts for key in place),
        repeated=counts.total() - len(counts),
        unexpected=sum(key not in place for key in counts),
        disordered=int(np.count_nonzero(order < latest)),
    )

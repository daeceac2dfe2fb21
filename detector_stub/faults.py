"""Detections that are as wrong as asked for: jitter, misses, false alarms, delay."""

import heapq
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dscsnet.detector_stub.config import FaultSettings

Item = TypeVar("Item")
FAULTS = 4  # beside the seed: a random stream of its own, see dscsnet.detector_stub.scene


class Positions(NamedTuple):
    """Candidates: x and y, (n,) float64 each, px."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]


def degrade(
    x: ArrayLike,
    y: ArrayLike,
    shape: tuple[int, int],
    settings: FaultSettings,
    *,
    seed: int,
    frame_id: int,
) -> Positions:
    """Make detections out of the truth; the same ones for the same seed and frame.

    Args:
        x, y: (n,) true positions, px.
        shape: (height, width) of the frame, px.
        settings: what goes wrong; the delay is left to `DelayLine`.
        seed, frame_id: what chance depends on.

    Returns:
        The detected ones in their order, jittered, and the false alarms after them.
    """
    rng = np.random.default_rng([seed, FAULTS, frame_id])
    true = np.stack([np.asarray(x, float), np.asarray(y, float)], axis=1)
    found = true[rng.random(len(true)) >= settings.miss_probability]
    found = found + settings.jitter_px * rng.standard_normal(found.shape)
    height, width = shape
    alarms = rng.poisson(settings.false_alarms_per_frame)
    false = rng.uniform(-0.5, np.array([width, height]) - 0.5, (alarms, 2))
    return Positions(*np.concatenate([found, false]).T)


class DelayLine(Generic[Item]):
    """Holds items until their time has come; those due at one time keep their order."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Item]] = []
        self._pushed = 0

    def __len__(self) -> int:
        """Return how many items wait."""
        return len(self._waiting)

    @property
    def next_due(self) -> float | None:
        """When the first item is due, or None where nothing waits."""
        return self._waiting[0][0] if self._waiting else None

    def push(self, item: Item, due: float) -> None:
        """Hold an item until `due`, on whatever clock the caller uses."""
        heapq.heappush(self._waiting, (due, self._pushed, item))
        self._pushed += 1

    def pop_due(self, now: float) -> Iterator[Item]:
        """Yield the items due at `now` or before, in order, and forget them."""
        while self._waiting and self._waiting[0][0] <= now:
            yield heapq.heappop(self._waiting)[2]

"""Crops that anyone should get right: few bright targets, well apart, and the truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dscsnet.engines.array_types import Float
from dscsnet.engines.engine import CropBatch
from dscsnet.engines.imaging import render
from dscsnet.tools.measures.matching import distances, match_points

SIZE, SIGMA, NOISE = 11, 0.5, 5.0
NUMBERS = (1, 4)
#: Total counts of a target, and least distance of two of one crop, px.
COUNTS, APART = (300.0, 1000.0), 0.8
#: Targets are drawn this far from the middle at most, each axis, px.
REACH = 1.5
#: A target is found by a position this close, px.
HIT = 0.25

Positions = tuple[Float, Float]


@dataclass(frozen=True)
class EasyCrops:
    """Crops and where their targets are.

    Attributes:
        batch: as an engine takes them.
        true: x and y of each crop's targets, px.
    """

    batch: CropBatch
    true: Sequence[Positions]

    def score(self, found: Sequence[Positions]) -> tuple[float, float]:
        """Share of all targets that were found, and of crops with the right number."""
        pairs = list(zip(found, self.true, strict=True))
        hits = sum(int((match_points(true, those, HIT)[0] >= 0).sum()) for those, true in pairs)
        right = [len(those[0]) == len(true[0]) for those, true in pairs]
        return hits / sum(len(x) for x, _ in self.true), float(np.mean(right))


def easy_crops(number: int, seed: int = 0) -> EasyCrops:
    """Draw crops: 1 to 4 targets each, on Gaussian noise."""
    generator = np.random.default_rng(seed)
    pixels = generator.normal(0, NOISE, (number, SIZE, SIZE))
    true = []
    for index in range(number):
        x, y = _apart(int(generator.integers(NUMBERS[0], NUMBERS[1] + 1)), generator)
        counts = generator.uniform(*COUNTS, len(x))
        pixels[index] += render(x, y, counts, (SIZE, SIZE), SIGMA)
        true.append((x, y))
    noise, psf = np.full(number, NOISE, np.float32), np.full((number, 2), SIGMA, np.float32)
    usable = np.ones(pixels.shape, bool)
    return EasyCrops(CropBatch(pixels.astype(np.float32), usable, noise, psf), true)


def _apart(number: int, generator: np.random.Generator) -> Positions:
    """Positions of which no two are near each other: drawn anew until it is so."""
    while True:
        x, y = SIZE // 2 + generator.uniform(-REACH, REACH, (2, number))
        between = distances((x, y), (x, y))[~np.eye(number, dtype=bool)]
        if between.min(initial=np.inf) >= APART:
            return x, y

"""One situation, one model: what comes out, against the truth."""

import math
from dataclasses import dataclass

import numpy as np

from dscsnet.engines.array_types import Float, Mask
from dscsnet.pipeline.messages import SpotFlag
from dscsnet.pipeline.unmix import Result, Unmixer
from dscsnet.tools.measures.matching import match_points
from dscsnet.tools.robustness.bound import position_bound
from dscsnet.tools.robustness.scenes import Scene, Situation

#: What says that a spot's targets may be wrong.
DOUBTFUL = SpotFlag.NOT_CONVERGED | SpotFlag.NUMBER | SpotFlag.CORRELATED | SpotFlag.TRAIL
#: A published target farther than this from every true one is false, px.
NEAR = 0.5


@dataclass(frozen=True)
class Row:
    """What came of a situation; shares from 0 to 1, NaN where there is nothing to tell.

    Attributes:
        right: spots with the right number of targets.
        false: published targets a spot that are no true one's within 0.5 px.
        silent: spots that are wrong (number, or a false target) and not flagged.
        flagged: spots flagged `NOT_CONVERGED`, `NUMBER`, `CORRELATED` or `TRAIL`.
        outside: targets published more than half a pixel outside the frame.
        rms: of the position errors along one axis, px, in spots with the right number.
        over_bound: the same over the Cramér-Rao bound.
        flux_bias: median of published over true counts, less 1.
        one_sigma, two_sigma: position errors within 1 and 2 of the stated sigma.
    """

    group: str
    name: str
    model: str
    spots: int
    right: float
    false: float
    silent: float
    flagged: float
    outside: int
    rms: float
    over_bound: float
    flux_bias: float
    one_sigma: float
    two_sigma: float


def measure(unmixer: Unmixer, model: str, situation: Situation, scene: Scene) -> Row:
    """Unmix a scene and compare."""
    boxes: dict[str, Float] = {}
    if situation.box is not None:
        side = np.full(len(scene.spot_x), situation.box)
        boxes = {"width": side, "height": side}
    result = unmixer.frame(
        scene.pixels,
        scene.spot_x,
        scene.spot_y,
        width=boxes.get("width"),
        height=boxes.get("height"),
    )
    right = result.spots.count == situation.targets
    pairs = _pairs(scene, result)
    false = np.bincount(np.delete(result.targets.spot, pairs[:, 1]), minlength=len(right))
    flagged = (result.spots.flags & DOUBTFUL) > 0
    height, width = scene.pixels.shape
    outside = _outside(result.targets.x, width) | _outside(result.targets.y, height)
    spot = pairs[:, 0] // situation.targets
    told = pairs[right[spot]]
    errors, sigma = _errors(scene, result, told)
    rms = math.sqrt(float(np.mean(errors**2))) if errors.size else math.nan
    ratio = result.targets.intensity[told[:, 1]] / scene.flux.ravel()[told[:, 0]]
    bound = position_bound(scene, situation.light) if errors.size else math.nan
    return Row(
        group=situation.group,
        name=situation.name,
        model=model,
        spots=len(right),
        right=float(right.mean()),
        false=float(false.mean()),
        silent=float((((~right) | (false > 0)) & ~flagged).mean()),
        flagged=float(flagged.mean()),
        outside=int(outside.sum()),
        rms=rms,
        over_bound=rms / bound,
        flux_bias=float(np.median(ratio)) - 1 if len(ratio) else math.nan,
        one_sigma=_share(np.abs(errors) < sigma),
        two_sigma=_share(np.abs(errors) < 2 * sigma),
    )


def _share(values: Mask) -> float:
    return float(values.mean()) if values.size else math.nan


def _outside(place: Float, size: int) -> Mask:
    return np.asarray((place < -1.0) | (place > size))


def _pairs(scene: Scene, result: Result) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """(m, 2) true and published targets of the same place, one to one, spot by spot."""
    number = scene.x.shape[1]
    found: list[tuple[int, int]] = []
    for i in range(len(scene.x)):
        rows = np.flatnonzero(result.targets.spot == i)
        found_there = result.targets.x[rows], result.targets.y[rows]
        partner, _ = match_points((scene.x[i], scene.y[i]), found_there, NEAR)
        found += [(i * number + k, rows[j]) for k, j in enumerate(partner) if j >= 0]
    return np.array(found, np.int64).reshape(-1, 2)


def _errors(
    scene: Scene, result: Result, pairs: np.ndarray[tuple[int, int], np.dtype[np.int64]]
) -> tuple[Float, Float]:
    """(2, m) errors along x and y, and the stated sigmas."""
    true, published = pairs[:, 0], pairs[:, 1]
    targets = result.targets
    errors = np.stack(
        [
            targets.x[published] - scene.x.ravel()[true],
            targets.y[published] - scene.y.ravel()[true],
        ]
    )
    return errors, np.stack([targets.sigma_x[published], targets.sigma_y[published]])

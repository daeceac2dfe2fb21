"""Fits what the gridless readout is honest by: its sigmas and its score, on simulated crops.

The network states sigmas and probabilities, and the fit that follows sharpens them; neither knows
how often it errs as a whole. So their scale is measured on crops that the network has not seen,
and written into the model's card.
"""

from typing import Literal

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.card import GridlessReadout, ScoreWeights
from dscsnet.engines.engine import CropBatch, Outputs
from dscsnet.engines.estimates import Estimates
from dscsnet.engines.fitting import NO_SELECTION, Selection
from dscsnet.engines.readouts.gridless import Details, blend_sigmas, read_with_details
from dscsnet.engines.readouts.score import FURTHER_FROM, HIT_DISTANCE
from dscsnet.tools.measures.average_precision import Points
from dscsnet.tools.measures.matching import match_points

SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")

#: Share of a Gaussian within one sigma.
ONE_SIGMA = 0.6827
#: Targets are paired with true ones within this, px.
PAIRED_WITHIN = 0.5
#: Floors of the position sigma among which the best is taken, px.
FLOORS = (0.0, 0.001, 0.002, 0.004, 0.008)
#: Shares of the network's own sigma, likewise.
NETWORK_SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8)
#: Groups of rising sigma in which the coverage should be the same.
GROUPS = 5
#: With fewer of them a crop there is little to learn from, and nothing to give.
FEWEST_FURTHER = 0.1
#: Weight of the regression's pull towards 0.
RIDGE = 1.0


def calibrate_readout(
    readout: GridlessReadout,
    outputs: Outputs,
    batch: CropBatch,
    true: Points,
    selection: Selection = NO_SELECTION,
) -> GridlessReadout:
    """The readout with sigmas and scores that hold on these crops.

    Args:
        outputs: of the network on `batch`.
        true: the targets of the crops, ranked by their counts.
        selection: of the model, where it has one.
    """
    alone = replace(readout, further_weights=None, least_existence=None)
    plain = replace(alone, intensity_sigma_scale=1.0, least_occupied=0.0, least_doubted=0.0)
    found, details = read_with_details(plain, outputs, batch, selection)
    pairs = _pair(_points(found), true, PAIRED_WITHIN, alone=True)
    blended = ~details.alone[pairs[0]]
    mine, real = pairs = pairs[0][blended], pairs[1][blended]
    pull = np.abs(np.log(found.intensity[mine] / true.score[real]))
    stated = found.sigma_intensity[mine] / found.intensity[mine]
    scaled = replace(
        _position_sigmas(alone, found, details, true, pairs),
        intensity_sigma_scale=round(float(np.quantile(pull / stated, ONE_SIGMA)), 3),
    )
    every = replace(scaled, further_weights=ScoreWeights(), least_existence=FURTHER_FROM)
    estimates, details = read_with_details(every, outputs, batch, selection)
    hit, likely = hits(estimates, true), estimates.likely
    first, further = (_weights(details.features[rows], hit[rows]) for rows in (likely, ~likely))
    return replace(
        scaled,
        score_weights=first,
        further_weights=further if np.sum(~likely) >= FEWEST_FURTHER * len(batch) else None,
    )


def hits(estimates: Estimates, true: Points) -> NDArray[np.bool_]:
    """(m,) whether a true target lies within `HIT_DISTANCE`; those of the likeliest number first.

    A further target is a hit only where it found what they missed.
    """
    points, hit, left = _points(estimates), np.zeros(len(estimates.crop), bool), true
    for rows in (np.flatnonzero(estimates.likely), np.flatnonzero(~estimates.likely)):
        mine, real = _pair(points.take(rows), left, HIT_DISTANCE, alone=False)
        hit[rows[mine]] = True
        left = left.take(np.setdiff1d(np.arange(len(left.x)), real))
    return hit


def _weights(values: Float, hit: NDArray[np.bool_]) -> ScoreWeights:
    weights = logistic_regression(values, hit)
    names = ScoreWeights.__struct_fields__
    return ScoreWeights(**{n: round(float(w), 4) for n, w in zip(names, weights, strict=True)})


def _points(estimates: Estimates) -> Points:
    return Points(estimates.crop, estimates.x, estimates.y, estimates.score)


def logistic_regression(values: Float, hit: NDArray[np.bool_], steps: int = 50) -> Float:
    """Weights that make sigmoid(values @ weights) the probability of `hit`: Newton's method.

    A weak pull towards 0 keeps the weights finite where a feature never varies.
    """
    weights = np.zeros(values.shape[1])
    ridge = RIDGE * np.eye(len(weights))
    for _ in range(steps):
        probability = 1 / (1 + np.exp(-np.clip(values @ weights, -500, 500)))
        gradient = values.T @ (probability - hit) + RIDGE * weights
        curvature = (values * (probability * (1 - probability))[:, None]).T @ values + ridge
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step * min(1.0, 5 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-6:
            break
    return weights


def _position_sigmas(
    readout: GridlessReadout,
    found: Estimates,
    details: Details,
    true: Points,
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> GridlessReadout:
    """Scale, share and floor with the right coverage at one sigma, as even as can be.

    Even over groups of rising sigma, and over groups of rising sharpening by the fit.
    """
    mine, real = pairs
    error = np.abs(
        np.stack([found.x[mine] - true.x[real], found.y[mine] - true.y[real]], 1)
    ).ravel()
    refined, network = details.refined_sigma[mine].ravel(), details.network_sigma[mine].ravel()
    groups = [
        group
        for by in (refined, refined / network)
        for group in np.array_split(np.argsort(by), GROUPS)
    ]
    best, least = readout, np.inf
    for share in NETWORK_SHARES:
        for floor in FLOORS:
            scale = _scale_for(error, refined, np.hypot(share * network, floor))
            trial = replace(
                readout, sigma_scale=round(scale, 3), sigma_network=share, sigma_floor=floor
            )
            inside = error <= blend_sigmas(trial, refined, network)
            spread = float(np.sqrt(np.mean([(inside[g].mean() - ONE_SIGMA) ** 2 for g in groups])))
            if spread < least - 1e-3:
                best, least = trial, spread
    return best


def _scale_for(error: Float, sigma: Float, rest: Float) -> float:
    """Scale of the sigmas at which the wanted share of errors is inside, by bisection."""
    low, high = 1e-3, 1e3
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        if (error <= np.hypot(middle * sigma, rest)).mean() < ONE_SIGMA:
            low = middle
        else:
            high = middle
    return high


def _pair(
    found: Points, true: Points, within: float, *, alone: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Found and true targets within a distance; `alone`: of crops whose number is right."""
    none, crops = np.empty(0, np.int64), np.unique(found.image)
    mine, real = [none], [none]
    firsts, lasts = (np.searchsorted(found.image, crops, side) for side in SIDES)
    true_firsts, true_lasts = (np.searchsorted(true.image, crops, side) for side in SIDES)
    for a, b, c, d in zip(firsts, lasts, true_firsts, true_lasts, strict=True):
        if c == d or (alone and b - a != d - c):
            continue
        partner, _ = match_points((found.x[a:b], found.y[a:b]), (true.x[c:d], true.y[c:d]), within)
        matched = np.flatnonzero(partner >= 0)
        mine.append(a + matched)
        real.append(c + partner[matched])
    return np.concatenate(mine), np.concatenate(real)

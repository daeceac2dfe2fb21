"""Which numbers of targets a crop is fitted with, and which of the fits is the best; compiled."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import inner, inner_making
from dscsnet.engines.fitting.descent import descend, occam, penalty
from dscsnet.engines.fitting.workspace import HELD, SHARED, WIDTH, Workspace


class Options(NamedTuple):
    """`RefineSettings` for compiled code; a width precision of 0 holds the width."""

    steps: int
    tolerance: float
    prior_scale: float
    plane_precision: float
    width_precision: float
    window_sigmas: float
    window_margin: float
    alternatives: int
    least_probability: float
    count_penalty: float
    hard_chi2: float
    hard_margin: float
    judged: bool  # by a selection, which wants to see every fit


class Search(NamedTuple):
    """What is known of one crop while counts are tried; reused for every crop."""

    slots: Float  # (6, slots) x, y, ln intensity in units of noise, and their sigmas; all finite
    probability: Float  # (slots + 2,) of 0, 1, ... targets, and of more
    candidates: NDArray[np.int64]  # (slots + 1,) counts to try, likeliest first
    objective: Float  # (slots + 1,) least found of each count; inf where not tried
    misfit: Float  # (slots + 1,)
    occam: Float  # (slots + 1,) ln of the share of the prior's volume that the data leave
    best: Float  # (slots + 1, unknowns) values at the least


@inner_making
def make_search(slots: int) -> Search:
    """Memory for crops of that many slots."""
    counts = slots + 1
    return Search(
        np.zeros((6, slots)),
        np.zeros(counts + 1),
        np.zeros(counts, np.int64),
        np.zeros(counts),
        np.zeros(counts),
        np.zeros(counts),
        np.zeros((counts, SHARED + 3 * slots)),
    )


@inner
def rank_counts(log_count: Float, options: Options, search: Search) -> int:
    """Fill probabilities and candidates; returns the number of candidates.

    Where nothing is known, there are no targets.
    """
    probability, candidates = search.probability, search.candidates
    _normalise(log_count, probability)
    tried = 0
    while tried < options.alternatives:
        likeliest = -1
        for k in range(candidates.size):
            if tried and (k == 0 or probability[k] < options.least_probability):
                continue
            taken = False
            for place in range(tried):
                taken = taken or candidates[place] == k
            if not taken and (likeliest < 0 or probability[k] > probability[likeliest]):
                likeliest = k
        if likeliest < 0:
            break
        candidates[tried] = likeliest
        tried += 1
        if likeliest == 0:
            break
    return tried


@inner
def _normalise(log_count: Float, probability: Float) -> None:
    greatest, total = -np.inf, 0.0
    for k in range(log_count.size):
        if math.isfinite(log_count[k]):
            greatest = max(greatest, log_count[k])
    for k in range(log_count.size):
        known = math.isfinite(log_count[k])
        probability[k] = math.exp(log_count[k] - greatest) if known else 0.0
        total += probability[k]
    if total == 0.0:
        probability[0], total = 1.0, 1.0
    for k in range(log_count.size):
        probability[k] /= total


@inner
def freedom(space: Workspace, targets: int) -> int:
    """Pixels of the window less unknowns."""
    return space.window[0] - 3 * targets - (SHARED if space.precision[WIDTH] < HELD else WIDTH)


@inner
def inflation(space: Workspace, misfit: float, targets: int) -> float:
    """Reduced chi-square, at least 1."""
    return max(1.0, misfit / max(freedom(space, targets), 1))


@inner
def _count_cost(search: Search, targets: int, options: Options) -> float:
    """The part of the objective that does not depend on the fit."""
    log_probability = math.log(max(search.probability[targets], 1e-300))
    return options.count_penalty * targets - 2.0 * log_probability


@inner
def fit_count(
    space: Workspace, search: Search, targets: int, scale: float, options: Options
) -> float:
    """Fit from `space.values` and keep the result where it is the count's best.

    Args:
        scale: by which chi-square is divided; 0 for the first fit, which sets it.

    Returns:
        The scale.
    """
    misfit = descend(space, space.values, targets, options.steps, options.tolerance)
    if scale == 0.0:
        scale = inflation(space, misfit, targets)
    objective = (misfit + penalty(space, space.values, targets)) / scale
    objective += _count_cost(search, targets, options)
    if objective < search.objective[targets]:
        search.objective[targets], search.misfit[targets] = objective, misfit
        if options.judged:
            search.occam[targets] = occam(space, targets)
        for a in range(SHARED + 3 * targets):
            search.best[targets, a] = space.values[a]
    return scale


@inner
def pays(search: Search, targets: int, scale: float, options: Options) -> bool:
    """Whether a count could beat the first, given that fewer targets have no lower misfit."""
    first = search.candidates[0]
    if options.judged or targets > first:
        return True
    least = search.misfit[first] / scale + _count_cost(search, targets, options)
    return least < search.objective[first]


@inner
def best_count(search: Search, tried: int) -> int:
    """The count with the least objective."""
    best = search.candidates[0]
    for place in range(1, tried):
        if search.objective[search.candidates[place]] < search.objective[best]:
            best = search.candidates[place]
    return best


@inner
def is_close(search: Search, tried: int, margin: float) -> bool:
    """Whether a second count comes within that margin of the best."""
    best = best_count(search, tried)
    for place in range(tried):
        other = search.candidates[place]
        if other != best and search.objective[other] < search.objective[best] + margin:
            return True
    return False


@inner
def weigh_counts(search: Search, tried: int, probability: Float) -> None:
    """Share the candidates' probability among them by their objectives."""
    best = search.objective[best_count(search, tried)]
    shared, total = 0.0, 0.0
    for k in range(probability.size):
        probability[k] = search.probability[k]
    for place in range(tried):
        k = search.candidates[place]
        if math.isfinite(search.objective[k]):
            shared += probability[k]
            total += math.exp(0.5 * (best - search.objective[k]))
    for place in range(tried):
        k = search.candidates[place]
        if math.isfinite(search.objective[k]):
            probability[k] = shared * math.exp(0.5 * (best - search.objective[k])) / total

"""The compiled loop of the refinement: which fits each crop needs, and what comes of them."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import inner, kernel
from dscsnet.engines.fitting.counts import (
    Options,
    Search,
    best_count,
    fit_count,
    freedom,
    inflation,
    is_close,
    make_search,
    pays,
    rank_counts,
    weigh_counts,
)
from dscsnet.engines.fitting.descent import descend, invert_normal, weigh_by_fit
from dscsnet.engines.fitting.linear import covariance
from dscsnet.engines.fitting.selection import Selection, fill_features, judge, likeliest
from dscsnet.engines.fitting.spline import PsfTable
from dscsnet.engines.fitting.workspace import (
    HELD,
    LEVEL,
    SHARED,
    WIDTH,
    Workspace,
    believable_noise,
    is_uneven,
    make_workspace,
    open_window,
    set_light_noise,
)
from dscsnet.engines.noise_model import NoiseModel

#: What is left of the network's precision where it knows too little of the noise or the PSF.
ALONE = 0.1
#: Least and greatest sigma of a slot (px, ln counts), so that its precision stays finite.
LEAST_SIGMA, GREATEST_SIGMA = 1e-4, 10.0
#: ln intensity, in units of noise, of a slot whose own is not finite.
SOME_LOG_INTENSITY = 3.0


class Results(NamedTuple):
    """Columns of `Refined`, in its order."""

    targets: NDArray[np.int64]
    slots: Float  # (6, n, slots)
    covariance_xy: Float
    chi2: Float
    psf_factor: Float
    sigma_psf_factor: Float
    level: Float
    probability: Float  # (n, slots + 2)
    alone: NDArray[np.bool_]


@kernel
def refine_crops(
    pixels: NDArray[np.float32],
    usable: NDArray[np.bool_],
    noise: Float,
    psf: Float,
    slots: Float,
    log_count: Float,
    options: Options,
    draws: Float,
    table: PsfTable,
    noise_model: NoiseModel,
    existence: Float,
    selection: Selection,
    log_prior: Float,
    features: Float,
) -> Results:
    """Refine each crop; see `engines.fitting.refinement.refine`.

    Args:
        slots: (6, n, slots) x, y, ln intensity and their sigmas.
        draws: (starts - 1, slots, 3) standard normal draws that place the third start and on.
        table: an empty one: the PSF is Gaussian.
        noise_model: what light adds to a pixel's noise.
        existence: (n, slots) log-odds that each slot holds a target, for the features.
        selection: judges by the features; without one the objectives choose.
        log_prior: (n, slots + 2) added to ln of what the selection says.
        features: (n, features) of 0 to be filled; of (n, 0) where they are not wanted.
    """
    (number, size, _), most = pixels.shape, slots.shape[2]
    results = Results(
        np.zeros(number, np.int64),
        slots.copy(),
        np.zeros((number, most)),
        np.full(number, np.nan),
        np.full(number, np.nan),
        np.full(number, np.nan),
        np.full(number, np.nan),
        np.zeros((number, most + 2)),
        np.zeros(number, np.bool_),
    )
    hidden = np.zeros((2, selection.middle.shape[0]))
    space, search = make_workspace(size, most, table), make_search(most)
    for crop in range(number):
        space.psf[0], space.psf[1] = psf[crop, 0], psf[crop, 1]
        scale = believable_noise(pixels[crop], usable[crop], noise[crop])
        _take_slots(slots, crop, size, scale, search.slots)
        _set_prior(space, search.slots, options)
        set_light_noise(space, noise_model.gain, noise_model.psf_error, scale)
        tried = rank_counts(log_count[crop], options, search)
        results.targets[crop] = search.candidates[0]
        for k in range(most + 2):
            results.probability[crop, k] = search.probability[k]
        if not (0 < psf[crop, 0] < np.inf and 0 < psf[crop, 1] < np.inf):
            continue
        if _open_window(space, pixels[crop], usable[crop], scale, search, tried, options) == 0:
            continue
        uneven = is_uneven(space)
        results.alone[crop] = uneven or table.coefficients.size > 0
        if uneven:
            _weigh_by_first(space, search, options)
        _fit_counts(space, search, tried, options, draws)
        probability, targets = results.probability[crop], best_count(search, tried)
        if targets > 0 and features.size:
            fill_features(space, search, tried, existence[crop], features[crop])
        if selection.leave.size == 0:
            weigh_counts(search, tried, probability)
        elif targets > 0:
            judge(selection, features[crop], log_prior[crop], hidden, probability)
            targets = likeliest(search, tried, probability)
        if results.alone[crop] and targets > 0:
            _fit_alone(space, search, targets, uneven, options)
        _write(space, search, targets, crop, scale, results)
    return results


@inner
def _weigh_by_first(space: Workspace, search: Search, options: Options) -> None:
    """Weigh by the light of the likeliest number: noise in the pixels themselves would bias it.

    All numbers are fitted with these weights, so that their misfits compare.
    """
    targets = search.candidates[0]
    for a in range(SHARED + 3 * targets):
        space.values[a] = space.mean[a]
    descend(space, space.values, targets, options.steps, options.tolerance)
    weigh_by_fit(space, space.values, targets)


@inner
def _fit_alone(
    space: Workspace, search: Search, targets: int, uneven: bool, options: Options
) -> None:
    """Fit the chosen number anew, weighed by its own light, and hardly held by the network."""
    values = search.best[targets]
    if uneven:
        weigh_by_fit(space, values, targets)
    for a in range(SHARED, SHARED + 3 * targets):
        space.precision[a] *= ALONE
    search.misfit[targets] = descend(space, values, targets, options.steps, options.tolerance)


@inner
def _take_slots(slots: Float, crop: int, size: int, noise: float, out: Float) -> None:
    """One crop's slots in units of noise; stand-ins for what is not finite or lies outside."""
    for k in range(slots.shape[2]):
        for a in range(3):
            value, sigma = slots[a, crop, k], slots[3 + a, crop, k]
            known = math.isfinite(value) and math.isfinite(sigma)
            if a == 2:
                value = value - math.log(noise) if known else SOME_LOG_INTENSITY
            else:
                value = min(max(value, -0.5), size - 0.5) if known else 0.5 * (size - 1)
            out[a, k] = value
            out[3 + a, k] = (
                min(max(sigma, LEAST_SIGMA), GREATEST_SIGMA) if known else GREATEST_SIGMA
            )


@inner
def _set_prior(space: Workspace, slots: Float, options: Options) -> None:
    for a in range(LEVEL, WIDTH):
        space.mean[a], space.precision[a] = 0.0, options.plane_precision
    space.mean[WIDTH] = 0.0
    space.precision[WIDTH] = options.width_precision if options.width_precision > 0 else HELD
    for k in range(slots.shape[1]):
        for a in range(3):
            place = SHARED + 3 * k + a
            space.mean[place] = slots[a, k]
            space.precision[place] = 1.0 / (options.prior_scale * slots[3 + a, k]) ** 2


@inner
def _open_window(
    space: Workspace,
    pixels: NDArray[np.float32],
    usable: NDArray[np.bool_],
    noise: float,
    search: Search,
    tried: int,
    options: Options,
) -> int:
    """One window for all counts, so that their misfits compare; returns its pixels."""
    most = 0
    for place in range(tried):
        most = max(most, search.candidates[place])
    reach_x = options.window_sigmas * space.psf[0] + options.window_margin
    reach_y = options.window_sigmas * space.psf[1] + options.window_margin
    return open_window(space, pixels, usable, noise, most, reach_x, reach_y)


@inner
def _fit_counts(
    space: Workspace, search: Search, tried: int, options: Options, draws: Float
) -> None:
    """Fit the candidates from the network's answer, and hard crops from further starts."""
    scale = 0.0
    for start in range(1 + draws.shape[0]):
        if start == 1 and not _is_hard(space, search, tried, options):
            break
        for place in range(tried):
            targets = search.candidates[place]
            if start == 0:
                search.objective[targets] = np.inf
            if scale > 0.0 and not pays(search, targets, scale, options):
                continue
            _set_start(space, search, targets, start, draws)
            scale = fit_count(space, search, targets, scale, options)


@inner
def _set_start(space: Workspace, search: Search, targets: int, start: int, draws: Float) -> None:
    """`space.values`: the network's answer, then where that led to, then draws around it."""
    onwards = start == 1 and math.isfinite(search.objective[targets])
    for a in range(SHARED + 3 * targets):
        space.values[a] = search.best[targets, a] if onwards else space.mean[a]
        if start > 1 and a >= SHARED:
            slot, axis = (a - SHARED) // 3, (a - SHARED) % 3
            space.values[a] += search.slots[3 + axis, slot] * draws[start - 1, slot, axis]


@inner
def _is_hard(space: Workspace, search: Search, tried: int, options: Options) -> bool:
    """Whether a crop deserves further starts."""
    best = best_count(search, tried)
    if best == 0:
        return False
    misfit = search.misfit[best] > options.hard_chi2 * max(freedom(space, best), 1)
    return misfit or is_close(search, tried, options.hard_margin)


@inner
def _write(
    space: Workspace, search: Search, targets: int, crop: int, noise: float, results: Results
) -> None:
    """Blend a number's fit with the network's answer by precision; one crop's columns.

    Not where light makes the noise uneven, nor where the PSF is a table: of these the network's
    answer knows too little.
    """
    values, misfit = search.best[targets], search.misfit[targets]
    results.targets[crop] = targets
    results.level[crop] = values[LEVEL] * noise
    if freedom(space, targets) > 0:
        results.chi2[crop] = misfit / freedom(space, targets)
    if targets == 0:
        return
    excess, unknowns = inflation(space, misfit, targets), SHARED + 3 * targets
    invert_normal(space, values, targets)
    for k in range(targets):
        for a in range(3):
            place = SHARED + 3 * k + a
            of_fit = excess * covariance(space.factor, place, place, unknowns)
            of_network = search.slots[3 + a, k] ** 2
            weight = 1.0 if results.alone[crop] else of_network / (of_network + of_fit)
            blend = weight * values[place] + (1 - weight) * search.slots[a, k]
            results.slots[a, crop, k] = blend + math.log(noise) if a == 2 else blend
            results.slots[3 + a, crop, k] = math.sqrt(weight * of_fit)
            # The network's errors along x and y are taken to be independent.
            if a == 0:
                results.covariance_xy[crop, k] = weight
            elif a == 1:
                shared = excess * covariance(space.factor, place - 1, place, unknowns)
                results.covariance_xy[crop, k] *= weight * shared
    if space.precision[WIDTH] < HELD:
        results.psf_factor[crop] = math.exp(values[WIDTH])
        variance = excess * covariance(space.factor, WIDTH, WIDTH, unknowns)
        # The inflation must not lose what the prior knew.
        sigma = math.sqrt(min(variance, 1.0 / space.precision[WIDTH]))
        results.sigma_psf_factor[crop] = sigma * results.psf_factor[crop]

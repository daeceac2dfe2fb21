"""Fits without a network: every number of targets from several starts, and their evidence.

The targets of each number are sought from those of the number before: one more at the peak of what
is left, each of them split in two, and places drawn at random around the light.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import inner, kernel
from dscsnet.engines.fitting.counts import freedom
from dscsnet.engines.fitting.descent import (
    descend,
    evaluate,
    invert_normal,
    penalty,
    weigh_by_fit,
)
from dscsnet.engines.fitting.linear import covariance
from dscsnet.engines.fitting.profiles import fill_profile
from dscsnet.engines.fitting.spline import PsfTable
from dscsnet.engines.fitting.workspace import (
    HELD,
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

#: Mean and sigma of the prior of ln intensity, in units of noise; sigma of a position's, px.
LOG_INTENSITY, LOG_INTENSITY_SIGMA, POSITION_SIGMA = 3.5, 2.5, 3.0
#: Half the way between the two that a target is split into, and spread of random starts, px.
SPLIT, START_SPREAD = 0.35, 0.9
#: Side of the matched filter, half, px.
FILTER_REACH = 2


class OrderOptions(NamedTuple):
    """`PsfFitSettings` for compiled code; a width precision of 0 holds the width."""

    starts: int
    steps: int
    tolerance: float
    reach: float
    target_penalty: float
    plane_precision: float
    width_precision: float


class Orders(NamedTuple):
    """The best fit of each number of targets, for one crop; reused for every crop."""

    values: Float  # (most + 1, unknowns)
    misfit: Float  # (most + 1,)
    cost: Float  # (most + 1,) Bayesian information criterion; inf where not tried
    residual: Float  # (size, size) image of what is left, over the noise of each pixel
    sigma: Float  # (size, size) that noise
    kernel: Float  # (2, 3, size) matched filter along x and y


class OrderResults(NamedTuple):
    """What the search gives; the slots beyond a crop's number of targets are NaN.

    Attributes:
        targets: (n,) number of targets.
        slots: (6, n, most) x, y, ln counts and their sigmas.
        covariance_xy: (n, most) px squared.
        chi2: (n,) reduced chi-square; NaN where no freedom is left.
        psf_factor, sigma_psf_factor: (n,) NaN where the width was held.
        probability: (n, most + 1) of 0, 1, ... targets, by the evidence; all 0 where a crop was
            left alone.
    """

    targets: NDArray[np.int64]
    slots: Float
    covariance_xy: Float
    chi2: Float
    psf_factor: Float
    sigma_psf_factor: Float
    probability: Float


@kernel
def search_orders(
    pixels: NDArray[np.float32],
    usable: NDArray[np.bool_],
    noise: Float,
    psf: Float,
    table: PsfTable,
    noise_model: NoiseModel,
    options: OrderOptions,
    draws: Float,
) -> OrderResults:
    """Fit each crop with 0, 1, ... targets; one without pixels or PSF is left alone.

    Args:
        pixels, usable: (n, s, s) counts above background, and pixels that count.
        noise: (n,) counts.
        psf: (n, 2) PSF sigma along x and y, px; with a table only for the matched filter.
        table: of the PSF; an empty one: it is Gaussian.
        noise_model: what light adds to a pixel's noise.
        draws: (starts, most, 3) standard normal draws.
    """
    (number, size, _), most = pixels.shape, draws.shape[1]
    results = OrderResults(
        np.zeros(number, np.int64),
        np.full((6, number, most), np.nan),
        np.full((number, most), np.nan),
        np.full(number, np.nan),
        np.full(number, np.nan),
        np.full(number, np.nan),
        np.zeros((number, most + 1)),
    )
    space = make_workspace(size, most, table)
    orders = Orders(
        np.zeros((most + 1, SHARED + 3 * most)),
        np.zeros(most + 1),
        np.zeros(most + 1),
        np.zeros((size, size)),
        np.zeros((size, size)),
        np.zeros((2, 3, size)),
    )
    _set_prior(space, most, options)
    for crop in range(number):
        scale = believable_noise(pixels[crop], usable[crop], noise[crop])
        space.psf[0], space.psf[1] = psf[crop, 0], psf[crop, 1]
        set_light_noise(space, noise_model.gain, noise_model.psf_error, scale)
        opened = open_window(
            space, pixels[crop], usable[crop], scale, 1, options.reach, options.reach
        )
        known = 0 < psf[crop, 0] < np.inf and 0 < psf[crop, 1] < np.inf
        if known and opened > SHARED:
            _fit_orders(space, orders, most, options, draws)
            if is_uneven(space):
                _fit_by_own_light(space, orders, most, options, draws)
            _write(space, orders, most, crop, scale, results)
    return results


@inner
def _set_prior(space: Workspace, most: int, options: OrderOptions) -> None:
    """Weak priors: targets near the crop's centre, of any likely intensity."""
    for a in range(WIDTH):
        space.mean[a], space.precision[a] = 0.0, options.plane_precision
    space.mean[WIDTH] = 0.0
    space.precision[WIDTH] = options.width_precision if options.width_precision > 0 else HELD
    for k in range(most):
        for a in range(3):
            place = SHARED + 3 * k + a
            space.mean[place] = LOG_INTENSITY if a == 2 else 0.5 * (space.size - 1)
            sigma = LOG_INTENSITY_SIGMA if a == 2 else POSITION_SIGMA
            space.precision[place] = sigma**-2


@inner
def _fit_orders(
    space: Workspace, orders: Orders, most: int, options: OrderOptions, draws: Float
) -> None:
    """Fill `orders`; ends where two more targets in a row were not worth it."""
    middle = space.size // 2
    for axis in range(2):
        fill_profile(middle, space.psf[axis], 0, space.size - 1, orders.kernel[axis])
    for k in range(most + 1):
        orders.cost[k] = np.inf
    for a in range(SHARED):
        space.values[a] = 0.0
    _keep(space, orders, 0, options)
    _leave(space, orders, 0)
    center_x, center_y, light = _center(orders)
    rises = 0
    for targets in range(1, most + 1):
        _leave(space, orders, targets - 1)
        for start in range(targets + options.starts):
            if start >= targets and _good(space, orders, targets):
                break
            _copy(orders.values[targets - 1], space.values)
            if start == 0:
                _add_peak(space, orders, targets)
            elif start < targets:
                _split(space, orders, start - 1, targets)
            else:
                _scatter(space, targets, center_x, center_y, light, draws[start - targets])
            _keep(space, orders, targets, options)
        if not orders.cost[targets] < np.inf:
            break
        rises = rises + 1 if orders.cost[targets] > orders.cost[targets - 1] else 0
        if rises == 2:
            break


@inner
def _fit_by_own_light(
    space: Workspace, orders: Orders, most: int, options: OrderOptions, draws: Float
) -> None:
    """Fit anew, weighed by the light of the best number: pixels' own noise would bias weights."""
    targets = _cheapest(orders, most)
    weigh_by_fit(space, orders.values[targets], targets)
    _fit_orders(space, orders, most, options, draws)
    targets = _cheapest(orders, most)
    values = orders.values[targets]
    weigh_by_fit(space, values, targets)
    orders.misfit[targets] = descend(space, values, targets, options.steps, options.tolerance)


@inner
def _cheapest(orders: Orders, most: int) -> int:
    """The number of targets with the least cost."""
    targets = 0
    for k in range(most + 1):
        if orders.cost[k] < orders.cost[targets]:
            targets = k
    return targets


@inner
def _copy(source: Float, target: Float) -> None:
    for a in range(source.size):
        target[a] = source[a]


@inner
def _keep(space: Workspace, orders: Orders, targets: int, options: OrderOptions) -> None:
    """Fit from `space.values`; keep the result where it is the number's best."""
    misfit = descend(space, space.values, targets, options.steps, options.tolerance)
    cost = _deviance(misfit + penalty(space, space.values, targets), space.window[0])
    cost += options.target_penalty * targets * math.log(space.window[0])
    if cost < orders.cost[targets]:
        orders.cost[targets], orders.misfit[targets] = cost, misfit
        _copy(space.values, orders.values[targets])


@inner
def _deviance(misfit: float, pixels: int) -> float:
    """-2 ln likelihood where the noise is the told one or more.

    So structure in the background, which no target explains, counts as noise.
    """
    return misfit if misfit <= pixels else pixels * (1.0 + math.log(misfit / pixels))


@inner
def _good(space: Workspace, orders: Orders, targets: int) -> bool:
    """Whether a fit is as good as the noise allows, so that no other start can better it."""
    return orders.misfit[targets] <= freedom(space, targets)


@inner
def _leave(space: Workspace, orders: Orders, targets: int) -> None:
    """Fill the image of what the best fit of that many targets leaves."""
    evaluate(space, orders.values[targets], targets)
    for i in range(space.size):
        for j in range(space.size):
            orders.residual[i, j], orders.sigma[i, j] = 0.0, 1.0
    for p in range(space.window[0]):
        orders.residual[space.row[p], space.column[p]] = -space.residual[p]
        orders.sigma[space.row[p], space.column[p]] = 1.0 / space.weight[p]


@inner
def _center(orders: Orders) -> tuple[float, float, float]:
    """Centroid and sum of what is brighter than the noise in the residual."""
    size = orders.residual.shape[0]
    total = sum_x = sum_y = 1e-9
    for i in range(size):
        for j in range(size):
            excess = max(orders.residual[i, j] - 2.0, 0.0) * orders.sigma[i, j]
            total += excess
            sum_x += excess * j
            sum_y += excess * i
    return sum_x / total, sum_y / total, total


@inner
def _add_peak(space: Workspace, orders: Orders, targets: int) -> None:
    """Put the last target where the matched filter finds most light left."""
    size, middle = space.size, space.size // 2
    reach = min(FILTER_REACH, middle)
    best = -np.inf
    best_x = best_y = middle
    for i in range(reach, size - reach):
        for j in range(reach, size - reach):
            light = norm = 0.0
            for down in range(-reach, reach + 1):
                for right in range(-reach, reach + 1):
                    share = orders.kernel[0, 0, middle + right] * orders.kernel[1, 0, middle + down]
                    light += share * orders.residual[i + down, j + right]
                    norm += share * share
            if light / norm > best:
                best, best_x, best_y = light / norm, j, i
    place = SHARED + 3 * (targets - 1)
    space.values[place], space.values[place + 1] = best_x, best_y
    space.values[place + 2] = math.log(max(best * orders.sigma[best_y, best_x], 3.0))


@inner
def _split(space: Workspace, orders: Orders, k: int, targets: int) -> None:
    """Replace a target by two, along the axis on which it leaves light on both sides."""
    values, first, last = space.values, SHARED + 3 * k, SHARED + 3 * (targets - 1)
    along, diagonal = 1e-9, 0.0
    for p in range(space.window[0]):
        right, down = space.column[p] - values[first], space.row[p] - values[first + 1]
        if right * right + down * down < (FILTER_REACH + 0.5) ** 2:
            light = orders.residual[space.row[p], space.column[p]]
            along += light * (right * right - down * down)
            diagonal += light * 2.0 * right * down
    angle = 0.5 * math.atan2(diagonal, along)
    shift_x, shift_y = SPLIT * math.cos(angle), SPLIT * math.sin(angle)
    values[last], values[last + 1] = values[first] + shift_x, values[first + 1] + shift_y
    values[first] -= shift_x
    values[first + 1] -= shift_y
    values[first + 2] -= math.log(2.0)
    values[last + 2] = values[first + 2]


@inner
def _scatter(
    space: Workspace, targets: int, center_x: float, center_y: float, light: float, draws: Float
) -> None:
    """All targets at random around the light, which they share."""
    for k in range(targets):
        place = SHARED + 3 * k
        space.values[place] = center_x + START_SPREAD * draws[k, 0]
        space.values[place + 1] = center_y + START_SPREAD * draws[k, 1]
        share = math.log(max(light / targets, 3.0))
        space.values[place + 2] = share + 0.5 * draws[k, 2]


@inner
def _write(
    space: Workspace, orders: Orders, most: int, crop: int, noise: float, results: OrderResults
) -> None:
    """One crop's results: the number with the least cost, and its posterior."""
    targets, total = _cheapest(orders, most), 0.0
    for k in range(most + 1):
        results.probability[crop, k] = math.exp(0.5 * (orders.cost[targets] - orders.cost[k]))
        total += results.probability[crop, k]
    for k in range(most + 1):
        results.probability[crop, k] /= total
    values, unknowns = orders.values[targets], SHARED + 3 * targets
    results.targets[crop] = targets
    excess, free = 1.0, freedom(space, targets)
    if free > 0:
        results.chi2[crop] = orders.misfit[targets] / free
        excess = max(1.0, results.chi2[crop])
    invert_normal(space, values, targets)
    for k in range(targets):
        for a in range(3):
            place = SHARED + 3 * k + a
            results.slots[a, crop, k] = values[place]
            variance = excess * covariance(space.factor, place, place, unknowns)
            results.slots[3 + a, crop, k] = math.sqrt(variance)
        results.slots[2, crop, k] += math.log(noise)
        place = SHARED + 3 * k
        shared = covariance(space.factor, place, place + 1, unknowns)
        results.covariance_xy[crop, k] = excess * shared
    if targets > 0 and space.precision[WIDTH] < HELD:
        factor = math.exp(values[WIDTH])
        variance = excess * covariance(space.factor, WIDTH, WIDTH, unknowns)
        results.psf_factor[crop] = factor
        sigma = math.sqrt(min(variance, 1.0 / space.precision[WIDTH]))
        results.sigma_psf_factor[crop] = factor * sigma

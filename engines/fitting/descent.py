"""Least squares for one crop, by damped Gauss-Newton steps; compiled."""

import math

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import inner, inner_sum
from dscsnet.engines.fitting.light import fill_light, fill_slopes
from dscsnet.engines.fitting.linear import factorise, invert_factor, solve
from dscsnet.engines.fitting.workspace import (
    LEVEL,
    SHARED,
    SLOPE_X,
    SLOPE_Y,
    WIDTH,
    Workspace,
    padded,
    weigh,
)

#: Greatest step of a position (px), of ln intensity and of ln width.
POSITION_STEP, INTENSITY_STEP, WIDTH_STEP = 0.35, 0.8, 0.1
#: Bounds of ln intensity (in units of noise) and of ln width.
LEAST_INTENSITY, GREATEST_INTENSITY, WIDTH_BOUND = -4.0, 25.0, 0.4
FIRST_DAMPING, LEAST_DAMPING, GREATEST_DAMPING = 1e-3, 1e-9, 1e6


@inner
def evaluate(space: Workspace, values: Float, targets: int) -> float:
    """Sum of squared residuals; fills the residual and each target's row of ln intensity."""
    pixels, residual, plane = space.window[0], space.residual, space.jacobian
    for p in range(pixels):
        residual[p] = (
            values[LEVEL] * plane[LEVEL, p]
            + values[SLOPE_X] * plane[SLOPE_X, p]
            + values[SLOPE_Y] * plane[SLOPE_Y, p]
            - space.observed[p]
        )
    for k in range(targets):
        fill_light(space, values, k)
        light = space.jacobian[SHARED + 3 * k + 2]
        for p in range(pixels):
            residual[p] += light[p]
    total = 0.0
    for p in range(pixels):
        total += residual[p] * residual[p]
    return total


@inner
def _fill_jacobian(space: Workspace, values: Float, targets: int) -> None:
    """The rows of positions and width, at the values that were evaluated last."""
    width = space.jacobian[WIDTH]
    for p in range(space.window[0]):
        width[p] = 0.0
    for k in range(targets):
        fill_slopes(space, values, k)


@inner_sum
def _dot(first: Float, second: Float, pixels: int) -> float:
    total = 0.0
    for p in range(pixels):
        total += first[p] * second[p]
    return total


@inner
def linearise(space: Workspace, values: Float, targets: int) -> None:
    """Normal matrix and gradient of the data alone, at the values that were evaluated last."""
    _fill_jacobian(space, values, targets)
    pixels = padded(space.window[0])
    for a in range(SHARED + 3 * targets):
        line = space.jacobian[a]
        space.gradient[a] = _dot(line, space.residual, pixels)
        for b in range(a + 1):
            space.normal[a, b] = _dot(line, space.jacobian[b], pixels)


@inner
def penalty(space: Workspace, values: Float, targets: int) -> float:
    """Squared distance from the priors' means, in their sigmas."""
    total = 0.0
    for a in range(SHARED + 3 * targets):
        offset = values[a] - space.mean[a]
        total += space.precision[a] * offset * offset
    return total


@inner
def _factorise_damped(space: Workspace, unknowns: int, damping: float) -> None:
    """`space.factor`: of the posterior's precision, its diagonal raised."""
    for a in range(unknowns):
        for b in range(a):
            space.factor[a, b] = space.normal[a, b]
        diagonal = space.normal[a, a] + space.precision[a]
        space.factor[a, a] = diagonal * (1.0 + damping) + 1e-12
    factorise(space.factor, unknowns)


@inner
def _damped_step(space: Workspace, values: Float, targets: int, damping: float) -> float:
    """Fill `space.step`; returns by how much it should lower the objective."""
    unknowns = SHARED + 3 * targets
    for a in range(unknowns):
        offset = space.precision[a] * (values[a] - space.mean[a])
        space.step[a] = -space.gradient[a] - offset
        space.trial[a] = space.step[a]  # kept for the gain
    _factorise_damped(space, unknowns, damping)
    solve(space.factor, space.step, unknowns)
    gain = 0.0
    for a in range(unknowns):
        gain += space.trial[a] * space.step[a]
    return gain


@inner
def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@inner
def _take_step(space: Workspace, values: Float, targets: int) -> None:
    """`space.trial`: the values after the step, held to its limits and to their bounds."""
    trial, step = space.trial, space.step
    for a in range(WIDTH):
        trial[a] = values[a] + step[a]
    moved = values[WIDTH] + _clip(step[WIDTH], -WIDTH_STEP, WIDTH_STEP)
    trial[WIDTH] = _clip(moved, -WIDTH_BOUND, WIDTH_BOUND)
    edge = space.size - 0.5
    for k in range(targets):
        place = SHARED + 3 * k
        furthest = max(abs(step[place]), abs(step[place + 1]))
        scale = min(1.0, POSITION_STEP / furthest) if furthest > 0 else 1.0
        for a in range(place, place + 2):
            trial[a] = _clip(values[a] + scale * step[a], -0.5, edge)
        brighter = _clip(step[place + 2], -INTENSITY_STEP, INTENSITY_STEP)
        trial[place + 2] = _clip(values[place + 2] + brighter, LEAST_INTENSITY, GREATEST_INTENSITY)


@inner
def descend(space: Workspace, values: Float, targets: int, steps: int, tolerance: float) -> float:
    """Lead `values` to the least of misfit plus penalty, in place; returns the misfit.

    Ends early when a step promises, or brought, less than `tolerance`.
    """
    misfit = evaluate(space, values, targets)
    objective = misfit + penalty(space, values, targets)
    stale, damping = True, FIRST_DAMPING
    for _ in range(steps):
        if stale:
            linearise(space, values, targets)
            stale = False
        if not _damped_step(space, values, targets, damping) > tolerance:
            break
        _take_step(space, values, targets)
        reached = evaluate(space, space.trial, targets)
        total = reached + penalty(space, space.trial, targets)
        if total <= objective:
            gain, misfit, objective, stale = objective - total, reached, total, True
            for a in range(SHARED + 3 * targets):
                values[a] = space.trial[a]
            damping = max(0.1 * damping, LEAST_DAMPING)
            if gain < tolerance:
                break
        else:
            damping *= 8.0
            if damping > GREATEST_DAMPING:
                break
    return misfit


@inner
def weigh_by_fit(space: Workspace, values: Float, targets: int) -> None:
    """Weigh the pixels by the light that the values give them."""
    evaluate(space, values, targets)
    light = space.residual  # which the next evaluation fills anew
    for p in range(space.window[0]):
        light[p] = 0.0
        for k in range(targets):
            light[p] += space.jacobian[SHARED + 3 * k + 2, p]
        light[p] /= space.weight[p]
    weigh(space, light)


@inner
def occam(space: Workspace, targets: int) -> float:
    """ln of the targets' posterior volume over their prior's, where `descend` linearised last."""
    unknowns, total = SHARED + 3 * targets, 0.0
    _factorise_damped(space, unknowns, 0.0)
    for a in range(SHARED, unknowns):
        total += math.log(space.factor[a, a]) + 0.5 * math.log(space.precision[a])
    return total


@inner
def invert_normal(space: Workspace, values: Float, targets: int) -> None:
    """`space.factor`: inverse factor of the posterior's precision at the values."""
    evaluate(space, values, targets)
    linearise(space, values, targets)
    _damped_step(space, values, targets, 0.0)
    invert_factor(space.factor, SHARED + 3 * targets)

"""The narrow mode of widths: point targets share one width, everything else is wider.

Each width is that of the PSF with its error and a common relative scatter, or wider by an
exponentially distributed excess (pairs, clusters, extended objects), or, rarely, anything.
"""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

from dscsnet.engines.array_types import Float
from dscsnet.tools.calibration.psf import normal_tail

#: Few widths are anything at all, over this range of log width: blemishes, fits gone astray.
ODD_SHARE, ODD_RANGE = 0.02, 3.0
LEAST_SCATTER, MOST_SCATTER = 0.005, 0.5
#: Prior width of the scatter: the PSF of one recording varies by some per cent at most.
USUAL_SCATTER = 0.05
#: Excesses below this, relative, are taken for scatter; they would be confused with the errors.
LEAST_EXCESS, MOST_EXCESS = 0.05, 1.0
FIRST_STEPS = (0.05, 0.7, 0.7, 0.5)
LAST_STEP = 1e-3  # of the first ones
#: Points to start from: quantiles of the widths, times scatter, share of wide ones, their excess.
QUANTILES = np.linspace(0, 1, 25)
SCATTERS, LOGITS, EXCESSES = (0.005, 0.05), (-1.5, 1.5), (0.1, 0.5)
DESCENTS = 3  # from the best of them


@dataclass(frozen=True)
class NarrowMode:
    """The widths' narrow mode.

    Attributes:
        center: log of the width.
        scatter: relative, beyond the errors.
        member: (n,) probability of each width to belong to it.
    """

    center: float
    scatter: float
    member: Float


def narrow_mode(widths: Float, errors: Float) -> NarrowMode:
    """Find the mode by maximum posterior probability.

    Args:
        widths: (n,) logs of widths, n at least 1.
        errors: (n,) their standard errors.
    """
    ranked = sorted(
        (_cost(widths, errors, np.array(start)), start)
        for start in product(
            np.unique(np.quantile(widths, QUANTILES)).tolist(),
            np.log(SCATTERS).tolist(),
            LOGITS,
            np.log(EXCESSES).tolist(),
        )
    )
    ends = [_descend(widths, errors, np.array(start)) for _, start in ranked[:DESCENTS]]
    best, _ = min(ends, key=lambda end: end[1])
    center, scatter, share, excess = _natural(best)
    narrow, wide, odd = _densities(widths, errors, center, scatter, share, excess)
    return NarrowMode(center, scatter, narrow / (narrow + wide + odd))


def _natural(point: Float) -> tuple[float, float, float, float]:
    """Center, scatter, share of wide ones, their mean excess."""
    center, log_scatter, logit, log_excess = point
    share = 1 / (1 + math.exp(-min(max(logit, -9.0), 9.0)))
    scatter = min(max(math.exp(log_scatter), LEAST_SCATTER), MOST_SCATTER)
    excess = min(max(math.exp(log_excess), LEAST_EXCESS), MOST_EXCESS)
    return float(center), scatter, share, excess


def _densities(
    widths: Float, errors: Float, center: float, scatter: float, share: float, excess: float
) -> tuple[Float, Float, Float]:
    """Densities of the three kinds at each width, times their shares."""
    sigma = np.sqrt(errors**2 + scatter**2)
    away = widths - center
    normal = np.exp(-0.5 * (away / sigma) ** 2) / (math.sqrt(2 * math.pi) * sigma)
    beyond = sigma / excess - away / sigma
    # for large arguments the tail underflows beside an exponential that overflows
    tail = np.exp(np.minimum(0.5 * (sigma / excess) ** 2 - away / excess, 50.0))
    direct = tail * normal_tail(np.minimum(beyond, 4.0)) / excess
    asymptotic = normal * sigma / (excess * np.maximum(beyond, 4.0))
    wide = np.where(beyond < 4.0, direct, asymptotic)
    odd = np.full_like(widths, ODD_SHARE / ODD_RANGE)
    usual = 1 - ODD_SHARE
    return usual * (1 - share) * normal, usual * share * wide, odd


def _cost(widths: Float, errors: Float, point: Float) -> float:
    center, scatter, share, excess = _natural(point)
    total = sum(_densities(widths, errors, center, scatter, share, excess))
    prior = 0.5 * (scatter / USUAL_SCATTER) ** 2 - math.log(share * (1 - share))
    return prior - float(np.log(np.maximum(total, 1e-300)).sum())


def _descend(widths: Float, errors: Float, point: Float) -> tuple[Float, float]:
    """Search along the axes with steps that shrink where none helps."""
    steps = np.array(FIRST_STEPS)
    cost = _cost(widths, errors, point)
    factor = 1.0
    while factor > LAST_STEP:
        improved = False
        for axis in range(4):
            for sign in (1.0, -1.0):
                trial = point.copy()
                trial[axis] += sign * factor * steps[axis]
                trial_cost = _cost(widths, errors, trial)
                if trial_cost < cost:
                    point, cost, improved = trial, trial_cost, True
                    break
        if not improved:
            factor *= 0.5
    return point, cost

"""The score of a target: the probability that a true target lies within 0.25 px of it.

A logistic regression on what the network and the fit say, whose weights are fitted on simulated
crops that the network has not seen (`dscsnet.tools.export.readout_calibration`).
"""

import math

import numpy as np

from dscsnet.engines.array_types import Float, Mask
from dscsnet.engines.compiled import kernel

#: Distance within which a target must lie to be a hit, px.
HIT_DISTANCE = 0.25
#: Errors have wider tails than a Gaussian, for some crops are misread: degrees of freedom.
TAIL = 4.0
#: Log-odds beyond this tell no more; that of a hit is left free, for it ranks the surest targets.
MOST_LOG_ODDS = 12.0
#: Variance of a position, px squared, and reduced chi-square that are told from no further ones.
LEAST_VARIANCE, MOST_MISFIT = 1e-12, 1e6
#: Its exponential is finite.
MOST_EXPONENT = 700.0


@kernel
def hit_log_odds(sigma_x: Float, sigma_y: Float) -> Float:
    """Log-odds that an error with Student's t tails in the plane is within `HIT_DISTANCE`."""
    result = np.empty(sigma_x.size)
    for i in range(sigma_x.size):
        variance = max((sigma_x[i] ** 2 + sigma_y[i] ** 2) / 2, LEAST_VARIANCE)
        miss = 0.5 * TAIL * math.log1p(HIT_DISTANCE**2 / (TAIL * variance))  # -ln P(miss)
        result[i] = math.log(math.expm1(min(miss, MOST_EXPONENT)))
    return result


@kernel
def log_odds(probability: Float) -> Float:
    """ln p / (1 - p), bounded."""
    least, result = math.exp(-MOST_LOG_ODDS), np.empty(probability.size)
    for i in range(probability.size):
        kept = min(max(probability[i], least), 1 - least)
        result[i] = math.log(kept / (1 - kept))
    return result


@kernel
def features(
    sigma_x: Float,
    sigma_y: Float,
    existence: Float,
    count: Float,
    occupied: Float,
    chi2: Float,
    doubted: Mask,
) -> Float:
    """(m, 7) what the weights multiply, in the order of `ScoreWeights`.

    Args:
        sigma_x, sigma_y: (m,) 1-sigma, px.
        existence, count, occupied: (m,) probabilities.
        chi2: (m,) reduced chi-square of the target's crop.
        doubted: (m,) whether its crop is in doubt.
    """
    result = np.empty((sigma_x.size, 7))
    hit = hit_log_odds(sigma_x, sigma_y)
    exists, counted, some = log_odds(existence), log_odds(count), log_odds(occupied)
    for i in range(sigma_x.size):
        misfit = 1.0 if math.isnan(chi2[i]) else min(max(chi2[i], 1.0), MOST_MISFIT)
        result[i, 0], result[i, 1], result[i, 2] = 1.0, hit[i], exists[i]
        result[i, 3], result[i, 4] = counted[i], some[i]
        result[i, 5], result[i, 6] = math.log(misfit), 1.0 if doubted[i] else 0.0
    return result


@kernel
def score(weights: Float, values: Float) -> Float:
    """(m,) probability from (m, 7) features and the (7,) weights in the order of `ScoreWeights`."""
    result = np.empty(len(values))
    for i in range(len(values)):
        total = 0.0
        for k in range(weights.size):
            total += weights[k] * values[i, k]
        result[i] = 1 / (1 + math.exp(-min(max(total, -MOST_EXPONENT), MOST_EXPONENT)))
    return result


#: Existence from which targets beyond the likeliest number are scored: fainter ones say nothing.
FURTHER_FROM = 0.02

"""The score of a target: the probability that a true target lies within 0.25 px of it.

A logistic regression on what the network and the fit say, whose weights are fitted on simulated
crops that the network has not seen (`dscsnet.tools.export.readout_calibration`).
"""

import math

import numpy as np

from dscsnet.engines.array_types import Float, Mask
from dscsnet.engines.compiled import inner, kernel

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


@inner
def hit_log_odds_of(sigma_x: float, sigma_y: float) -> float:
    """See `hit_log_odds`."""
    variance = max((sigma_x**2 + sigma_y**2) / 2, LEAST_VARIANCE)
    miss = 0.5 * TAIL * math.log1p(HIT_DISTANCE**2 / (TAIL * variance))  # -ln P(miss)
    return math.log(math.expm1(min(miss, MOST_EXPONENT)))


@inner
def log_odds_of(probability: float) -> float:
    """See `log_odds`."""
    least = math.exp(-MOST_LOG_ODDS)
    kept = min(max(probability, least), 1 - least)
    return math.log(kept / (1 - kept))


@inner
def fill_features(
    sigma_x: float,
    sigma_y: float,
    existence: float,
    count: float,
    occupied: float,
    chi2: float,
    doubted: bool,
    out: Float,
) -> None:
    """See `features`; `out` (7,) receives them."""
    misfit = 1.0 if math.isnan(chi2) else min(max(chi2, 1.0), MOST_MISFIT)
    out[0], out[1], out[2] = 1.0, hit_log_odds_of(sigma_x, sigma_y), log_odds_of(existence)
    out[3], out[4] = log_odds_of(count), log_odds_of(occupied)
    out[5], out[6] = math.log(misfit), 1.0 if doubted else 0.0


@inner
def score_of(weights: Float, values: Float) -> float:
    """See `score`."""
    total = 0.0
    for k in range(weights.size):
        total += weights[k] * values[k]
    return 1 / (1 + math.exp(-min(max(total, -MOST_EXPONENT), MOST_EXPONENT)))


@kernel
def hit_log_odds(sigma_x: Float, sigma_y: Float) -> Float:
    """Log-odds that an error with Student's t tails in the plane is within `HIT_DISTANCE`."""
    result = np.empty(sigma_x.size)
    for i in range(sigma_x.size):
        result[i] = hit_log_odds_of(sigma_x[i], sigma_y[i])
    return result


@kernel
def log_odds(probability: Float) -> Float:
    """ln p / (1 - p), bounded."""
    result = np.empty(probability.size)
    for i in range(probability.size):
        result[i] = log_odds_of(probability[i])
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
    out = np.empty((sigma_x.size, 7))
    for i in range(sigma_x.size):
        fill_features(
            *(sigma_x[i], sigma_y[i], existence[i], count[i], occupied[i], chi2[i], doubted[i]),
            out[i],
        )
    return out


@kernel
def score(weights: Float, values: Float) -> Float:
    """(m,) probability from (m, 7) features and the (7,) weights in the order of `ScoreWeights`."""
    result = np.empty(len(values))
    for i in range(len(values)):
        result[i] = score_of(weights, values[i])
    return result


#: Existence from which targets beyond the likeliest number are scored: fainter ones say nothing.
FURTHER_FROM = 0.02

"""The score of a target: the probability that a true target lies within 0.25 px of it.

A logistic regression on what the network and the fit say, whose weights are fitted on simulated
crops that the network has not seen (`dscsnet.tools.export.readout_calibration`).
"""

import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.card import ScoreWeights

#: Distance within which a target must lie to be a hit, px.
HIT_DISTANCE = 0.25
#: Errors have wider tails than a Gaussian, for some crops are misread: degrees of freedom.
TAIL = 4.0
#: Log-odds beyond this tell no more; that of a hit is left free, for it ranks the surest targets.
MOST_LOG_ODDS = 12.0


def hit_log_odds(sigma_x: Float, sigma_y: Float) -> Float:
    """Log-odds that an error with Student's t tails in the plane is within `HIT_DISTANCE`."""
    variance = np.maximum((sigma_x**2 + sigma_y**2) / 2, 1e-12)
    miss = 0.5 * TAIL * np.log1p(HIT_DISTANCE**2 / (TAIL * variance))  # -ln P(miss)
    return np.log(np.expm1(np.minimum(miss, 700.0)))


def log_odds(probability: Float) -> Float:
    """ln p / (1 - p), bounded."""
    least = np.exp(-MOST_LOG_ODDS)
    kept = np.clip(probability, least, 1 - least)
    return np.log(kept / (1 - kept))


def features(
    sigma_x: Float,
    sigma_y: Float,
    existence: Float,
    count: Float,
    occupied: Float,
    chi2: Float,
    doubted: NDArray[np.bool_],
) -> Float:
    """(m, 7) what the weights multiply, in the order of `ScoreWeights`.

    Args:
        sigma_x, sigma_y: (m,) 1-sigma, px.
        existence, count, occupied: (m,) probabilities.
        chi2: (m,) reduced chi-square of the target's crop.
        doubted: (m,) whether its crop is in doubt.
    """
    misfit = np.log(np.clip(np.nan_to_num(chi2, nan=1.0), 1.0, 1e6))
    return np.stack(
        [
            np.ones_like(sigma_x),
            hit_log_odds(sigma_x, sigma_y),
            log_odds(existence),
            log_odds(count),
            log_odds(occupied),
            misfit,
            doubted.astype(float),
        ],
        1,
    )


def score(weights: ScoreWeights, values: Float) -> Float:
    """(m,) probability from (m, 7) features."""
    result: Float = 1 / (1 + np.exp(-np.clip(values @ np.array(astuple(weights)), -700, 700)))
    return result


#: Existence from which targets beyond the likeliest number are scored: fainter ones say nothing.
FURTHER_FROM = 0.02

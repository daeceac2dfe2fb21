"""What a network states of a batch, ready for the fits; compiled.

One call for the batch: frames of a single candidate are common, and a call of NumPy costs as much
as all the arithmetic for one crop.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float, Index, Mask
from dscsnet.engines.compiled import inner, kernel
from dscsnet.engines.readouts.score import log_odds_of

#: ln of a probability of 0.
LEAST_LOG = -700.0
#: Least and greatest ln sigma (px, ln counts) that is believed; no network states any near them.
LEAST_LOG_SIGMA, GREATEST_LOG_SIGMA = -20.0, 5.0

Single = NDArray[np.float32]


class Statement(NamedTuple):
    """What the network says of a batch, slots in falling order of existence.

    Attributes:
        finite: (n,) whether all that the network says of a crop is; else it is taken to have said
            0 everywhere.
        number: (n, K + 2) probability of 0..K targets, and of more.
        log_number: (n, K + 2) its ln.
        existence: (n, K) probability that a slot holds a target.
        existence_odds: (n, K) its log-odds, bounded.
        slots: (6, n, K) x, y, ln counts and their sigmas.
    """

    finite: Mask
    number: Float
    log_number: Float
    existence: Float
    existence_odds: Float
    slots: Float


@kernel
def state_crops(
    count: Single, existence: Single, position: Single, log_intensity: Single, log_sigma: Single
) -> Statement:
    """Probabilities and sorted slots of every crop.

    Args:
        count: (n, K + 2) logits; existence: (n, K) logits; position: (n, K, 2) crop px;
            log_intensity: (n, K) ln counts; log_sigma: (n, K, 3) ln of the sigmas of those.
    """
    number, slots = existence.shape
    result = Statement(
        np.empty(number, np.bool_),
        np.empty((number, slots + 2)),
        np.empty((number, slots + 2)),
        np.empty((number, slots)),
        np.empty((number, slots)),
        np.empty((6, number, slots)),
    )
    order = np.empty(slots, np.int64)
    for crop in range(number):
        finite = (
            _is_finite(count[crop])
            and _is_finite(existence[crop])
            and _are_finite(position[crop])
            and _is_finite(log_intensity[crop])
            and _are_finite(log_sigma[crop])
        )
        result.finite[crop] = finite
        _share(count[crop], finite, result.number[crop], result.log_number[crop])
        _rank(existence[crop], finite, order)
        for k in range(slots):
            of = order[k]
            odds = max(float(existence[crop, of]), LEAST_LOG) if finite else 0.0
            exists = 1 / (1 + math.exp(-odds))
            result.existence[crop, k], result.existence_odds[crop, k] = exists, log_odds_of(exists)
            for a in range(2):
                result.slots[a, crop, k] = position[crop, of, a] if finite else 0.0
            result.slots[2, crop, k] = log_intensity[crop, of] if finite else 0.0
            for a in range(3):
                told = float(log_sigma[crop, of, a]) if finite else 0.0
                result.slots[3 + a, crop, k] = math.exp(
                    min(max(told, LEAST_LOG_SIGMA), GREATEST_LOG_SIGMA)
                )
    return result


@inner
def _is_finite(values: Single) -> bool:
    finite = True
    for i in range(values.size):
        finite = finite and math.isfinite(values[i])
    return finite


@inner
def _are_finite(values: Single) -> bool:
    """The same of a slot in each row."""
    finite = True
    for k in range(len(values)):
        finite = finite and _is_finite(values[k])
    return finite


@inner
def _share(logits: Single, finite: bool, probability: Float, log_probability: Float) -> None:
    """Probabilities from logits, and their ln."""
    greatest, total = -np.inf, 0.0
    for k in range(logits.size):
        greatest = max(greatest, float(logits[k]))
    for k in range(logits.size):
        probability[k] = math.exp(float(logits[k]) - greatest) if finite else 1.0
        total += probability[k]
    for k in range(logits.size):
        probability[k] /= total
        log_probability[k] = math.log(max(probability[k], math.exp(LEAST_LOG)))


@inner
def _rank(existence: Single, finite: bool, order: Index) -> None:
    """Slots in falling order; equal ones, and those of which nothing is known, stay as they are."""
    for k in range(existence.size):
        place = k
        while finite and place > 0 and existence[order[place - 1]] < existence[k]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = k

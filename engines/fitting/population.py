"""What the spots of a frame say of each other: how many targets a spot has there; compiled.

A number of targets that fits one spot well is likelier where it fits others, too. The share of each
number among a frame's spots is estimated by expectation maximisation, from a start that is the
share in the crops that the selection learnt from, and a pull towards it that so many spots
outweigh.
"""

import math
from typing import NamedTuple

import numpy as np

from dscsnet.engines.array_types import Float, Index, Mask
from dscsnet.engines.compiled import inner, kernel

#: Share of crops with more targets than slots among those that a selection learns from.
MORE = 0.05
#: Spots that the pull towards the learnt shares is worth.
PULL = 100.0
#: Rounds, and the least change of a share that is worth another.
MOST_ROUNDS, LEAST_CHANGE = 40, 1e-3


@kernel
def population_shift(probability: Float, frame: Index) -> Float:
    """By how much the frame's other spots change each number's ln probability.

    Args:
        probability: (n, slots + 2) of 0, 1, ... targets in a spot, and of more; spots that are
            likelier empty than not, or of which nothing is known (NaN), count for nothing.
        frame: (n,) number of the frame that each spot is in; those of one frame lie together.

    Returns:
        (n, slots + 2), of which the first is 0.
    """
    number, classes = probability.shape
    shift = np.zeros((number, classes))
    if classes < 3:
        return shift
    learnt = np.full(classes, (1.0 - MORE) / (classes - 2))
    learnt[0], learnt[classes - 1] = 0.0, MORE
    first = 0
    for last in range(1, number + 1):
        if last < number and frame[last] == frame[first]:
            continue
        share = _shares(probability[first:last], learnt)
        for i in range(first, last):
            for k in range(1, classes):
                shift[i, k] = math.log(share[k] / learnt[k])
        first = last
    return shift


class Weighed(NamedTuple):
    """What becomes of the numbers' probabilities.

    Attributes:
        probability: (n, slots + 2) weighed by the frame's other spots.
        shift: (n, slots + 2) see `population_shift`.
        changed: (n,) whether another number of targets is now the likeliest.
    """

    probability: Float
    shift: Float
    changed: Mask


@kernel
def weigh_by_frame(probability: Float, frame: Index) -> Weighed:
    """Multiply each number's odds by what the frame's other spots say of it.

    Args:
        probability, frame: see `population_shift`. What is not finite stays as it is.
    """
    shift, weighed = population_shift(probability, frame), probability.copy()
    changed = np.zeros(len(probability), np.bool_)
    for i in range(len(probability)):
        known = probability[i]
        _multiply(known, shift[i], weighed[i])
        changed[i] = _likeliest(weighed[i]) != _likeliest(known)
    return Weighed(weighed, shift, changed)


@inner
def _multiply(known: Float, shift: Float, out: Float) -> None:
    """Weighed probabilities, of any targets as before; as they were where that has no sum."""
    total = 0.0
    for k in range(1, known.size):
        out[k] = known[k] * math.exp(shift[k])
        total += out[k]
    for k in range(1, known.size):
        value = out[k] * ((1.0 - known[0]) / total)
        out[k] = value if math.isfinite(value) else known[k]


@inner
def _likeliest(probability: Float) -> int:
    """The likeliest number of targets, but for none and more than slots; NaN is none of them."""
    best, greatest = 1, 0.0
    for k in range(1, probability.size - 1):
        if probability[k] > greatest:
            best, greatest = k, probability[k]
    return best


@kernel
def _shares(probability: Float, learnt: Float) -> Float:
    """(slots + 2,) share of each number of targets among spots that have any."""
    classes = learnt.size
    share, summed, weighed = learnt.copy(), np.empty(classes), np.empty(classes)
    for _ in range(MOST_ROUNDS):
        spots = 0.0
        for k in range(classes):
            summed[k] = PULL * learnt[k]
        for i in range(len(probability)):
            # Written so that NaN does not count.
            if not probability[i, 0] < 0.5:
                continue
            total = 0.0
            for k in range(1, classes):
                weighed[k] = probability[i, k] * share[k] / learnt[k]
                total += weighed[k]
            if total > 0.0:
                spots += 1.0
                for k in range(1, classes):
                    summed[k] += weighed[k] / total
        change = 0.0
        for k in range(1, classes):
            new = summed[k] / (spots + PULL)
            change = max(change, abs(new - share[k]))
            share[k] = new
        if change < LEAST_CHANGE:
            break
    return share

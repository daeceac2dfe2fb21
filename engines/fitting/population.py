"""What the spots of a frame say of each other: how many targets a spot has there; compiled.

A number of targets that fits one spot well is likelier where it fits others, too. The share of each
number among a frame's spots is estimated by expectation maximisation, from a start that is the
share in the crops that the selection learnt from, and a pull towards it that so many spots
outweigh.
"""

import math

import numpy as np

from dscsnet.engines.array_types import Float, Index
from dscsnet.engines.compiled import kernel

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

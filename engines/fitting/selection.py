"""How many targets there are, judged from the fits of several numbers; compiled.

What two close targets leave of a crop, and what a wrong PSF, a hot pixel or clutter leave, differ
in more than size, so no penalty on chi-square tells them apart. A small perceptron, trained on
simulated crops after the network before it (`tools.export.selection_training`), sees all fits at
once.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import as_kernel_takes, inner, inner_sum
from dscsnet.engines.fitting.counts import Search, freedom
from dscsnet.engines.fitting.workspace import LEVEL, SHARED, WIDTH, Workspace

#: Features of a number that was fitted (all 0 for one that was not), and of the crop as a whole.
EVIDENCE, CROP = 10, 5
#: Bounds of log-odds and ln probabilities, and of any feature.
LEAST_LOG, BOUND = -12.0, 30.0
#: Weights beyond this could make a probability of nothing but infinities.
LARGEST_WEIGHT = 1e6
#: ln separation (px) that stands for that of a target alone.
ALONE = 1.5


class Selection(NamedTuple):
    """A perceptron with two hidden layers; empty arrays: there is none.

    Attributes:
        enter: (hidden, features) weights of the first layer, and its (hidden,) bias.
        middle: (hidden, hidden) of the second, likewise.
        leave: (slots + 1, hidden) of the last, whose outputs are 1, 2, ... targets and more.
    """

    enter: Float
    enter_bias: Float
    middle: Float
    middle_bias: Float
    leave: Float
    leave_bias: Float

    @property
    def slots(self) -> int:
        """Of the network before it; -1: there is no selection."""
        return len(self.leave_bias) - 1


#: The fits' objectives decide.
NO_SELECTION = Selection(*(np.zeros((0, 0)), np.zeros(0)) * 3)


def feature_number(slots: int) -> int:
    """Features of a crop, for a network of so many slots."""
    return slots * EVIDENCE + (slots + 2) + slots + CROP


def selection_of(arrays: Mapping[str, NDArray[np.generic]]) -> Selection:
    """From arrays by the names of the attributes.

    Raises:
        ValueError: shapes that do not belong together, or values that no weight has.
    """
    bias, slots = arrays["enter_bias"], arrays["leave_bias"].size - 1
    hidden, features = bias.size, feature_number(slots)
    shapes = [(hidden, features), (hidden,), (hidden, hidden), (hidden,)]
    shapes += [(slots + 1, hidden), (slots + 1,)]
    for name, shape in zip(Selection._fields, shapes, strict=True):
        if arrays[name].shape != shape or slots < 1:
            raise ValueError(f"{name}: expected shape {shape}, got {arrays[name].shape}")
        if arrays[name].dtype.kind != "f":
            raise ValueError(f"{name}: expected floating-point numbers, got {arrays[name].dtype}")
        if not (np.abs(arrays[name]) <= LARGEST_WEIGHT).all():
            raise ValueError(f"{name}: not finite, or beyond {LARGEST_WEIGHT:g}")
    return Selection(*(as_kernel_takes(arrays[name], np.float64) for name in Selection._fields))


@inner
def fill_features(
    space: Workspace, search: Search, tried: int, existence: Float, out: Float
) -> None:
    """What a selection sees of one crop whose likeliest numbers were fitted.

    Args:
        existence: (slots,) log-odds that each slot holds a target.
        out: (features,)
    """
    slots, first = search.slots.shape[1], search.candidates[0]
    least = search.misfit[first]
    for place in range(tried):
        k = search.candidates[place]
        if math.isfinite(search.objective[k]):
            least = min(least, search.misfit[k])
    for place in range(tried):
        k = search.candidates[place]
        if k > 0 and math.isfinite(search.objective[k]):
            _fill_evidence(space, search, k, least, out[(k - 1) * EVIDENCE : k * EVIDENCE])
    at = slots * EVIDENCE
    for k in range(slots + 2):
        out[at + k] = math.log(search.probability[k] + math.exp(LEAST_LOG))
    at += slots + 2
    for k in range(slots):
        out[at + k] = min(max(existence[k], LEAST_LOG), -LEAST_LOG)
    at += slots
    free = max(freedom(space, first), 1)
    out[at] = math.log(search.misfit[first] / free + 1e-3)
    out[at + 1] = math.log(least / free + 1e-3)
    out[at + 2], out[at + 3] = space.psf[0], space.psf[1]
    out[at + 4] = 0.01 * space.window[0]
    for a in range(out.size):
        out[a] = min(max(out[a], -BOUND), BOUND) if math.isfinite(out[a]) else 0.0


@inner
def _fill_evidence(
    space: Workspace, search: Search, targets: int, least: float, out: Float
) -> None:
    """Of one number: misfit over the least, pull on the priors, shape of the cluster."""
    values, moved, brightened = search.best[targets], 0.0, 0.0
    apart, dimmest, brightest = np.inf, np.inf, -np.inf
    for k in range(targets):
        place = SHARED + 3 * k
        for a in range(place, place + 3):
            offset = values[a] - space.mean[a]
            pull = space.precision[a] * offset * offset
            if a < place + 2:
                moved += pull
            else:
                brightened += pull
        dimmest, brightest = min(dimmest, values[place + 2]), max(brightest, values[place + 2])
        for other in range(SHARED, place, 3):
            across, along = values[place] - values[other], values[place + 1] - values[other + 1]
            apart = min(apart, math.hypot(across, along))
    out[0] = 1.0
    out[1] = math.log1p(search.misfit[targets] - least)
    out[2] = math.log1p(moved)
    out[3] = math.log1p(brightened)
    out[4] = 10.0 * values[WIDTH]
    out[5] = math.log(apart + 1e-3) if targets > 1 else ALONE
    out[6] = dimmest
    out[7] = brightest
    out[8] = search.occam[targets]
    out[9] = math.asinh(values[LEVEL])


@inner_sum
def _product(weights: Float, values: Float) -> float:
    total = 0.0
    for a in range(values.size):
        total += weights[a] * values[a]
    return total


@inner
def _layer(weights: Float, bias: Float, values: Float, out: Float) -> None:
    for a in range(bias.size):
        out[a] = _product(weights[a], values) + bias[a]


@inner
def _rectify(values: Float) -> None:
    for a in range(values.size):
        values[a] = max(values[a], 0.0)


@inner
def judge(
    selection: Selection, features: Float, log_prior: Float, hidden: Float, probability: Float
) -> None:
    """Share the probability of any targets anew among the numbers.

    Args:
        log_prior: (slots + 2,) added to ln of the numbers' probabilities.
        hidden: (2, hidden) memory.
        probability: (slots + 2,) of 0, 1, ... targets and of more, as the network states them.
    """
    _layer(selection.enter, selection.enter_bias, features, hidden[0])
    _rectify(hidden[0])
    _layer(selection.middle, selection.middle_bias, hidden[0], hidden[1])
    _rectify(hidden[1])
    some, numbers = 1.0 - probability[0], probability[1:]
    _layer(selection.leave, selection.leave_bias, hidden[1], numbers)
    greatest, total = -np.inf, 0.0
    for k in range(numbers.size):
        numbers[k] += log_prior[k + 1]
        greatest = max(greatest, numbers[k])
    for k in range(numbers.size):
        numbers[k] = math.exp(numbers[k] - greatest)
        total += numbers[k]
    for k in range(numbers.size):
        numbers[k] *= some / total


@inner
def likeliest(search: Search, tried: int, probability: Float) -> int:
    """The likeliest of the numbers that were fitted."""
    best = search.candidates[0]
    for place in range(1, tried):
        k = search.candidates[place]
        if math.isfinite(search.objective[k]) and probability[k] > probability[best]:
            best = k
    return best

"""From fits and what the network stated to targets with scores; compiled, one call a batch."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float, Index, Mask
from dscsnet.engines.compiled import inner, kernel
from dscsnet.engines.estimates import Doubt
from dscsnet.engines.readouts.score import fill_features, score_of
from dscsnet.engines.readouts.stated import Statement

#: Rows of a table of targets: as published, then what sigmas and scores were made from.
X, Y, INTENSITY, SCORE, SIGMA_X, SIGMA_Y, SIGMA_INTENSITY = range(7)
FITTED, OWN, FEATURES, ROWS = 7, 9, 11, 18
#: ln of the greatest intensity, counts.
GREATEST_LOG_INTENSITY = 80.0
_MISFIT, _PSF, _CROWDED, _NO_RESULT = (
    int(doubt) for doubt in (Doubt.MISFIT, Doubt.PSF, Doubt.CROWDED, Doubt.NO_RESULT)
)


class ReadoutOptions(NamedTuple):
    """`GridlessReadout` for compiled code; an infinite least existence: no further targets."""

    least_occupied: float
    least_doubted: float
    least_existence: float
    sigma_scale: float
    sigma_network: float
    sigma_floor: float
    intensity_sigma_scale: float
    max_chi2: float
    max_crowded: float
    max_width_error: float
    weights: Float  # (7,)
    further_weights: Float


class Fits(NamedTuple):
    """Columns of `Refined` that targets are made from; `targets` is its `count`."""

    targets: Index
    x: Float
    y: Float
    log_intensity: Float
    sigma_x: Float
    sigma_y: Float
    sigma_log_intensity: Float
    chi2: Float
    psf_factor: Float
    sigma_psf_factor: Float
    probability: Float
    alone: Mask


class Targets(NamedTuple):
    """What `Estimates` and `Details` are made of.

    Attributes:
        crop: (m,) ascending; likely, alone: (m,).
        table: (18, m) a row for each column of a target.
        doubt: (n,) bits of `Doubt`.
        occupied: (n,) NaN where the network gave nothing.
        probability: (n, K + 2) of each number of targets; likewise.
    """

    crop: Index
    likely: Mask
    alone: Mask
    table: Float
    doubt: NDArray[np.uint8]
    occupied: Float
    probability: Float


@kernel
def read_targets(stated: Statement, fits: Fits, options: ReadoutOptions) -> Targets:
    """The targets of each crop, the likely ones first, then by falling score."""
    (number, classes) = fits.probability.shape
    occupied, doubt = np.empty(number), np.empty(number, np.uint8)
    count, probability = np.empty(number, np.int64), np.empty((number, classes))
    for crop in range(number):
        _judge(stated, fits, options, crop, occupied, doubt, count)
        for k in range(classes):
            known = fits.probability[crop, k]
            probability[crop, k] = known if stated.finite[crop] else np.nan
    total = _number_given(stated, options, count)
    crops, slot = np.empty(total, np.int64), np.empty(total, np.int64)
    order = np.empty(total, np.int64)
    _list(stated, options, count, crops, slot)
    given, table = np.empty((total, ROWS)), np.empty((ROWS, total))
    likely, alone = np.empty(total, np.bool_), np.empty(total, np.bool_)
    for i in range(total):
        crop, k = crops[i], slot[i]
        first = k < count[crop]
        _fill(stated, fits, options, crop, k, first, given[i])
        _score(stated, fits, options, crop, k, first, doubt[crop] > 0, given[i])
    _rank(crops, slot, count, given, order)
    for i in range(total):
        crop, of = crops[i], order[i]
        likely[i] = slot[of] < count[crop]
        alone[i] = likely[i] and fits.alone[crop]
        for row in range(ROWS):
            table[row, i] = given[of, row]
    return Targets(crops, likely, alone, table, doubt, occupied, probability)


@inner
def _judge(
    stated: Statement,
    fits: Fits,
    options: ReadoutOptions,
    crop: int,
    occupied: Float,
    doubt: NDArray[np.uint8],
    count: Index,
) -> None:
    """Whether a crop is in doubt, and the number of its likely targets.

    Clutter that looks like targets rarely fits: where there is doubt, more evidence is asked for.
    """
    some = 1 - stated.number[crop, 0] if stated.finite[crop] else np.nan
    occupied[crop] = some
    count[crop] = fits.targets[crop] if some >= options.least_occupied else 0
    doubt[crop] = _doubt(fits, options, crop, count[crop] > 0, stated.finite[crop])
    if doubt[crop] and some < options.least_doubted:
        count[crop] = 0


@inner
def _doubt(fits: Fits, options: ReadoutOptions, crop: int, some: bool, finite: bool) -> int:
    """Bits of `Doubt`.

    A crop without targets, too, is not explained where there is more than background in it.
    """
    doubt = 0 if finite else _NO_RESULT
    if finite and fits.chi2[crop] > options.max_chi2:
        doubt |= _MISFIT
    factor = fits.psf_factor[crop]
    limit = options.max_width_error + 2 * fits.sigma_psf_factor[crop] / factor
    if some and abs(math.log(factor)) > limit:
        doubt |= _PSF
    if fits.probability[crop, -1] > options.max_crowded:
        doubt |= _CROWDED
    return doubt


@inner
def _is_given(stated: Statement, options: ReadoutOptions, count: Index, crop: int, k: int) -> bool:
    """Whether a slot is a target, of the likely ones or further."""
    further = stated.existence[crop, k] >= options.least_existence
    return k < count[crop] or (further and stated.finite[crop])


@inner
def _number_given(stated: Statement, options: ReadoutOptions, count: Index) -> int:
    total = 0
    for crop in range(count.size):
        for k in range(stated.existence.shape[1]):
            total += _is_given(stated, options, count, crop, k)
    return total


@inner
def _list(
    stated: Statement, options: ReadoutOptions, count: Index, crops: Index, slot: Index
) -> None:
    """Crop and slot of each target."""
    place = 0
    for crop in range(count.size):
        for k in range(stated.existence.shape[1]):
            if _is_given(stated, options, count, crop, k):
                crops[place], slot[place] = crop, k
                place += 1


@inner
def _fill(
    stated: Statement,
    fits: Fits,
    options: ReadoutOptions,
    crop: int,
    k: int,
    likely: bool,
    out: Float,
) -> None:
    """One target's row, but for score and features.

    The calibration is that of the blend; a fit alone states its own errors.
    """
    alone = likely and fits.alone[crop]
    out[X], out[Y] = fits.x[crop, k], fits.y[crop, k]
    intensity = math.exp(min(fits.log_intensity[crop, k], GREATEST_LOG_INTENSITY))
    scale = 1.0 if alone else options.intensity_sigma_scale
    out[INTENSITY] = intensity
    out[SIGMA_INTENSITY] = intensity * scale * fits.sigma_log_intensity[crop, k]
    out[FITTED], out[FITTED + 1] = fits.sigma_x[crop, k], fits.sigma_y[crop, k]
    out[OWN], out[OWN + 1] = stated.slots[3, crop, k], stated.slots[4, crop, k]
    for a in range(2):
        fitted, own = out[FITTED + a], out[OWN + a]
        scales = options.sigma_scale, options.sigma_network, options.sigma_floor
        out[SIGMA_X + a] = fitted if alone else blended_sigma(fitted, own, *scales)


@inner
def blended_sigma(fitted: float, own: float, scale: float, share: float, floor: float) -> float:
    """Calibrated sigma, px: where a fit sharpens the network's answer much, it errs more often."""
    return math.sqrt((scale * fitted) ** 2 + (share * own) ** 2 + floor**2)


@inner
def _score(
    stated: Statement,
    fits: Fits,
    options: ReadoutOptions,
    crop: int,
    k: int,
    likely: bool,
    doubted: bool,
    out: Float,
) -> None:
    """A target's features and score, from its sigmas and how probable slot and number are."""
    exists, some = stated.existence[crop, k], 1 - stated.number[crop, 0]
    count, chi2, values = _count_probability(fits, crop, k, likely), fits.chi2[crop], out[FEATURES:]
    fill_features(out[SIGMA_X], out[SIGMA_Y], exists, count, some, chi2, doubted, values)
    out[SCORE] = score_of(options.weights if likely else options.further_weights, values)


@inner
def _count_probability(fits: Fits, crop: int, k: int, likely: bool) -> float:
    """Of the number that was chosen, or for a further target of as many as it makes, or more."""
    if likely:
        return fits.probability[crop, fits.targets[crop]]
    at_least = 0.0
    for number in range(fits.probability.shape[1] - 1, k, -1):
        at_least += fits.probability[crop, number]
    return at_least


@inner
def _rank(crops: Index, slot: Index, count: Index, given: Float, order: Index) -> None:
    """Order of the targets: crop by crop, in each the likely ones first, then by falling score."""
    for i in range(order.size):
        place = i
        while place > 0 and crops[order[place - 1]] == crops[i]:
            other, likely = order[place - 1], slot[i] < count[crops[i]]
            same = (slot[other] < count[crops[i]]) == likely
            if not (given[i, SCORE] > given[other, SCORE] if same else likely):
                break
            order[place] = other
            place -= 1
        order[place] = i

"""From fits and what the network stated to targets with scores; compiled, one call a batch."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float, Index, Mask
from dscsnet.engines.compiled import inner, kernel
from dscsnet.engines.estimates import Doubt
from dscsnet.engines.readouts.score import features, score
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
    number = stated.finite.size
    occupied, doubt = np.empty(number), np.empty(number, np.uint8)
    count, probability = np.empty(number, np.int64), fits.probability.copy()
    for crop in range(number):
        _judge(stated, fits, options, crop, occupied, doubt, count)
        if not stated.finite[crop]:
            probability[crop] = np.nan
    total = _number_given(stated, options, count)
    crops, slot = np.empty(total, np.int64), np.empty(total, np.int64)
    _list(stated, options, count, crops, slot)
    likely = slot < count[crops]
    alone = likely & fits.alone[crops]
    table, evidence = np.empty((ROWS, total)), np.empty((3, total))
    for i in range(total):
        _fill(stated, fits, options, crops[i], slot[i], alone[i], table[:, i])
        _weigh(stated, fits, crops[i], slot[i], likely[i], evidence[:, i])
    exists, counted, chi2 = evidence
    sigma_x, sigma_y = table[SIGMA_X], table[SIGMA_Y]
    values = features(sigma_x, sigma_y, exists, counted, occupied[crops], chi2, doubt[crops] != 0)
    table[FEATURES:] = values.T
    table[SCORE] = np.where(
        likely, score(options.weights, values), score(options.further_weights, values)
    )
    order = np.empty(total, np.int64)
    _rank(crops, likely, table[SCORE], order)
    return Targets(
        crops, likely[order], alone[order], table[:, order], doubt, occupied, probability
    )


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
    alone: bool,
    out: Float,
) -> None:
    """One target's column of the table, but for score and features.

    The calibration is that of the blend; a fit alone states its own errors.
    """
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
def _weigh(stated: Statement, fits: Fits, crop: int, k: int, likely: bool, out: Float) -> None:
    """(3,) probabilities that the slot and the number of targets are right, and chi-square."""
    out[0], out[2] = stated.existence[crop, k], fits.chi2[crop]
    if likely:
        out[1] = fits.probability[crop, fits.targets[crop]]
        return
    at_least = 0.0
    for number in range(fits.probability.shape[1] - 1, k, -1):
        at_least += fits.probability[crop, number]
    out[1] = at_least


@inner
def _rank(crops: Index, likely: Mask, scores: Float, order: Index) -> None:
    """Order of the targets: crop by crop, in each the likely ones first, then by falling score."""
    for i in range(order.size):
        place = i
        while place > 0 and crops[order[place - 1]] == crops[i]:
            other = order[place - 1]
            same = likely[other] == likely[i]
            if not (scores[i] > scores[other] if same else likely[i]):
                break
            order[place] = other
            place -= 1
        order[place] = i

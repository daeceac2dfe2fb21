"""Targets off the grid, from the distribution that a network states and a fit to the pixels."""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float, Mask
from dscsnet.engines.card import GridlessReadout
from dscsnet.engines.engine import CropBatch, Outputs, finite_crops
from dscsnet.engines.estimates import Doubt, Estimates
from dscsnet.engines.fitting import NO_SELECTION, Refined, RefineSettings, Selection, Slots, refine
from dscsnet.engines.readouts.score import features, log_odds, score

#: ln of a probability of 0.
LEAST_LOG = -700.0
#: Least and greatest ln sigma (px, ln counts) that is believed; no network states any near them.
LOG_SIGMA = (-20.0, 5.0)


@dataclass(frozen=True)
class Stated:
    """What the network says of a batch, slots in falling order of existence.

    Attributes:
        count: (n, K + 2) probability of 0..K targets, and of more.
        existence: (n, K) probability that a slot holds a target.
        slots: their Gaussian posteriors.
    """

    count: Float
    existence: Float
    slots: Slots


def read_gridless(
    readout: GridlessReadout,
    outputs: Outputs,
    batch: CropBatch,
    selection: Selection = NO_SELECTION,
) -> Estimates:
    """Targets of a batch.

    The network's posterior is the prior of fits to the pixels, of the likeliest numbers of targets,
    among which the selection chooses (`engines.fitting.refinement`).

    Args:
        outputs: of an off-grid network, by the names of `Distribution`.
        selection: of the same model, where it has one.

    Returns:
        Targets with sigmas of position and intensity. The score is the probability that a true
        target lies within 0.25 px. A crop in doubt keeps its targets, with lowered scores; its
        `doubt` says why. One whose network output is not finite has none. Where the readout asks
        for further targets, slots beyond the likeliest number are given as the network states them.
    """
    return read_with_details(readout, outputs, batch, selection)[0]


@dataclass(frozen=True)
class Details:
    """What sigmas and scores were made from.

    Attributes:
        features: (m, 7) see `dscsnet.engines.readouts.score`.
        refined_sigma, network_sigma: (m, 2) of x and y, as the fit and the network state them, px.
        alone: (m,) whether the fit's stand for themselves, without calibration.
    """

    features: Float
    refined_sigma: Float
    network_sigma: Float
    alone: Mask


def read_with_details(
    readout: GridlessReadout,
    outputs: Outputs,
    batch: CropBatch,
    selection: Selection = NO_SELECTION,
) -> tuple[Estimates, Details]:
    """`read_gridless`, and what the targets' sigmas and scores were made from."""
    finite = finite_crops(outputs)
    stated = state(outputs, finite)
    refined = _refined(readout.refine, stated, batch, selection)
    occupied = np.where(finite, 1 - stated.count[:, 0], np.nan)
    count = np.where(finite & (occupied >= readout.least_occupied), refined.count, 0)
    doubt = _doubts(readout, replace(refined, count=count), finite)
    # Clutter that looks like targets rarely fits: where there is doubt, more evidence is asked for.
    count = np.where((doubt > 0) & (occupied < readout.least_doubted), 0, count)
    return _estimates(readout, refined, stated, count, doubt, occupied)


def selection_features(readout: GridlessReadout, outputs: Outputs, batch: CropBatch) -> Float:
    """(n, features) what a selection judges by; all 0 where the network sees no targets."""
    assert readout.refine is not None, "without fits there is nothing to judge"
    stated = state(outputs, finite_crops(outputs))
    return _fitted(readout.refine, stated, batch, log_odds(stated.existence)).features


def _fitted(
    settings: RefineSettings,
    stated: Stated,
    batch: CropBatch,
    existence: Float | None = None,
    selection: Selection = NO_SELECTION,
) -> Refined:
    log_count = np.log(np.maximum(stated.count, np.exp(LEAST_LOG)))
    crops = (batch.pixels, batch.usable, batch.noise, batch.psf)
    sensor = batch.sensor
    return refine(
        *crops,
        stated.slots,
        log_count,
        settings,
        existence,
        selection,
        table=sensor.table,
        noise_model=sensor.noise_model,
        log_prior=batch.log_prior,
    )


def _refined(
    settings: RefineSettings | None, stated: Stated, batch: CropBatch, selection: Selection
) -> Refined:
    """The fit's answer, or the network's own with the chi-square of a fit of no step."""
    if settings is not None:
        # Without a selection there is none to look at the evidence, which takes time.
        existence = None if selection is NO_SELECTION else log_odds(stated.existence)
        return _fitted(settings, stated, batch, existence, selection)
    fitted = _fitted(RefineSettings(steps=1, alternatives=1), stated, batch)
    columns = {f.name: getattr(stated.slots, f.name) for f in fields(Slots)}
    unknown = np.full(len(fitted.chi2), np.nan)
    return replace(fitted, psf_factor=unknown, sigma_psf_factor=unknown, **columns)


def state(outputs: Outputs, finite: NDArray[np.bool_]) -> Stated:
    """Probabilities and sorted slots; what is not finite is replaced by "nothing there"."""
    given = {
        name: np.where(finite.reshape(-1, *[1] * (a.ndim - 1)), a, 0).astype(float)
        for name, a in outputs.items()
    }
    logits = given["count"] - given["count"].max(1, keepdims=True)
    probability = np.exp(logits)
    probability /= probability.sum(1, keepdims=True)
    order = np.argsort(-given["existence"], axis=1, kind="stable")
    existence, log_intensity = given["existence"][..., None], given["log_intensity"][..., None]
    # All columns at once: single crops come often, and each call of NumPy costs the same for them.
    slots = np.concatenate(
        [existence, given["position"], log_intensity, given["log_sigma"]], axis=2
    )[np.arange(len(order))[:, None], order]
    sigma = np.exp(np.clip(slots[..., 4:], *LOG_SIGMA))
    return Stated(
        probability,
        1 / (1 + np.exp(-np.clip(slots[..., 0], LEAST_LOG, None))),
        Slots(*np.moveaxis(slots[..., 1:4], 2, 0), *np.moveaxis(sigma, 2, 0)),
    )


def _doubts(
    readout: GridlessReadout, refined: Refined, finite: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """(n,) bits of `Doubt`.

    A crop without targets, too, is not explained where there is more than background in it.
    """
    some = refined.count > 0
    width = np.log(refined.psf_factor)
    limit = readout.max_width_error + 2 * refined.sigma_psf_factor / refined.psf_factor
    doubt = (
        np.where(finite & (refined.chi2 > readout.max_chi2), Doubt.MISFIT, 0)
        | np.where(some & (np.abs(width) > limit), Doubt.PSF, 0)
        | np.where(refined.probability[:, -1] > readout.max_crowded, Doubt.CROWDED, 0)
        | np.where(finite, 0, Doubt.NO_RESULT)
    )
    return doubt.astype(np.uint8)


def _estimates(
    readout: GridlessReadout,
    refined: Refined,
    stated: Stated,
    count: NDArray[np.int64],
    doubt: NDArray[np.uint8],
    occupied: Float,
) -> tuple[Estimates, Details]:
    likely = np.arange(stated.existence.shape[1]) < count[:, None]
    crop, slot = np.nonzero(likely | _further(readout, stated, doubt))
    first = likely[crop, slot]
    fitted = np.stack([refined.sigma_x[crop, slot], refined.sigma_y[crop, slot]], 1)
    own = np.stack([stated.slots.sigma_x[crop, slot], stated.slots.sigma_y[crop, slot]], 1)
    alone = refined.alone[crop] & first
    calibrated = blend_sigmas(readout, fitted, own)
    # The calibration is that of the blend; a fit alone states its own errors.
    sigma_x, sigma_y = np.where(alone[:, None], fitted, calibrated).T
    values = features(
        sigma_x,
        sigma_y,
        stated.existence[crop, slot],
        np.where(first, _chosen(refined)[crop], _at_least(refined)[crop, slot]),
        occupied[crop],
        refined.chi2[crop],
        doubt[crop] > 0,
    )
    scores = score(readout.score_weights, values)
    if readout.further_weights is not None:
        scores = np.where(first, scores, score(readout.further_weights, values))
    order = np.lexsort((-scores, ~first, crop))
    crop, slot = crop[order], slot[order]
    intensity = np.exp(np.minimum(refined.log_intensity[crop, slot], 80.0))
    estimates = Estimates(
        crop=crop.astype(np.int64),
        x=refined.x[crop, slot],
        y=refined.y[crop, slot],
        intensity=intensity,
        likely=first[order],
        score=scores[order],
        sigma_x=sigma_x[order],
        sigma_y=sigma_y[order],
        sigma_intensity=intensity
        * np.where(alone, 1.0, readout.intensity_sigma_scale)[order]
        * refined.sigma_log_intensity[crop, slot],
        chi2=refined.chi2,
        doubt=doubt,
        psf_scale=refined.psf_factor,
        occupied=occupied,
        probability=_probability(refined, occupied),
    )
    return estimates, Details(values[order], fitted[order], own[order], alone[order])


def _probability(refined: Refined, occupied: Float) -> Float:
    """(n, K + 2) of each number of targets; NaN where the network gave nothing."""
    known = np.isfinite(occupied)[:, None]
    return np.where(known, refined.probability, np.nan)


def _further(readout: GridlessReadout, stated: Stated, doubt: NDArray[np.uint8]) -> Mask:
    """(n, K) slots to give although they are none of the likeliest number."""
    if readout.least_existence is None:
        return np.zeros_like(stated.existence, bool)
    result: Mask = stated.existence >= readout.least_existence
    return result & ((doubt & Doubt.NO_RESULT) == 0)[:, None]


def _chosen(refined: Refined) -> Float:
    """(n,) probability of the number of targets that was chosen."""
    return np.take_along_axis(refined.probability, refined.count[:, None], 1)[:, 0]


def _at_least(refined: Refined) -> Float:
    """(n, K) probability of k + 1 targets or more."""
    return refined.probability[:, :0:-1].cumsum(1)[:, ::-1]


def blend_sigmas(readout: GridlessReadout, refined: Float, network: Float) -> Float:
    """Calibrated sigmas: where the fit sharpens the network's answer much, it errs more often."""
    result: Float = np.sqrt(
        (readout.sigma_scale * refined) ** 2
        + (readout.sigma_network * network) ** 2
        + readout.sigma_floor**2
    )
    return result

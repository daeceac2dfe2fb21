"""Targets off the grid, from the distribution that a network states and a fit to the pixels."""

import functools
import math
from dataclasses import dataclass, fields, replace

import numpy as np
from msgspec.structs import astuple

from dscsnet.engines.array_types import Float, Mask
from dscsnet.engines.card import OUTPUTS, GridlessReadout
from dscsnet.engines.compiled import as_kernel_takes
from dscsnet.engines.engine import CropBatch, Outputs
from dscsnet.engines.estimates import Estimates
from dscsnet.engines.fitting import NO_SELECTION, Refined, RefineSettings, Selection, Slots
from dscsnet.engines.fitting.refinement import refine_slots
from dscsnet.engines.readouts.stated import Statement, state_crops
from dscsnet.engines.readouts.targets import (
    FEATURES,
    FITTED,
    OWN,
    Fits,
    ReadoutOptions,
    read_targets,
)

#: Outputs of a network, in the order in which `state_crops` takes them.
STATED = OUTPUTS[GridlessReadout]


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
    stated = state(outputs)
    return targets_of(readout, stated, _refined(readout.refine, stated, batch, selection))


def selection_features(readout: GridlessReadout, outputs: Outputs, batch: CropBatch) -> Float:
    """(n, features) what a selection judges by; all 0 where the network sees no targets."""
    assert readout.refine is not None, "without fits there is nothing to judge"
    stated = state(outputs)
    return _fitted(readout.refine, stated, batch, stated.existence_odds).features


def state(outputs: Outputs) -> Statement:
    """Probabilities and sorted slots; what is not finite is replaced by "nothing there"."""
    return state_crops(*(as_kernel_takes(outputs[name], np.float32) for name in STATED))


def _fitted(
    settings: RefineSettings,
    stated: Statement,
    batch: CropBatch,
    existence: Float | None = None,
    selection: Selection = NO_SELECTION,
) -> Refined:
    return refine_slots(
        batch.pixels,
        batch.usable,
        batch.noise,
        batch.psf,
        stated.slots,
        stated.log_number,
        settings,
        existence,
        selection,
        table=batch.sensor.table,
        noise_model=batch.sensor.noise_model,
        log_prior=batch.log_prior,
    )


def _refined(
    settings: RefineSettings | None, stated: Statement, batch: CropBatch, selection: Selection
) -> Refined:
    """The fit's answer, or the network's own with the chi-square of a fit of no step."""
    if settings is not None:
        # Without a selection there is none to look at the evidence, which takes time.
        existence = None if selection is NO_SELECTION else stated.existence_odds
        return _fitted(settings, stated, batch, existence, selection)
    fitted = _fitted(RefineSettings(steps=1, alternatives=1), stated, batch)
    columns = {f.name: column for f, column in zip(fields(Slots), stated.slots, strict=True)}
    unknown = np.full(len(fitted.chi2), np.nan)
    return replace(fitted, psf_factor=unknown, sigma_psf_factor=unknown, **columns)


def targets_of(
    readout: GridlessReadout, stated: Statement, refined: Refined
) -> tuple[Estimates, Details]:
    """Targets from what the network states and what the fits made of it."""
    fits = Fits(refined.count, *(getattr(refined, name) for name in Fits._fields[1:]))
    found = read_targets(stated, fits, _options(readout))
    table = found.table
    x, y, intensity, scores, sigma_x, sigma_y, sigma_intensity = table[:FITTED]
    estimates = Estimates(
        crop=found.crop,
        x=x,
        y=y,
        intensity=intensity,
        likely=found.likely,
        score=scores,
        sigma_x=sigma_x,
        sigma_y=sigma_y,
        sigma_intensity=sigma_intensity,
        chi2=refined.chi2,
        doubt=found.doubt,
        psf_scale=refined.psf_factor,
        occupied=found.occupied,
        probability=found.probability,
    )
    details = Details(table[FEATURES:].T, table[FITTED:OWN].T, table[OWN:FEATURES].T, found.alone)
    return estimates, details


@functools.lru_cache
def _options(readout: GridlessReadout) -> ReadoutOptions:
    """Every number of the type that the kernel is compiled for."""
    told = {
        name: float(getattr(readout, name))
        for name in ReadoutOptions._fields
        if name not in ("least_existence", "weights", "further_weights")
    }
    least, further = readout.least_existence, readout.further_weights or readout.score_weights
    return ReadoutOptions(
        **told,
        least_existence=math.inf if least is None else float(least),
        weights=np.array(astuple(readout.score_weights), np.float64),
        further_weights=np.array(astuple(further), np.float64),
    )


def blend_sigmas(readout: GridlessReadout, refined: Float, network: Float) -> Float:
    """Calibrated sigmas: where the fit sharpens the network's answer much, it errs more often."""
    result: Float = np.sqrt(
        (readout.sigma_scale * refined) ** 2
        + (readout.sigma_network * network) ** 2
        + readout.sigma_floor**2
    )
    return result

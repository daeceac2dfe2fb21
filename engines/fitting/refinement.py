"""Refinement of a network's answer: a fit to the pixels with the network's posterior as prior."""

import functools
from dataclasses import dataclass, fields

import msgspec
import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float, Mask
from dscsnet.engines.compiled import as_kernel_takes
from dscsnet.engines.fitting.counts import Options
from dscsnet.engines.fitting.psf import NO_TABLE, has_widths
from dscsnet.engines.fitting.refine_crops import refine_crops
from dscsnet.engines.fitting.selection import NO_SELECTION, Selection, feature_number
from dscsnet.engines.fitting.spline import PsfTable
from dscsnet.engines.noise_model import USUAL_NOISE, NoiseModel

#: Of steps, counts and starts: a crop that takes longer keeps the node from its other frames.
MOST_TRIES = 1000


@dataclass(frozen=True)
class Slots:
    """A network's Gaussian posterior for each of its slots, surest slot first.

    "k targets" are the first k slots.

    Attributes:
        x, y: (n, slots) mean, crop px.
        log_intensity: (n, slots) mean of ln counts.
        sigma_x, sigma_y, sigma_log_intensity: (n, slots) 1-sigma.
    """

    x: Float
    y: Float
    log_intensity: Float
    sigma_x: Float
    sigma_y: Float
    sigma_log_intensity: Float

    def columns(self) -> list[Float]:
        """The six columns, C-contiguous float64, in the order of the attributes."""
        return [
            np.ascontiguousarray(getattr(self, field.name), np.float64) for field in fields(self)
        ]


class RefineSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to refine; part of a model's card, so every number is bounded.

    Attributes:
        steps: most Gauss-Newton steps of a fit.
        tolerance: a step that lowers the objective (chi-square and penalties) by less ends a fit.
        prior_scale: the prior's sigmas over the network's.
        width_prior: sigma of the prior of ln PSF width; 0 holds the width.
        background_prior: sigma of the priors of the plane's level and of its rise over half a
            crop, noise sigmas.
        window_sigmas, window_margin: pixels this many PSF sigmas and px from a target count.
        alternatives: counts to fit, the likeliest one included; 1 trusts the network's.
        least_probability: counts less likely than this are not tried.
        count_penalty: what each target adds to the objective; that chooses the count where there is
            no selection.
        starts: starts of each fit of a hard crop: the network's answer, where that led to, and then
            draws from the network's posterior.
        hard_chi2, hard_margin: a crop is hard where the reduced chi-square of its best fit exceeds
            the one, or the second-best count comes this close to the best.
    """

    steps: int = 8
    tolerance: float = 1e-3
    prior_scale: float = 2.0
    width_prior: float = 0.05
    background_prior: float = 30.0
    window_sigmas: float = 3.0
    window_margin: float = 1.2
    alternatives: int = 3
    least_probability: float = 0.03
    count_penalty: float = 2.5
    starts: int = 1
    hard_chi2: float = 1.5
    hard_margin: float = 4.0

    def __post_init__(self) -> None:
        least = {
            "steps": 1,
            "alternatives": 1,
            "starts": 1,
            "tolerance": 0,
            "width_prior": 0,
            "least_probability": 0,
            "window_sigmas": 0,
            "window_margin": 0,
        }
        for name, bound in least.items():
            if not getattr(self, name) >= bound:
                raise ValueError(f"{name} must be at least {bound}, got {getattr(self, name)}")
        for name in ("prior_scale", "background_prior"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("steps", "alternatives", "starts"):
            if not getattr(self, name) <= MOST_TRIES:
                raise ValueError(f"{name} must be at most {MOST_TRIES}, got {getattr(self, name)}")


@dataclass(frozen=True)
class Refined:
    """Refined targets of a batch; slots beyond a crop's count are the network's, unchanged.

    Attributes:
        count: (n,) number of targets.
        x, y, log_intensity: (n, slots) crop px and ln counts, blended with the network's by
            precision.
        sigma_x, sigma_y, sigma_log_intensity: (n, slots) 1-sigma of the blend.
        covariance_xy: (n, slots) of the blend, px squared; 0 for slots beyond the count.
        chi2: (n,) reduced chi-square over the window; NaN where no freedom is left.
        psf_factor, sigma_psf_factor: (n,) fitted PSF width over the told one; NaN where it was not
            fitted.
        level: (n,) fitted background at the crop's centre, counts; NaN where nothing was fitted.
        probability: (n, slots + 2) of 0, 1, ... targets and of more, weighed anew by the counts'
            fits.
        features: (n, features) what a selection judges by, 0 where nothing was fitted; (n, 0) where
            it was not asked for.
        alone: (n,) whether the targets are the fit's alone, not blended with the network's.
    """

    count: NDArray[np.int64]
    x: Float
    y: Float
    log_intensity: Float
    sigma_x: Float
    sigma_y: Float
    sigma_log_intensity: Float
    covariance_xy: Float
    chi2: Float
    psf_factor: Float
    sigma_psf_factor: Float
    level: Float
    probability: Float
    features: Float
    alone: Mask


def refine(
    pixels: NDArray[np.float32],
    usable: NDArray[np.bool_],
    noise: NDArray[np.float32],
    psf: NDArray[np.float32],
    prior: Slots,
    log_count: Float,
    settings: RefineSettings,
    existence: Float | None = None,
    selection: Selection = NO_SELECTION,
    *,
    table: PsfTable = NO_TABLE,
    noise_model: NoiseModel = USUAL_NOISE,
    log_prior: Float | None = None,
) -> Refined:
    """Fit each crop's targets, background plane and PSF width, from the network's answer.

    For each of the likeliest counts the objective, chi-square over a window around the targets
    plus the priors' penalties, is led to its minimum by damped Gauss-Newton steps. A posterior
    covariance too small for the misfit is inflated. A count of 0 is neither challenged nor tried.
    Among the other counts a selection chooses, or, without one, the objective with its penalty.

    Args:
        pixels: (n, s, s) counts above background; those that are not finite do not count.
        usable: (n, s, s) pixels that count.
        noise: (n,) noise sigma, counts.
        psf: (n, 2) PSF sigma along x and y, px.
        prior: the network's posterior, (n, slots).
        log_count: (n, slots + 2) ln probability of 0, 1, ... targets, and of more.
        existence: (n, slots) log-odds that each slot holds a target; given for a selection, or for
            its features.
        table: the PSF, in place of a Gaussian of the widths in `psf`.
        noise_model: what light adds to a pixel's noise.
        log_prior: (n, slots + 2) added to ln of the probabilities that a selection gives.

    Raises:
        ValueError: arrays whose shapes do not belong together.
    """
    columns = prior.columns()
    expected = (len(pixels), columns[0].shape[-1])
    for field, column in zip(fields(prior), columns, strict=True):
        _expect(field.name, column.shape, expected)
    return refine_slots(
        pixels,
        usable,
        noise,
        psf,
        np.stack(columns),
        log_count,
        settings,
        existence,
        selection,
        table=table,
        noise_model=noise_model,
        log_prior=log_prior,
    )


def refine_slots(
    pixels: NDArray[np.float32],
    usable: NDArray[np.bool_],
    noise: NDArray[np.float32],
    psf: NDArray[np.float32],
    slots: Float,
    log_count: Float,
    settings: RefineSettings,
    existence: Float | None,
    selection: Selection,
    *,
    table: PsfTable,
    noise_model: NoiseModel,
    log_prior: Float | None,
) -> Refined:
    """The same with the prior as one array.

    Args:
        slots: (6, n, slots) the columns of `Slots`.

    Raises:
        ValueError: arrays whose shapes do not belong together.
    """
    (number, size), most = (len(pixels), pixels.shape[-1]), slots.shape[-1]
    judged = existence is not None or selection is not NO_SELECTION
    existence = np.empty((0, 0)) if existence is None else existence
    log_prior = np.zeros((number, most + 2)) if log_prior is None else log_prior
    _expect("pixels", pixels.shape, (number, size, size))
    _expect("usable", usable.shape, (number, size, size))
    _expect("noise", noise.shape, (number,))
    _expect("psf", psf.shape, (number, 2))
    _expect("log_count", log_count.shape, (number, most + 2))
    _expect("slots", slots.shape, (6, number, most))
    if judged:
        _expect("existence", existence.shape, (number, most))
    if selection is not NO_SELECTION:
        _expect("selection", (selection.slots,), (most,))
    _expect("log_prior", log_prior.shape, (number, most + 2))
    features = np.zeros((number, feature_number(most) if judged else 0))
    results = refine_crops(
        as_kernel_takes(pixels, np.float32),
        as_kernel_takes(usable, np.bool_),
        as_kernel_takes(noise, np.float64),
        as_kernel_takes(psf, np.float64),
        slots,
        as_kernel_takes(log_count, np.float64),
        _options(settings, widens=_widens(table), judged=judged),
        _draws(settings.starts - 1, most),
        table,
        NoiseModel.told(*noise_model),
        as_kernel_takes(existence, np.float64),
        selection,
        as_kernel_takes(log_prior, np.float64),
        features,
    )
    refined = (*results.slots, *results[2:-1], features, results.alone)
    return Refined(results.targets, *refined)


def _widens(table: PsfTable) -> bool:
    """Whether the PSF's width can be fitted."""
    return table is NO_TABLE or has_widths(table)


def _expect(name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != expected:
        raise ValueError(f"{name} must have shape {expected}, got {found}")


@functools.lru_cache
def _draws(starts: int, slots: int) -> Float:
    """(starts, slots, 3) standard normal draws, always the same."""
    return np.random.default_rng(0).normal(size=(starts, slots, 3))


@functools.lru_cache
def _options(settings: RefineSettings, *, widens: bool, judged: bool) -> Options:
    """Every number of the type that the kernel is compiled for."""
    width = settings.width_prior if widens else 0.0
    return Options(
        steps=settings.steps,
        tolerance=float(settings.tolerance),
        prior_scale=float(settings.prior_scale),
        plane_precision=float(settings.background_prior) ** -2,
        width_precision=float(width) ** -2 if width > 0 else 0.0,
        window_sigmas=float(settings.window_sigmas),
        window_margin=float(settings.window_margin),
        alternatives=settings.alternatives,
        least_probability=float(settings.least_probability),
        count_penalty=float(settings.count_penalty),
        hard_chi2=float(settings.hard_chi2),
        hard_margin=float(settings.hard_margin),
        judged=judged,
    )

"""From a recording to its PSF, gain and noise."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.noise_model import PSF_ERROR
from dscsnet.pipeline.sources import Source, SourceFrame
from dscsnet.tools.calibration.combine import (
    Consensus,
    Tracks,
    agree,
    log_widths,
    mean_tracks,
    shape_scatter,
)
from dscsnet.tools.calibration.fit import backgrounds
from dscsnet.tools.calibration.mean_spot import mean_of_sampled, mean_spot
from dscsnet.tools.calibration.noise import measure_noise
from dscsnet.tools.calibration.other_form import another_form
from dscsnet.tools.calibration.psf import ellipse, shape_of
from dscsnet.tools.calibration.result import Calibration, CalibrationSettings, Psf, SpotTable
from dscsnet.tools.calibration.sieve import (
    BORDER,
    NOT_GAUSSIAN,
    FittedSpots,
    fit_isolated,
    light_covariances,
    reach,
)
from dscsnet.tools.calibration.spots import MOST_HALF, Spots, find_spots

#: Half sides of the windows, px: the first that reaches so many PSF deviations is taken.
HALVES = (6, 9, 12, MOST_HALF)
REACH = 3.5
TRIAL_SPOTS = 400  # fitted to choose it
LEAST_SPOTS = 5
#: The PSF cannot be told where the widths of objects scatter by more than this, relative, beyond
#: their errors; above the second it is doubtful, and cannot be told where most spots are wider.
MOST_SCATTER, LARGE_SCATTER = 0.08, 0.03
#: Likewise where their shapes do: unresolved pairs 0.6 sigma apart make the PSF 2 % too wide then.
MOST_SHAPE_SCATTER = 0.03
#: Spots of the narrow mode among all that are single Gaussians, at least; below the second: doubt.
LEAST_SHARE, SMALL_SHARE = 0.1, 0.5
ROUNDS = 3
NO_SPOTS = "no spots: nothing compact stands out of the noise; record bright point targets or stars"
POSSIBLE = 0.01  # probability of membership from which a track stays in the game
#: Share of its peak that a Gaussian may miss of every pixel of a spot, where none is one.
MISSED = 0.04
#: Further doubts: number of objects, residual of the mean spot, width of an undersampled PSF in px.
FEW_OBJECTS, LARGE_MISFIT, UNDERSAMPLED = 5, 0.03, 0.35


Tell = Callable[[int, int | None], None]


@dataclass
class _Extremes:
    """What the first pass sees beside the noise."""

    frames: int = 0
    highest: float = -math.inf
    whole_counts: bool = True


def calibrate(
    source: Source,
    settings: CalibrationSettings | None = None,
    tell: Tell = lambda frames, total: None,
) -> Calibration:
    """Measure PSF, gain and noise of a recording.

    Args:
        source: read twice.
        settings: None: the defaults.
        tell: called with the number of frames that were read, and of all where it is known.

    Raises:
        SourceError: the recording cannot be read.
    """
    settings = settings or CalibrationSettings()
    seen = _Extremes()
    total = 2 * min(source.frame_count, settings.frames) if source.frame_count else None
    noise = measure_noise(_watched(source, settings.frames, seen, lambda n: tell(n, total)))
    saturation = settings.saturation
    if saturation is None:
        saturation = _full_scale(seen)
    again = _watched(source, settings.frames, _Extremes(), lambda n: tell(n + seen.frames, total))
    spots, dropped = find_spots(again, seen.frames, saturation)
    gain = settings.gain
    if gain is None and noise is not None and math.isfinite(noise.gain):
        gain = noise.gain
    settings = replace(settings, gain=gain)
    result = Calibration(
        *(source.description, seen.frames, None, "", (), noise, None, 0, dropped),
        len(spots) + dropped.total(),
        saturation,
    )
    return _measure_psf(spots, settings, seen.whole_counts, result)


def _watched(
    source: Source, frames: int, seen: _Extremes, tell: Callable[[int], None]
) -> Iterator[SourceFrame]:
    for frame in islice(source, frames):
        seen.frames += 1
        seen.whole_counts &= frame.pixels.dtype.kind == "u"
        if seen.whole_counts:
            seen.highest = max(seen.highest, float(frame.pixels.max()))
        yield frame
        tell(seen.frames)


def _full_scale(seen: _Extremes) -> float | None:
    """The brightest count where it is that of a saturated pixel of 8 to 16 bits."""
    full = seen.whole_counts and seen.highest in {2.0**bits - 1 for bits in range(8, 17)}
    return seen.highest if full else None


def _measure_psf(
    spots: Spots, settings: CalibrationSettings, whole_counts: bool, result: Calibration
) -> Calibration:
    if not len(spots):
        return replace(result, problem=NO_SPOTS)
    fitted, dropped = _fit_in_window(spots, settings, whole_counts)
    told = _tell_psf(spots, fitted, settings, replace(result, dropped=result.dropped + dropped))
    if dropped[NOT_GAUSSIAN] <= len(fitted.pixels):
        return told
    # Bright enough, every spot of a PSF that is no Gaussian is no Gaussian.
    fitted, dropped = _fit_in_window(spots, settings, whole_counts, MISSED)
    other = _tell_psf(spots, fitted, settings, replace(result, dropped=result.dropped + dropped))
    return other if other.sampled is not None else told


def _tell_psf(
    spots: Spots, fitted: FittedSpots, settings: CalibrationSettings, result: Calibration
) -> Calibration:
    if len(fitted.pixels) < LEAST_SPOTS:
        return replace(result, problem=_too_few(len(fitted.pixels), result.dropped))
    consensus, used, table, shapes = _agree(fitted)
    result.dropped["wider than the narrow mode, or of changing width"] += int((~used).sum())
    objects = len(np.unique(fitted.track[used]))
    result = replace(result, spots=table, objects=objects)
    problem = _disagreement(consensus, used, shapes)
    if problem:
        return replace(result, problem=problem)
    covariance = consensus.covariance
    width = 3 * math.sqrt(max(covariance[:2]))
    mean = mean_spot(table, width)
    error = float(np.nan_to_num(mean.rms_misfit))
    sampled = another_form(spots, fitted.take(used), covariance, error, settings.gain)
    if sampled is not None:
        mean = mean_of_sampled(sampled, width)
        error = math.hypot(np.nan_to_num(mean.rms_misfit), sampled.psf.error)
    psf = Psf(*(covariance, consensus.error, consensus.scatter), mean.misfit, max(error, PSF_ERROR))
    doubts = tuple(_doubts(psf, used, objects, result.dropped))
    return replace(result, psf=psf, sampled=sampled, warnings=doubts)


def _fit_in_window(
    spots: Spots, settings: CalibrationSettings, whole_counts: bool, missed: float = 0.0
) -> tuple[FittedSpots, Counter[str]]:
    """Fit in the smallest window that is wide enough for the narrow mode."""
    brightest = spots.take(np.argsort(-spots.contrast, kind="stable")[:TRIAL_SPOTS])
    how = (settings.least_snr, settings.gain, whole_counts)
    chosen = MOST_HALF
    for half in HALVES:
        trial, _ = fit_isolated(brightest, half, *how, missed=missed)
        if len(trial.pixels) >= LEAST_SPOTS:
            consensus = agree(mean_tracks(*trial.shapes(), trial.track))
            if ellipse(consensus.covariance).long * REACH + BORDER <= half:
                chosen = half
                break
    return fit_isolated(spots, chosen, *how, missed=missed)


def _too_few(number: int, dropped: Counter[str]) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common() if count)
    wide = f"wider than {reach(MOST_HALF):.2g} px"
    if dropped[wide] and dropped[wide] == max(dropped.values()):
        return (
            f"the spots are {wide}: out of focus, or extended objects ({reasons}); "
            "record point targets or stars, in focus"
        )
    return (
        f"only {number} isolated spots that are single Gaussians, at least {LEAST_SPOTS} are "
        f"needed ({reasons or 'nothing else is there'}); record more frames, or brighter and "
        "sparser point targets"
    )


def _agree(fitted: FittedSpots) -> tuple[Consensus, NDArray[np.bool_], SpotTable, float]:
    """The common PSF, which spots it comes from, the table of all, and how shapes scatter."""
    shapes, errors = fitted.shapes()
    widths = log_widths(shapes, errors)
    tracks = mean_tracks(shapes, errors, fitted.track)
    consensus = agree(tracks)
    alike = _of(fitted, tracks, consensus.alike)
    for _ in range(ROUNDS):
        possible = _of(fitted, tracks, consensus.member > POSSIBLE)
        if not possible.any():
            break
        # linear about the common shape: errors no longer depend on each spot's own width
        kept = fitted.take(possible)
        fits = kept.refit(shape_of(consensus.covariance))
        tracks = mean_tracks(*light_covariances(fits), kept.track)
        consensus = agree(tracks)
    used = _of(fitted, tracks, consensus.member > 0.5)
    table = _table(fitted, shape_of(consensus.covariance), used, widths)
    return consensus, used, table, shape_scatter(shapes[alike], errors[alike])


def _of(fitted: FittedSpots, tracks: Tracks, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.isin(fitted.track, tracks.number[chosen])


def _table(
    fitted: FittedSpots, shape: Float, used: NDArray[np.bool_], widths: tuple[Float, Float]
) -> SpotTable:
    parameters = fitted.fits.parameters.copy()
    if used.any():
        parameters[used] = fitted.take(used).refit(shape).parameters
    pixels = fitted.pixels - backgrounds(parameters, fitted.pixels.shape[-1])
    sigma = np.exp(widths[0])
    return SpotTable(pixels, parameters, sigma, sigma * widths[1], fitted.noise, used, fitted.track)


def _disagreement(consensus: Consensus, used: NDArray[np.bool_], shapes: float) -> str:
    """Why the spots do not tell a PSF; empty where they do."""
    number, all_of_them = int(used.sum()), len(used)
    if number < LEAST_SPOTS or number < LEAST_SHARE * all_of_them:
        return (
            f"only {number} of {all_of_them} spots agree on a width: these are no point targets of "
            "one PSF; record isolated point targets or stars, in focus"
        )
    few = number < SMALL_SHARE * all_of_them
    if consensus.scatter > (LARGE_SCATTER if few else MOST_SCATTER):
        return (
            f"the widths of the spots scatter by {100 * consensus.scatter:.0f} % beyond the noise: "
            "extended objects, clusters or a PSF that varies; record isolated point targets"
        )
    if shapes > MOST_SHAPE_SCATTER:
        return (
            f"the shapes of the spots scatter by {100 * shapes:.0f} % beyond the noise, as those "
            "of unresolved pairs do, or of a PSF that varies over the frame; record isolated point "
            "targets"
        )
    return ""


def _doubts(
    psf: Psf, used: NDArray[np.bool_], objects: int, dropped: Counter[str]
) -> Iterator[str]:
    number, all_of_them = int(used.sum()), len(used)
    if objects == 1:
        yield f"all {number} spots are of one object: true only if that is a point target"
    elif objects < FEW_OBJECTS:
        yield f"only {objects} objects: another recording may tell otherwise"
    if number < SMALL_SHARE * all_of_them:
        yield f"only {number} of {all_of_them} spots are of the narrow mode, the others wider"
    if psf.scatter > LARGE_SCATTER:
        yield (
            f"the widths of objects scatter by {100 * psf.scatter:.0f} % beyond their errors: "
            "the PSF varies, or not all are point targets"
        )
    if dropped[NOT_GAUSSIAN] > number:
        yield (
            f"{dropped[NOT_GAUSSIAN]} spots are {NOT_GAUSSIAN}, more than are in use: clusters, or "
            "a PSF of another form"
        )
    if psf.misfit > LARGE_MISFIT:
        yield (
            f"the PSF is of another form: the mean spot differs by {100 * psf.misfit:.1f} % "
            "of its peak"
        )
    if min(psf.sigma) < UNDERSAMPLED:
        yield f"a PSF below {UNDERSAMPLED} px is undersampled: the pixels' own response matters"

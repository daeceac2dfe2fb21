"""The sensor's PSF as a caller states it, and the engine that can work with it."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.engine import Engine
from dscsnet.engines.fitting.psf import check_number, read_samples
from dscsnet.engines.noise_model import NoiseModel
from dscsnet.engines.opening import open_engine
from dscsnet.engines.psf_fit_settings import PSF_FIT, PsfFitSettings
from dscsnet.engines.runtimes.base import RuntimeOptions
from dscsnet.engines.sensor import Sensor
from dscsnet.pipeline.errors import InputError

#: What can be given for a PSF; `Unmixer` says what each means.
PsfLike = float | Sequence[float] | str | os.PathLike[str] | NDArray[Any]

EXPECTED = (
    "psf: expected a width in px, (sigma_x, sigma_y), (sigma_major, sigma_minor, angle_deg), "
    "or a 2-D array or file of samples"
)


def open_for_psf(
    psf: PsfLike | None,
    model: str | os.PathLike[str],
    runtime: str,
    *,
    oversampling: int,
    noise_model: NoiseModel,
    psf_fit: PsfFitSettings | None,
    least_existence: float | None,
    options: RuntimeOptions,
) -> Engine:
    """Open the engine of a model for a PSF.

    Raises:
        InputError: the PSF is none, or the model cannot take one of this kind.
        ModelError: the model or the runtime does not work here or is not for this PSF.
    """
    if psf_fit is not None and str(model) != PSF_FIT:
        raise InputError(f"psf_fit: these settings are for model={PSF_FIT!r}, got {str(model)!r}")
    stated = state(psf)
    if str(model) == PSF_FIT:
        if least_existence is not None:
            raise InputError(f"least_existence: {PSF_FIT} gives the likeliest number only")
        return _open_fit(stated, oversampling, noise_model, psf_fit or PsfFitSettings())
    return open_engine(
        os.fspath(model),
        runtime,
        threads=options.threads,
        sensor=_sensor(stated, oversampling, noise_model),
        noise_model=noise_model,
        least_existence=least_existence,
        options=options,
    )


def _sensor(
    stated: tuple[float, ...] | Path | Float | None, oversampling: int, noise_model: NoiseModel
) -> Sensor | None:
    if stated is None:
        return None
    if isinstance(stated, tuple):
        return Sensor.gaussian(*stated, noise_model=noise_model)
    samples = read_samples(stated) if isinstance(stated, Path) else stated
    check_number(samples, "psf")
    return Sensor.sampled(samples, oversampling, noise_model=noise_model)


def state(psf: PsfLike | None) -> tuple[float, ...] | Path | Float | None:
    """One of four forms: (sigma_x, sigma_y), (major, minor, angle), a file, or samples.

    An ellipse along the image's axes is told by its two sigmas, which any model takes.

    Raises:
        InputError: it is none of them.
    """
    if psf is None:
        return None
    if isinstance(psf, str | os.PathLike):
        return Path(psf)
    values = _numbers(psf)
    if values.ndim == 2:
        return values
    if values.ndim > 1 or not 1 <= values.size <= 3:
        raise InputError(f"{EXPECTED}; got shape {values.shape}")
    sigmas = values.ravel().tolist()
    if not all(map(math.isfinite, sigmas)) or min(sigmas[:2]) <= 0:
        raise InputError(f"{EXPECTED}, all finite and above 0; got {psf!r}")
    if len(sigmas) < 3:
        return sigmas[0], sigmas[-1]
    major, minor, angle = sigmas
    if major == minor or angle % 180 == 0:
        return major, minor
    return (minor, major) if angle % 180 == 90 else (major, minor, angle)


def _numbers(psf: ArrayLike) -> Float:
    """The PSF as an array of real numbers, or InputError."""
    try:
        values = np.asarray(psf)
    except ValueError:
        values = np.empty(0, object)
    if values.dtype.kind not in "iuf":
        raise InputError(f"{EXPECTED}; got {type(psf).__name__}")
    return values.astype(np.float64)


def _open_fit(
    stated: tuple[float, ...] | Path | Float | None,
    oversampling: int,
    noise_model: NoiseModel,
    settings: PsfFitSettings,
) -> Engine:
    from dscsnet.engines.psf_fit import PsfFitEngine

    samples: Float | None = None
    given: dict[str, Any] = {}
    if isinstance(stated, tuple):
        given = dict(zip(("sigma_x", "sigma_y", "angle"), (*stated, 0.0)[:3], strict=True))
    elif isinstance(stated, Path):
        given = {"file": str(stated), "oversampling": oversampling}
    elif stated is not None:
        samples, given = stated, {"oversampling": oversampling}
    try:
        settings = msgspec.structs.replace(settings, **{"file": None, **given} if given else {})
    except ValueError as error:
        raise InputError(f"psf: {error}") from None
    return PsfFitEngine(settings, samples, noise_model)

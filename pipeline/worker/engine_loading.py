"""Opens the engine that the configuration names, and checks it."""

import logging
import os
from pathlib import Path
from typing import get_args

import numpy as np
from msgspec import structs

from dscsnet.engines.engine import Engine
from dscsnet.engines.errors import ModelError
from dscsnet.engines.fitting.psf import read_samples
from dscsnet.engines.model_engine import Fallback, ModelEngine
from dscsnet.engines.noise_model import NoiseModel
from dscsnet.engines.opening import open_engine
from dscsnet.engines.runtime_names import RuntimeName
from dscsnet.engines.runtimes import RuntimeOptions
from dscsnet.engines.sensor import Sensor
from dscsnet.pipeline.config import EngineSettings
from dscsnet.pipeline.messages import EngineInfo

log = logging.getLogger(__name__)


#: Workers by default: beyond these the interpreter, which all of them share, is what limits.
MOST_WORKERS = 8


def worker_number(workers: int) -> int:
    """How many `batch.workers` stands for, 0 being one a core."""
    return workers or min(len(os.sched_getaffinity(0)), MOST_WORKERS)


def load_engines(settings: EngineSettings, workers: int) -> list[Engine]:
    """One checked engine for each worker, all of the same kind.

    Args:
        workers: 0: one a core, `MOST_WORKERS` at most, and one on a GPU.

    Raises:
        ModelError: as `load_engine`.
    """
    number = worker_number(workers)
    cores = len(os.sched_getaffinity(0))
    each = structs.replace(settings, threads=settings.threads or max(1, cores // number))
    engines = [load_engine(each)]
    if workers == 0 and engines[0].on_gpu:
        return engines
    # What the first one did not find is not looked for, nor told, again.
    found = engines[0].runtime_name.split()[0]
    kind = found if found in get_args(RuntimeName) else settings.runtime
    try:
        while len(engines) < number:
            engines.append(_opened(structs.replace(each, runtime=kind)))
            engines[-1].check()
    except BaseException:
        for engine in engines:
            engine.close()
        raise
    return engines


def load_engine(settings: EngineSettings) -> Engine:
    """Open the engine, check that it fits the sensor, and run its golden check.

    Raises:
        ModelError: the model is missing, altered, not for this PSF, or does not compute what it
            should.
    """
    engine = _opened(settings)
    if not settings.states_psf:
        log.warning(
            "engine.psf_sigma is not set: %g px is assumed; `dscsnet calibrate` measures it",
            engine.psf[0],
        )
    if isinstance(engine, ModelEngine) and engine.model.card.normalisation == "fixed":
        log.warning("%s is not scale-free: frames must have the counts that it learnt", engine.name)
    try:
        engine.check()
    except BaseException:
        engine.close()
        raise
    return engine


def _opened(settings: EngineSettings) -> Engine:
    try:
        return open_engine(
            settings.model,
            settings.runtime,
            threads=settings.threads,
            sensor=sensor_of(settings),
            noise_model=noise_model_of(settings),
            psf_fit=settings.psf_fit,
            least_existence=settings.least_existence,
            options=RuntimeOptions(
                device=settings.device,
                precision=settings.precision,
                cache=Path(settings.cache) if settings.cache else None,
            ),
        )
    except ModelError as error:
        raise ModelError(f"engine: {error}") from None


def noise_model_of(settings: EngineSettings) -> NoiseModel:
    """What light adds to a pixel's noise, as the settings say."""
    return NoiseModel.told(settings.gain, settings.psf_error)


def sensor_of(settings: EngineSettings) -> Sensor | None:
    """The sensor that the settings state; None: whatever PSF the model was made for.

    Raises:
        ModelError: the PSF cannot be used.
    """
    noise_model = noise_model_of(settings)
    if settings.psf_ellipse is not None:
        return Sensor.gaussian(*settings.psf_ellipse, noise_model=noise_model)
    if settings.psf_file is not None:
        samples = read_samples(settings.psf_file)
        return Sensor.sampled(samples, settings.psf_oversampling, noise_model=noise_model)
    sigma = settings.psf_sigma
    if sigma is None:
        return None
    return Sensor.gaussian(
        *(sigma if isinstance(sigma, list) else [sigma]), noise_model=noise_model
    )


def fallbacks(engine: Engine) -> tuple[Fallback, ...]:
    """Faster runtimes that `auto` passed over for this engine."""
    return engine.fallbacks if isinstance(engine, ModelEngine) else ()


def engine_info(engine: Engine) -> EngineInfo:
    """What `targets` messages say of the engine."""
    return EngineInfo(
        runtime=engine.runtime_name,
        model=engine.name,
        sha256=engine.sha256,
        psf_sigma=float(np.sqrt(engine.psf[0] * engine.psf[1])),
    )

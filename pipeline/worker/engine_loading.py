"""Opens the engine that the configuration names, and checks it."""

import logging
from pathlib import Path

import numpy as np

from dscsnet.engines.engine import Engine
from dscsnet.engines.errors import ModelError
from dscsnet.engines.fitting.psf import read_samples
from dscsnet.engines.model_engine import Fallback, ModelEngine
from dscsnet.engines.noise_model import NoiseModel
from dscsnet.engines.opening import open_engine
from dscsnet.engines.runtimes import RuntimeOptions
from dscsnet.engines.sensor import Sensor
from dscsnet.pipeline.config import EngineSettings
from dscsnet.pipeline.messages import EngineInfo

log = logging.getLogger(__name__)


def load_engine(settings: EngineSettings) -> Engine:
    """Open the engine, check that it fits the sensor, and run its golden check.

    Raises:
        ModelError: the model is missing, altered, not for this PSF, or does not compute what it
            should.
    """
    try:
        engine = open_engine(
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

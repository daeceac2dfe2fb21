"""Opens engines: a model in a runtime, or the fit that needs neither."""

from dataclasses import replace
from pathlib import Path

from dscsnet.engines.engine import Engine
from dscsnet.engines.errors import ModelError
from dscsnet.engines.noise_model import USUAL_NOISE, NoiseModel
from dscsnet.engines.psf_fit_settings import PSF_FIT, PsfFitSettings
from dscsnet.engines.runtimes.base import RuntimeOptions
from dscsnet.engines.sensor import Sensor


def open_engine(
    model: str | Path,
    runtime: str = "auto",
    *,
    threads: int = 0,
    sensor: Sensor | None = None,
    noise_model: NoiseModel | None = None,
    psf_fit: PsfFitSettings | None = None,
    least_existence: float | None = None,
    options: RuntimeOptions | None = None,
) -> Engine:
    """Load a model by name or folder into a runtime; `psf-fit` needs neither.

    Args:
        threads: CPU threads of one batch; 0: one for each core.
        sensor: its PSF and noise; None: what the model was made for.
        noise_model: where the sensor is not given, what light adds to a pixel's noise.
        psf_fit: settings of `psf-fit`, in place of the sensor's PSF.
        least_existence: give targets beyond the likeliest number, too, from this probability on.
        options: what else runtimes can be told; its threads give way to `threads`.

    Raises:
        ModelError: the model or the runtime is not there, does not work or is not for this PSF.
    """
    if str(model) == PSF_FIT:
        if least_existence is not None:
            raise ModelError("least_existence: psf-fit has no targets beyond the likeliest number")
        from dscsnet.engines.psf_fit import PsfFitEngine

        if sensor is not None and psf_fit is None:
            return PsfFitEngine.for_sensor(sensor)
        return PsfFitEngine(psf_fit, noise_model=noise_model or USUAL_NOISE)
    from dscsnet.engines.model_engine import open_model_engine

    options = replace(options or RuntimeOptions(), threads=threads)
    return open_model_engine(
        model,
        runtime,
        sensor=sensor,
        noise_model=noise_model,
        least_existence=least_existence,
        options=options,
    )

"""Runs the battery: each situation, a model beside another."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from dscsnet.engines.fitting.psf import read_samples
from dscsnet.pipeline.config import load_config
from dscsnet.pipeline.sources import open_source
from dscsnet.pipeline.unmix import Unmixer
from dscsnet.pipeline.worker.engine_loading import sensor_of
from dscsnet.tools.calibration import report
from dscsnet.tools.calibration.calibration import calibrate
from dscsnet.tools.robustness.measure import Row, measure
from dscsnet.tools.robustness.render import Gaussian
from dscsnet.tools.robustness.scenes import CALIBRATED, Situation, draw
from dscsnet.tools.robustness.situations import situations

#: More spots than any scene has.
MOST_CROPS = 4096
#: Frames of single stars that a PSF is measured on, and their signal-to-noise.
CALIBRATION_FRAMES, CALIBRATION_SNR = 10, 100.0
SEED = 1

Tell = Callable[[str], None]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the battery gives: rows of one situation together, the measured model first."""

    seed: int
    models: list[str]
    rows: list[Row]


def run_battery(
    models: list[str],
    *,
    only: str = "*",
    seed: int = SEED,
    threads: int = 1,
    tell: Tell = lambda what: None,
) -> Report:
    """Measure models in every situation whose "group / name" matches a pattern.

    Args:
        models: as `Unmixer` takes them.
        threads: of a run.
        tell: takes the name of each situation before it is drawn.
    """
    rows = []
    for situation in situations():
        title = f"{situation.group} / {situation.name}"
        if fnmatchcase(title, only):
            tell(title)
            rows += list(_measured(situation, models, seed, threads))
    return Report(seed=seed, models=models, rows=rows)


def _measured(situation: Situation, models: list[str], seed: int, threads: int) -> Iterator[Row]:
    scene = draw(situation, seed)
    told, settings = situation.told, dict(situation.settings)
    if told is None:
        assert isinstance(situation.light, Gaussian), "what is not told is a Gaussian"
        told = (situation.light.major, situation.light.minor, situation.light.angle)
    elif told == CALIBRATED:
        told, measured = calibrated(situation, seed)
        settings |= measured
    for model in models:
        with Unmixer(
            told,
            model,
            threads=threads,
            max_crops=MOST_CROPS,
            saturation=scene.saturation,
            **settings,
        ) as unmixer:
            yield measure(unmixer, model, situation, scene)


def calibrated(situation: Situation, seed: int) -> tuple[Any, dict[str, Any]]:
    """The PSF and other arguments as `dscsnet calibrate --write` measures them on single stars."""
    stars = replace(situation, targets=1, snr=CALIBRATION_SNR)
    scenes = [draw(stars, 1000 * (seed + 1) + i) for i in range(CALIBRATION_FRAMES)]
    with tempfile.TemporaryDirectory() as folder:
        recording, path = Path(folder) / "stars.npy", Path(folder) / "node.yaml"
        np.save(recording, np.stack([scene.pixels for scene in scenes]))
        with open_source(str(recording)) as source:
            report.write_configuration(path, calibrate(source))
        engine = load_config(path).engine
        sensor = sensor_of(engine)
        assert sensor is not None, "a calibration states the PSF"
        settings: dict[str, Any] = {"psf_error": engine.psf_error, "gain": engine.gain}
        if engine.psf_file is not None:
            settings["oversampling"] = engine.psf_oversampling
            return read_samples(engine.psf_file), settings
    return engine.psf_ellipse or sensor.psf, settings

"""Golden measurements: what the tools' numerical methods tell of data that is made up.

    python -m tests.golden.measurements

As with golden answers (`tests.golden.answers`), they are written anew only by a commit that means
to change what a method tells.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from dscsnet.engines.imaging import render
from dscsnet.pipeline.sources import SourceFrame
from dscsnet.tools.calibration import mixture, noise
from dscsnet.tools.calibration.calibration import calibrate
from dscsnet.tools.calibration.combine import agree, mean_tracks
from dscsnet.tools.calibration.mean_spot import mean_spot
from dscsnet.tools.calibration.result import CalibrationSettings
from dscsnet.tools.export.readout_calibration import logistic_regression
from dscsnet.tools.references.multistart_fit import fit_crops

FILE = Path(__file__).parent / "measurements.json"
Told = dict[str, Any]


class Recording:
    """Frames of stars that drift over a slope of light, with shot noise; 20 electrons a count."""

    description, frame_count = "made up", 4

    def __init__(self, whole: bool = True, psf: float = 0.6) -> None:
        self.whole, self.psf = whole, psf

    def __iter__(self) -> Iterator[SourceFrame]:
        random = np.random.default_rng(7)
        rows, columns = np.mgrid[30:230:28, 30:230:28].reshape(2, -1) + random.uniform(
            -3, 3, (2, 64)
        )
        light = random.uniform(900, 9000, 64)
        light[::9] *= 0.02  # too faint
        slope = np.linspace(100, 2600, 256)[:, None] + np.zeros((256, 256))
        for index in range(self.frame_count):
            x, y = columns + 0.31 * index, rows - 0.17 * index
            clean = slope + render(x, y, light, slope.shape, self.psf, 0.9 * self.psf)
            seen = clean + random.normal(0, 1, slope.shape) * np.sqrt(9 + clean / 20)
            seen[100 + 3 * index, 50] = 4095  # saturated
            pixels = np.clip(np.rint(seen), 0, 4095).astype(np.uint16) if self.whole else seen
            yield SourceFrame(index, pixels, None)


def _columns(values: Any, *left_out: str) -> Told:
    """Fields of a dataclass: numbers as they are, arrays by a few sums."""
    told: Told = {}
    for field in fields(values):
        value = getattr(values, field.name)
        if field.name in left_out or value is None or isinstance(value, str):
            continue
        told[field.name] = _sums(value) if isinstance(value, np.ndarray) else value
    return told


def _sums(values: np.ndarray) -> list[float]:
    """Number, sum, and a weighted sum that depends on the order."""
    flat = values.astype(float).ravel()
    return [len(flat), float(flat.sum()), float(flat @ np.cos(np.arange(len(flat))))]


def whole_calibration() -> Told:
    """PSF, noise and spots of a recording in whole counts, and of one in fractions."""
    told: Told = {}
    for name, source, settings in (
        ("whole", Recording(), None),
        ("fractions", Recording(whole=False, psf=1.1), CalibrationSettings(3, 12.0, 4095.0, 15.0)),
    ):
        result = calibrate(source, settings)  # type: ignore[arg-type]
        assert result.psf is not None
        assert result.noise is not None
        assert result.spots is not None
        told[name] = {
            "psf": _columns(result.psf),
            "noise": _columns(result.noise, "patches", "line") | {"why": result.noise.reason},
            "patches": _columns(result.noise.patches),
            "spots": _columns(result.spots),
            "dropped": dict(sorted(result.dropped.items())),
            "numbers": [result.objects, result.found, result.frames],
            "said": [result.problem, *result.warnings],
            "mean": _columns(mean_spot(result.spots, 3 * max(result.psf.sigma))),
        }
    return told


def photon_transfer() -> Told:
    """Lines through noisy patches, some of them textured, and what is doubted."""
    random = np.random.default_rng(8)
    told: Told = {"share": noise._biweight_share()}
    level = np.linspace(100.0, 1100.0, 90)
    for name, scatter, textured in (("quiet", 0.05, 0), ("rough", 0.2, 8)):
        variance = (9 + 0.05 * level) * (1 + scatter * random.standard_normal(90))
        variance[:textured] *= 5
        patches = noise.Patches(np.arange(90) // 2, level, variance)
        line = noise._fit_line(patches)
        assert line is not None
        told[name] = [*_columns(line).values(), line.error.tolist(), noise._typical(patches)]
    return told


def narrow_modes() -> Told:
    """Narrow modes of widths of which a third is wider."""
    random = np.random.default_rng(9)
    errors = random.uniform(0.01, 0.05, 60)
    widths = -0.5 + errors * random.standard_normal(60) + 0.02 * random.standard_normal(60)
    widths[::3] += random.exponential(0.2, 20)
    found = mixture.narrow_mode(widths, errors)
    point = np.array([-0.5, math.log(0.03), -0.4, math.log(0.2)])
    return {**_columns(found), "cost": mixture._cost(widths, errors, point)}


def combined_tracks() -> Told:
    """What tracks of spots agree on, some of which vary."""
    random = np.random.default_rng(10)
    track = np.repeat(np.arange(12), 4)
    sigma = np.where(track % 5 == 4, 0.5, 0.36)[:, None] * np.array([1.0, 0.9, 0.05])
    covariance = sigma + 0.01 * random.standard_normal((48, 3))
    error = np.tile(np.diag([1e-4, 1.2e-4, 0.5e-4]), (48, 1, 1)) * random.uniform(
        0.5, 2, (48, 1, 1)
    )
    tracks = mean_tracks(covariance, error, track)
    return {"tracks": _columns(tracks), "agreed": _columns(agree(tracks))}


def regression() -> Told:
    """Weights of a logistic regression, of one that is nearly decided, and after few steps."""
    random = np.random.default_rng(11)
    values = np.column_stack([np.ones(80), random.standard_normal((80, 2))])
    hit = values @ [0.3, 1.5, -0.8] + random.standard_normal(80) > 0
    decided = values[:, 1] > 0
    return {
        "hit": logistic_regression(values, hit).tolist(),
        "decided": logistic_regression(values, decided).tolist(),
        "after three": logistic_regression(5 * values, hit, steps=3).tolist(),
    }


def fitted_crops() -> Told:
    """Targets of crops by many starts."""
    random = np.random.default_rng(12)
    crops = [
        render(*random.uniform(4, 6, (2, n)), random.uniform(220, 250, n), (11, 11), 0.5)
        for n in (1, 2, 3, 4)
    ]
    noisy = np.array(crops) + random.normal(0, 2, (4, 11, 11))
    settings = {"sigma": 0.5, "noise": 2.0, "intensity": (220.0, 250.0), "most": 4, "starts": 3}
    found = fit_crops(noisy, **settings)  # type: ignore[arg-type]
    return _columns(found)


MEASUREMENTS: dict[str, Callable[[], Told]] = {
    each.__name__: each
    for each in (
        *(whole_calibration, photon_transfer, narrow_modes, combined_tracks),
        *(regression, fitted_crops),
    )
}


def plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(each) for each in value]
    return value.item() if isinstance(value, np.generic) else value


def main() -> None:
    """Write all of them."""
    told = {name: plain(measure()) for name, measure in MEASUREMENTS.items()}
    FILE.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""photutils beside our engines on easy crops: crops a second, and what is found."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dscsnet.engines.engine import Engine
from dscsnet.engines.opening import open_engine
from dscsnet.tools.bench.in_turn import speeds_in_turn
from dscsnet.tools.peers.comparison import Comparison, absent, rows
from dscsnet.tools.peers.easy_crops import NOISE, SIGMA, SIZE, EasyCrops, Positions, easy_crops

CROPS = 150
MODELS = ("field-unfolded", "psf-fit")
#: Full width at half maximum of a Gaussian over its sigma.
FWHM = 2 * (2 * np.log(2)) ** 0.5
#: Peaks above so many noise sigmas are stars.
LEAST_SNR = 5.0
#: Stars this close are fitted together, px.
TOGETHER = 3.0
#: Error of the positions that are told, px, each axis.
TOLD_ERROR = 0.2
#: Blends are neither sharp nor round; the finder's own limits reject them: a fifth fewer are found.
ANY_SHAPE = (-5.0, 5.0)
NOTE = (
    "crops of 11 x 11 px, 1 to 4 targets of 300 to 1,000 counts at least 0.8 px apart, PSF sigma "
    "0.5 px, noise 5; found: targets with a position within 0.25 px, %; number: crops with the "
    "right number of targets, %; ours are the network, fits and readout on ONNX Runtime, one thread"
)

#: What finds the targets of all crops.
Finder = Callable[[], Sequence[Positions]]


def compare_photometry(crops: EasyCrops | None = None) -> Comparison:
    """Our engines, and photutils where it is installed."""
    crops = crops or easy_crops(CROPS)
    engines = [open_engine(name, "onnxruntime", threads=1) for name in MODELS]
    finders = {engine.name: _ours(engine, crops) for engine in engines}
    missing = absent("photutils", ["photutils"], "pip install photutils")
    if not missing:
        finders |= photutils_finders(crops)
    scores = {name: crops.score(find()) for name, find in finders.items()}
    figures = {
        name: (f"{100 * found:.1f}", "given" if name.endswith("px") else f"{100 * number:.0f}")
        for name, (found, number) in scores.items()
    }
    speeds = speeds_in_turn(finders, len(crops.batch))
    for engine in engines:
        engine.close()
    return Comparison(
        title=f"{len(crops.batch)} easy crops",
        unit="crops",
        rows=rows(speeds, figures),
        references=[engine.name for engine in engines],
        columns=("found %", "number %"),
        missing=missing,
        note=NOTE,
    )


def _ours(engine: Engine, crops: EasyCrops) -> Finder:
    def find() -> list[Positions]:
        found = engine.read(engine.run(crops.batch), crops.batch)
        of = [found.crop == crop for crop in range(len(crops.batch))]
        return [(found.x[chosen], found.y[chosen]) for chosen in of]

    return find


def photutils_finders(crops: EasyCrops) -> dict[str, Finder]:
    """Stars found and fitted once, found in the residuals again, and fitted where told."""
    from astropy.table import QTable
    from photutils.detection import DAOStarFinder
    from photutils.psf import (
        CircularGaussianPRF,
        IterativePSFPhotometry,
        PSFPhotometry,
        SourceGrouper,
    )

    model, error = CircularGaussianPRF(fwhm=FWHM * SIGMA), np.full((SIZE, SIZE), NOISE)
    finder = DAOStarFinder(
        threshold=LEAST_SNR * NOISE,
        fwhm=FWHM * SIGMA,
        sharpness_range=ANY_SHAPE,
        roundness_range=ANY_SHAPE,
    )
    given: dict[str, Any] = {"grouper": SourceGrouper(TOGETHER), "aperture_radius": 2}
    once = PSFPhotometry(model, (SIZE, SIZE), finder=finder, **given)
    again = IterativePSFPhotometry(model, (SIZE, SIZE), finder=finder, mode="all", **given)
    told = PSFPhotometry(model, (SIZE, SIZE), **given)
    tables = [QTable({"x": x + TOLD_ERROR, "y": y + TOLD_ERROR}) for x, y in crops.true]

    def found_by(photometry: Any, starts: Sequence[Any]) -> Finder:
        return lambda: [
            _positions(photometry, pixels, error=error, init_params=start)
            for pixels, start in zip(crops.batch.pixels.astype(float), starts, strict=True)
        ]

    nothing = [None] * len(crops.batch)
    return {
        "DAOStarFinder + PSFPhotometry": found_by(once, nothing),
        "DAOStarFinder + IterativePSFPhotometry": found_by(again, nothing),
        f"PSFPhotometry told positions +{TOLD_ERROR:g} px": found_by(told, tables),
    }


def _positions(photometry: Any, pixels: Any, **given: Any) -> Positions:
    """What it fits to a crop, where the fit came to an end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fits that do not converge, and of crops without stars
        table = photometry(pixels, **given)
    if table is None:
        return np.empty(0), np.empty(0)
    x, y = np.asarray(table["x_fit"], float), np.asarray(table["y_fit"], float)
    ended = np.isfinite(x) & np.isfinite(y)
    return x[ended], y[ended]

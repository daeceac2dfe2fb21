"""A PSF of any form, recovered from spots that another program draws."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import integrate

from dscsnet.engines.array_types import Float
from dscsnet.pipeline.config import load_config
from dscsnet.pipeline.worker.engine_loading import sensor_of
from dscsnet.tools.calibration import other_form, report
from dscsnet.tools.calibration.fit import ALL, INTENSITY, SpotFits, X, Y
from dscsnet.tools.calibration.forms import (
    fill_forms,
    fill_image,
    make_forms,
    normal_matrix,
    sample,
)
from dscsnet.tools.calibration.mean_spot import mean_of_sampled
from dscsnet.tools.calibration.result import SampledFit, Windows
from dscsnet.tools.calibration.sampled import fit_sampled
from dscsnet.tools.calibration.sieve import FittedSpots
from dscsnet.tools.calibration.spots import MOST_HALF, Spots
from dscsnet.tools.robustness.render import Gaussian, Light, Moffat, stamps
from tests.tools.calibration.made_up import calibration_of

HALF, SIZE = 12, 25
MIDDLE = HALF


def coma(dx: Float, dy: Float) -> Float:
    """A star with a fainter one beside it, always at the same place: no symmetry is left."""
    main, ghost = Gaussian(0.7, 0.6, 20), Gaussian(0.8, 0.8)
    return 0.8 * main(dx, dy) + 0.2 * ghost(dx - 0.9, dy + 0.4)


def spots(light: Light, number: int, snr: float, seed: int = 1) -> tuple[Windows, Windows]:
    """Spots as they are begun with, a little wrong, and as they are."""
    random = np.random.default_rng(seed)
    x, y = MIDDLE + random.uniform(-0.5, 0.5, (2, number))
    counts = random.uniform(0.7, 1.5, number) * snr * 10 / 0.25
    _, _, shares = stamps(light, x, y, HALF + 1)
    left = np.rint(x).astype(int) - MIDDLE  # of windows that begin at the first pixel
    top = np.rint(y).astype(int) - MIDDLE
    values = np.array(
        [
            share[1 - j : 1 - j + SIZE, 1 - i : 1 - i + SIZE]
            for share, i, j in zip(shares, left, top, strict=True)
        ]
    )
    values = counts[:, None, None] * values + random.normal(0, 10, values.shape)
    values += 3 * np.arange(SIZE) - 20  # a background that is no level
    noise = np.full(number, 10.0)
    wrong = counts * random.uniform(0.8, 1.1, number)
    begin = Windows(values, noise, x + 0.05, y - 0.04, wrong)
    return begin, Windows(values, noise, x, y, counts)


def shape_error(fit: SampledFit, light: Light) -> float:
    """Of the light in a pixel anywhere near the core, over the greatest."""
    psf = fit.psf
    middle = len(psf.samples) // 2
    step = 1 / psf.oversampling
    places = np.arange(-2.0, 2.01, 0.25)
    found, true = [], []
    box = psf.oversampling // 2
    for y in places:
        for x in places:
            i, j = middle + round(y / step), middle + round(x / step)
            near = psf.samples[i - box : i + box + 1, j - box : j + box + 1]
            offsets = step * np.arange(-box, box + 1)
            exact = light(
                (j - middle) * step + offsets[None], (i - middle) * step + offsets[:, None]
            )
            found.append(near.mean())
            true.append(exact.mean())
    return float(np.abs(np.array(found) - true).max() / max(true))


@pytest.mark.parametrize(
    ("light", "snr", "most"),
    [
        (Moffat(1.65, 2.5), 100, 0.02),
        (Moffat(1.65, 2.5), 1000, 0.006),
        (Gaussian(0.9, 0.5, 30), 200, 0.02),
        (Moffat(2.8, 4), 200, 0.015),
    ],
)
def test_the_form_is_that_of_the_light(light: Light, snr: float, most: float) -> None:
    begin, true = spots(light, 80, snr)
    core = [0.6, 0.4, 0.22] if isinstance(light, Gaussian) else [0.6, 0.6, 0.0]
    fit = fit_sampled(begin, np.array(core), None)
    assert shape_error(fit, light) < most
    sigma = 1.5 / snr  # px, more than noise alone leaves of a place
    assert fit.spots.x - true.x == pytest.approx(0, abs=5 * sigma + 0.003)
    assert fit.spots.y - true.y == pytest.approx(0, abs=5 * sigma + 0.003)
    assert np.median(fit.spots.intensity / true.intensity) == pytest.approx(1, abs=0.015)
    left = (fit.spots.values - fit.light)[:, 2:-2, 2:-2]
    assert left.std() == pytest.approx(10, rel=0.1)


def test_a_form_without_symmetry_is_met_and_its_core_is_the_middle() -> None:
    begin, _ = spots(coma, 100, 300)
    fit = fit_sampled(begin, np.array([0.6, 0.45, 0.0]), None)
    psf = fit.psf
    y, x = (np.indices(psf.samples.shape) - len(psf.samples) // 2) / psf.oversampling
    near = psf.samples * np.exp(-0.5 * (x**2 + y**2) / math.sqrt(0.6 * 0.45))
    assert (near * x).sum() / near.sum() == pytest.approx(0, abs=1e-3)
    assert (near * y).sum() / near.sum() == pytest.approx(0, abs=1e-3)
    # The third moment along x is no mirror's.
    wide = psf.samples * (np.hypot(x, y) < 3)
    mean = (wide * x).sum() / wide.sum()
    skew = (wide * (x - mean) ** 3).sum() / wide.sum()
    grid = np.linspace(-3, 3, 121)
    light = coma(grid[None], grid[:, None]) * (np.hypot(grid[None], grid[:, None]) < 3)
    true_mean = (light * grid).sum() / light.sum()
    assert skew == pytest.approx((light * (grid - true_mean) ** 3).sum() / light.sum(), abs=0.03)


def test_the_stated_error_is_that_of_the_light() -> None:
    light = Moffat(1.65, 2.5)
    stated, seen = [], []
    for seed in range(4):
        begin, _ = spots(light, 40, 100, seed)
        fit = fit_sampled(begin, np.array([0.6, 0.6, 0.0]), None)
        stated.append(fit.psf.error)
        seen.append(shape_error(fit, light))
    # The greatest deviation near the core is some times the root mean square.
    assert 0.3 < np.mean(seen) / np.mean(stated) < 3


def test_pixels_that_are_not_known_do_not_count() -> None:
    begin, true = spots(Moffat(1.65, 2.5), 60, 200)
    begin.values[:, 3, 5] = np.nan
    begin.values[7, MIDDLE + 1, MIDDLE] = np.nan
    begin.values[9, 4:7, 4:7] += 5000  # a neighbour
    fit = fit_sampled(begin, np.array([0.6, 0.6, 0.0]), None)
    assert np.isfinite(fit.psf.samples).all()
    assert shape_error(fit, Moffat(1.65, 2.5)) < 0.02
    assert abs(fit.spots.x[9] - true.x[9]) < 0.05


def test_functions_are_integrated_over_pixels() -> None:
    forms = make_forms(np.array([0.5, 0.4, 0.1]), 6.0)
    design = np.empty((49, forms.number))
    fill_forms(3.2, 2.9, forms, design)
    random = np.random.default_rng(2)
    weights = random.normal(size=forms.number)
    image = np.empty((7, 7))
    fill_image(3.2, 2.9, forms, weights, image)
    np.testing.assert_allclose(image, (design @ weights).reshape(7, 7), rtol=1e-9, atol=1e-12)

    def light(y: float, x: float) -> float:
        return float(sample(np.array([x]), np.array([y]), forms, weights)[0])

    for row, column in ((3, 3), (2, 4), (5, 1)):
        exact, _ = integrate.dblquad(
            light,
            *(column - 3.2 - 0.5, column - 3.2 + 0.5, row - 2.9 - 0.5, row - 2.9 + 0.5),
            epsabs=1e-6,
        )
        assert image[row, column] == pytest.approx(exact, abs=0.02)


def test_a_normal_matrix_is_that_of_weighted_columns() -> None:
    random = np.random.default_rng(0)
    columns = random.normal(size=(30, 6)) * (random.random((30, 6)) < 0.4)
    weight = random.uniform(0, 2, 30) * (random.random(30) < 0.8)
    expected = columns.T @ (weight[:, None] * columns)
    np.testing.assert_allclose(normal_matrix(columns, weight), expected, atol=1e-12)


def test_samples_are_written_beside_the_configuration(tmp_path: Path) -> None:
    begin, _ = spots(Moffat(1.65, 2.5), 40, 300)
    fit = fit_sampled(begin, np.array([0.6, 0.6, 0.0]), None)
    path = tmp_path / "node.yaml"
    report.write_configuration(path, calibration_of(sampled=fit))
    engine = load_config(path).engine
    assert engine.psf_file == str(tmp_path / "node.psf.npy")
    assert engine.psf_oversampling == fit.psf.oversampling
    sensor = sensor_of(engine)
    assert sensor is not None
    assert sensor.is_tabled
    rows = {row[0]: row[1:] for row in report._sampled_rows(calibration_of(sampled=fit))}
    assert rows["form"][0] == "sampled"


def stars(number: int = 60, clear: int = 30) -> tuple[Spots, FittedSpots]:
    """Spots of a recording, and the fits of all of them with Gaussians."""
    begin, _ = spots(Moffat(1.65, 2.5), number, 300)
    side = 2 * MOST_HALF + 1
    windows = np.full((number, side, side), np.nan)
    inner = slice(MOST_HALF - HALF, MOST_HALF + HALF + 1)
    windows[:, inner, inner] = begin.values
    zeros = np.zeros(number, np.int64)
    clearance = np.full(number, clear)
    clearance[number // 2 :] = 7
    found = Spots(
        windows, zeros, zeros, zeros, begin.intensity, clearance, zeros > 0, np.arange(number)
    )
    rows = np.zeros((number, ALL))
    rows[:, X], rows[:, Y] = begin.x - MIDDLE, begin.y - MIDDLE
    rows[:, INTENSITY] = begin.intensity
    none = np.zeros((number, ALL, ALL))
    fits = SpotFits(rows, none, none[0], zeros, zeros == 0)
    pixels = begin.values[:, HALF - 6 : HALF + 7, HALF - 6 : HALF + 7]
    return found, FittedSpots(pixels, begin.noise, pixels, fits, zeros, np.arange(number))


CORE = np.array([0.6, 0.6, 0.0])


def test_a_form_is_told_where_the_gaussian_misses_more_than_it() -> None:
    found, fitted = stars()
    fit = other_form.another_form(found, fitted, CORE, 0.06, None)
    assert fit is not None
    assert other_form._explained(fit, None) > 0.9
    # Of half of the spots neighbours are too near for wide windows: 30 are not enough of 60.
    assert fit.light.shape == (60, 13, 13)
    mean = mean_of_sampled(fit, 2.0)
    assert mean.misfit < 0.03
    assert np.nanmax(mean.model) == pytest.approx(np.nanmax(mean.observed), rel=0.03)


def test_windows_are_as_wide_as_most_neighbours_allow() -> None:
    found, fitted = stars(100, 14)
    windows = other_form._windows(found, fitted)
    # Forty and more are clear: they alone are taken, the brightest first.
    assert windows.values.shape == (50, 25, 25)
    assert (np.diff(windows.intensity) <= 0).all()
    assert np.nanmedian(windows.values[0]) == pytest.approx(0, abs=30)


@pytest.mark.parametrize(
    ("error", "left", "explained", "taken"),
    [
        (0.019, 0.019, 0.5, True),
        (0.021, 0.0, 1.0, False),
        (0.0, 0.021, 1.0, False),
        (0.0, 0.0, 0.49, False),
    ],
)
def test_a_form_must_err_miss_and_leave_little(
    monkeypatch: pytest.MonkeyPatch, error: float, left: float, explained: float, taken: bool
) -> None:
    """Each less than half of the Gaussian's 4 %, and most spots explained."""
    fit = SimpleNamespace(psf=SimpleNamespace(error=error))
    monkeypatch.setattr(other_form, "_windows", lambda *_: None)
    monkeypatch.setattr(other_form, "fit_sampled", lambda *_: fit)
    mean = SimpleNamespace(rms_misfit=left)
    monkeypatch.setattr(other_form, "mean_of_sampled", lambda *_: mean)
    monkeypatch.setattr(other_form, "_explained", lambda *_: explained)
    nothing: Any = None
    found = other_form.another_form(nothing, nothing, CORE, 0.04, None)
    assert (found is fit) == taken


def test_a_gaussian_that_misses_little_stays() -> None:
    nothing: Any = None
    misfit = other_form.MOST_MISFIT
    assert other_form.another_form(nothing, nothing, CORE, misfit, None) is None

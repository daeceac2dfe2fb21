"""What the engine without weights makes of its settings and of the fits' columns."""

import math
from typing import Any

import numpy as np
import pytest

from dscsnet.engines.engine import CropBatch
from dscsnet.engines.estimates import Doubt, Estimates
from dscsnet.engines.fitting.orders import OrderOptions
from dscsnet.engines.psf_fit import PsfFitEngine
from dscsnet.engines.psf_fit_settings import PsfFitSettings
from dscsnet.engines.sensor import Sensor

MOST = 3


def test_settings_become_options() -> None:
    expected = OrderOptions(2, 20, 1e-2, 4.5, 3.0, 1e-4, 0.0)
    assert PsfFitEngine()._options == expected
    told = PsfFitSettings(
        crop_size=9, reach=2.0, target_penalty=1.0, background_prior=10.0, width_prior=0.1
    )
    found = PsfFitEngine(told)
    assert found._options == expected._replace(
        reach=2.0, target_penalty=1.0, plane_precision=0.01, width_precision=pytest.approx(100.0)
    )
    assert (found.grid.crop_size, found.grid.field_size, found.grid.upsampling) == (9, 9, 1)
    table = PsfFitSettings(sigma_x=0.5, sigma_y=0.7, angle=10.0, width_prior=0.1)
    assert PsfFitEngine(table)._options.width_precision == pytest.approx(100.0)
    y, x = np.mgrid[-500:501, -500:501] / 16
    long = np.exp(-0.5 * ((x / 5) ** 2 + (y / 0.4) ** 2))
    sampled = PsfFitEngine(PsfFitSettings(oversampling=16, width_prior=0.1), long)
    assert sampled._options.width_precision == 0.0  # a large table has one width, which is held


def test_draws_are_those_of_the_seed() -> None:
    settings = PsfFitSettings(seed=4, starts=2, most=MOST)
    expected = np.random.default_rng(4).normal(size=(2, MOST, 3))
    np.testing.assert_array_equal(PsfFitEngine(settings)._draws, expected)


def test_a_gaussian_is_told_by_its_widths() -> None:
    assert PsfFitEngine.for_sensor(None).psf == (0.5, 0.5)
    assert PsfFitEngine.for_sensor(Sensor.gaussian(0.6, 0.7)).psf == (0.6, 0.7)
    assert PsfFitEngine(PsfFitSettings(sigma_x=0.6)).psf == (0.6, 0.6)
    assert PsfFitEngine(PsfFitSettings(sigma_x=0.6, angle=30.0)).psf == (0.6, 0.6)
    y, x = np.mgrid[-16:17, -16:17] / 4
    samples = np.exp(-0.5 * ((x / 0.6) ** 2 + (y / 0.8) ** 2))
    sampled = PsfFitEngine(PsfFitSettings(oversampling=4), samples)
    assert sampled.psf == pytest.approx((0.6, 0.8), rel=1e-3)


def outputs(number: int) -> dict[str, Any]:
    """Fits of no target, of every crop."""
    return {
        "targets": np.zeros(number),
        "slots": np.full((6, number, MOST), np.nan),
        "covariance_xy": np.full((number, MOST), np.nan),
        "chi2": np.ones(number),
        "psf_factor": np.full(number, np.nan),
        "sigma_psf_factor": np.full(number, np.nan),
        "probability": np.tile([1.0, 0, 0, 0], (number, 1)),
    }


def read(given: dict[str, Any], **settings: Any) -> Estimates:
    engine = PsfFitEngine(PsfFitSettings(most=MOST, **settings))
    number = len(given["targets"])
    batch = CropBatch(
        np.zeros((number, 11, 11), np.float32),
        np.ones((number, 11, 11), bool),
        np.ones(number, np.float32),
        np.full((number, 2), 0.5, np.float32),
    )
    return engine.read(given, batch)


def test_targets_come_by_their_score() -> None:
    given = outputs(2)
    given["targets"][1] = 2
    given["probability"][1] = 0.1, 0.2, 0.4, 0.3
    given["slots"][:, 1, :2] = [[2, 6], [3, 7], [4, 5], [0.1, 0.05], [0.2, 0.1], [0.3, 0.2]]
    found = read(given)
    assert found.crop.tolist() == [1, 1]
    assert (found.x.tolist(), found.y.tolist()) == ([6, 2], [7, 3])
    variance = np.array([(0.05**2 + 0.1**2) / 2, (0.1**2 + 0.2**2) / 2]) + 0.04**2
    # The brighter by its significance is there with one target or more, the other with two.
    expected = 0.0625 / (0.0625 + 2 * variance) * [0.9, 0.7]
    np.testing.assert_allclose(found.score, expected)
    np.testing.assert_allclose(found.intensity, np.exp([5, 4]))
    np.testing.assert_allclose(found.sigma_intensity, np.exp([5, 4]) * [0.2, 0.3])
    assert (found.sigma_x.tolist(), found.sigma_y.tolist()) == ([0.05, 0.1], [0.1, 0.2])
    np.testing.assert_allclose(found.occupied, [0, 0.9])
    # Of more than the most nothing is tried.
    np.testing.assert_allclose(found.probability, [[1, 0, 0, 0, 0], [0.1, 0.2, 0.4, 0.3, 0]])
    np.testing.assert_allclose(found.certainty, [1, 0.4])
    assert found.likely.all()
    given["slots"][5, 1, :2] = 0.2, 0.3
    changed = read(given)
    np.testing.assert_allclose(np.sort(changed.score), np.sort(expected / [0.9, 0.7] * [0.7, 0.9]))


def test_reasons_for_doubt_begin_at_their_limits() -> None:
    given = outputs(8)
    given["chi2"][:3] = 3.0, 3.01, np.nan
    given["targets"][3:5] = MOST - 1, MOST
    given["slots"][:] = 1.0
    given["probability"][5] = 0.0
    given["sigma_psf_factor"][6:] = 0.02
    given["psf_factor"][6:] = 1.17, 1.18  # of which 2 * 0.02 / 1.17 + 0.12 is ln 1.167...
    limit = 0.12 + 2 * 0.02 / given["psf_factor"]
    assert (np.log(given["psf_factor"][6:]) > limit[6:]).tolist() == [True, True]
    given["psf_factor"][6] = 1.16
    found = read(given)
    assert found.doubt.tolist() == [
        *(0, Doubt.MISFIT, 0, 0, Doubt.CROWDED, Doubt.NO_RESULT, 0, Doubt.PSF),
    ]
    assert np.isnan(found.occupied[5])
    assert np.isnan(found.probability).all(1).tolist() == [False] * 5 + [True] + [False] * 2
    given["psf_factor"][6:] = 1 / 1.16, 1 / 1.2  # too narrow
    assert read(given).doubt[6:].tolist() == [0, Doubt.PSF]
    assert read(given, max_chi2=2.99).doubt[0] == Doubt.MISFIT


def test_of_an_ellipse_the_widths_are_those_along_the_image() -> None:
    assert PsfFitEngine(PsfFitSettings(sigma_x=0.5, sigma_y=0.9, angle=90.0)).psf == (
        pytest.approx((0.9, 0.5))
    )
    turned = PsfFitEngine(PsfFitSettings(sigma_x=0.5, sigma_y=0.9, angle=45.0)).psf
    assert turned == pytest.approx((math.sqrt((0.25 + 0.81) / 2),) * 2)


def test_of_two_wrong_widths_the_first_is_told() -> None:
    for value in (-1.0, 1e3):
        with pytest.raises(ValueError, match=r"^sigma_x must be"):
            PsfFitSettings(sigma_x=value, sigma_y=value)

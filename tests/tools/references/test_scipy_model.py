"""The crop's model at its limits: noise, starts, a covariance that is singular."""

import math

import numpy as np
import pytest

from dscsnet.tools.references import scipy_model as module
from dscsnet.tools.references.scipy_fit import _light, _split
from dscsnet.tools.references.scipy_model import PLANE, CropModel, Fit

PSF = np.array([0.6, 0.7])
ALL = np.ones((11, 11), bool)


def model_of(pixels: np.ndarray, noise: float = 1.0, usable: np.ndarray = ALL) -> CropModel:
    return CropModel(pixels, usable, noise, PSF)


@pytest.mark.parametrize(
    ("noise", "brightest", "expected"),
    [(2.0, 500.0, 2.0), (1e-9, 500.0, 5e-3), (math.nan, 500.0, 5.0), (math.inf, 0.0, 1e-2)],
)
def test_noise_is_believed_unless_too_small_or_unknown(
    noise: float, brightest: float, expected: float
) -> None:
    pixels = np.zeros((11, 11))
    pixels[3, 4] = -brightest
    assert model_of(pixels, noise).noise == pytest.approx(expected)


def test_intensities_are_bounded() -> None:
    values = np.array([0, 0, 0, 5, 5, math.log(7), 5, 5, 800.0])
    np.testing.assert_allclose(module._intensity(values), [7, 1e10])


def test_a_target_at_the_peak_of_what_is_left() -> None:
    model = model_of(np.zeros((11, 11)))
    light = model.image(model.residual(np.array([0, 0, 0, 7.0, 4.0, math.log(90)])))
    np.testing.assert_allclose(model.peak(light), [7, 4, math.log(90)], rtol=0.02)
    assert model.peak(np.zeros((11, 11)))[2] == pytest.approx(math.log(3))
    half = ALL.copy()
    half[:, :6] = False
    assert model_of(np.zeros((11, 11)), usable=half).peak(light * half)[0] == 7


@pytest.mark.parametrize(("misfit", "wider"), [(50.0, 1.0), (345.0, 3.0)])
def test_a_covariance_is_the_inverse_and_wider_where_the_fit_is_bad(
    misfit: float, wider: float
) -> None:
    model = model_of(np.zeros((11, 11)))
    fit = Fit(np.array([0, 0, 0, 5.2, 4.8, math.log(50)]), misfit, 0.0)
    assert model.chi2(fit) == pytest.approx(misfit / (121 - 6))
    jacobian = model.jacobian(fit.values)
    expected = wider * np.linalg.inv(jacobian.T @ jacobian)
    np.testing.assert_allclose(model.covariance(fit), expected, rtol=1e-6, atol=1e-12)


def test_an_unknown_that_nothing_tells_leaves_the_covariance_finite() -> None:
    model = model_of(np.zeros((11, 11)))
    far = Fit(np.array([0, 0, 0, 500.0, 500.0, 1.0]), 100.0, 0.0)
    covariance = model.covariance(far)
    assert np.isfinite(covariance).all()
    assert covariance[PLANE, PLANE] == pytest.approx(1e12)


def test_where_what_is_left_is_bright() -> None:
    left = np.full((11, 11), 1.5)
    left[3, 4], left[5, 4] = 12.0, 22.0
    np.testing.assert_allclose(_light(left), [4, (3 * 10 + 5 * 20) / 30, 30], rtol=1e-6)


def test_the_brightest_target_is_split_along_what_it_leaves() -> None:
    targets = np.array([[2.0, 8.0, 1.0], [5.0, 4.0, 3.0]])
    for row, column, way in ((4, 7, (1, 0)), (6, 5, (0, 1)), (5, 6, (1, 1))):
        left = np.zeros((11, 11))
        left[row, column] = left[8 - row, 10 - column] = 1.0
        left[0, 0] = 50.0  # too far
        found = _split(targets, left)
        step = 0.35 * np.array(way) / np.hypot(*way)
        np.testing.assert_allclose(found[0], targets[0])
        np.testing.assert_allclose(
            found[1:, :2], np.array([5, 4]) + np.array([-step, step]), atol=1e-12
        )
        np.testing.assert_allclose(found[1:, 2], 3 - math.log(2))

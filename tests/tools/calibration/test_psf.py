"""Shapes, covariances and axes of a PSF against differences and SciPy."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from dscsnet.tools.calibration.psf import (
    Ellipse,
    covariance_jacobians,
    covariances,
    ellipse,
    normal_tail,
    shape_of,
)

SHAPES = np.array([[-0.6, -0.4, 0.3], [0.2, 0.1, -0.5], [0.0, 0.0, 0.0]])


def test_the_covariance_of_a_leaning_spot() -> None:
    """Light at x = narrow * u + lean * y, y = sigma * v, of independent u and v."""
    for shape, found in zip(SHAPES, covariances(SHAPES), strict=True):
        narrow, sigma, lean = math.exp(shape[0]), math.exp(shape[1]), shape[2]
        mixing = np.array([[narrow, lean * sigma], [0, sigma]])
        matrix = mixing @ mixing.T
        np.testing.assert_allclose(found, [matrix[0, 0], matrix[1, 1], matrix[0, 1]])
        np.testing.assert_allclose(shape_of(found), shape, atol=1e-12)


def test_derivatives_of_the_covariance_are_those_of_differences() -> None:
    step = 1e-6
    jacobians = covariance_jacobians(SHAPES)
    for number in range(3):
        moved = np.eye(3)[number] * step
        slopes = (covariances(SHAPES + moved) - covariances(SHAPES - moved)) / (2 * step)
        np.testing.assert_allclose(jacobians[:, :, number], slopes, atol=1e-8)


@pytest.mark.parametrize("angle", [-80.0, -30.0, 0.0, 20.0, 45.0, 89.0, 90.0])
def test_axes_of_a_turned_ellipse(angle: float) -> None:
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    matrix = turn @ np.diag([0.9**2, 0.4**2]) @ turn.T
    found = ellipse(np.array([matrix[0, 0], matrix[1, 1], matrix[0, 1]]))
    assert found == pytest.approx(Ellipse(0.9, 0.4, angle))


def test_what_has_no_width_across_is_no_error_whatever_the_rounding() -> None:
    random = np.random.default_rng(0)
    for x, y in random.uniform(0.1, 3, (3000, 2)):
        found = ellipse(np.array([x * x, y * y, x * y]))
        assert found.long == pytest.approx(math.hypot(x, y))
        assert 0 <= found.short < 1e-6 * found.long


def test_the_tail_of_a_normal() -> None:
    values = np.linspace(-4, 4, 41)
    np.testing.assert_allclose(normal_tail(values), norm.sf(values), atol=1e-15)

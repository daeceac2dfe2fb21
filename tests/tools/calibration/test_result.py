"""Axes of a PSF and their errors against NumPy's eigenvalues and differences."""

import math

import numpy as np
import pytest
from scipy.stats import chi2

from dscsnet.tools.calibration.result import ELLIPTICAL, CalibrationSettings, Psf

ERROR = 1e-6 * np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -0.4], [0.5, -0.4, 2.0]])


def psf_of(xx: float, yy: float, xy: float, error: np.ndarray = ERROR) -> Psf:
    return Psf(np.array([xx, yy, xy]), error, 0.0, 0.0)


def axes_of(covariance: np.ndarray) -> np.ndarray:
    """Long and short deviation and the angle of the long axis, degrees, by eigenvectors."""
    xx, yy, xy = covariance
    values, vectors = np.linalg.eigh([[xx, xy], [xy, yy]])
    x, y = vectors[:, 1] * (1 if vectors[0, 1] >= 0 else -1)
    return np.array([*np.sqrt(values[::-1]), math.degrees(math.atan2(y, x))])


def by_differences(covariance: np.ndarray) -> np.ndarray:
    """Errors of the axes, by the derivatives of each with the covariance's elements."""
    step = 1e-6
    slopes = [
        (axes_of(covariance + each) - axes_of(covariance - each)) / (2 * step)
        for each in step * np.eye(3)
    ]
    return np.sqrt(np.einsum("ai,ab,bi->i", slopes, ERROR, slopes))


@pytest.mark.parametrize(
    "elements", [(0.5, 0.3, 0.05), (0.3, 0.5, 0.05), (0.4, 0.35, -0.1), (0.36, 0.25, 0.0)]
)
def test_axes_and_errors_of_an_ellipse(elements: tuple[float, float, float]) -> None:
    psf = psf_of(*elements)
    assert psf.elliptical
    np.testing.assert_allclose(psf.axes, axes_of(psf.covariance))
    np.testing.assert_allclose(psf.axes_error, by_differences(psf.covariance), rtol=1e-4)


def test_deviations_along_the_frame() -> None:
    psf = psf_of(0.36, 0.25, 0.01)
    assert psf.sigma == pytest.approx((0.6, 0.5))
    # d sqrt(v) is dv / (2 sqrt(v)).
    assert psf.sigma_error == pytest.approx((2e-3 / 1.2, math.sqrt(3) * 1e-3 / 1.0))


def test_a_circle_has_one_width_and_no_angle() -> None:
    psf = psf_of(0.2501, 0.2499, 0.0)
    assert not psf.elliptical
    assert psf.axes[:2] == pytest.approx((0.5, 0.5))
    # The mean of both variances has half of the root of the sum of all four elements.
    error = 0.5 * math.sqrt((4 + 3 + 2 * 1) * 1e-6) / (2 * 0.5)
    assert psf.axes_error[:2] == pytest.approx((error, error))
    assert math.isnan(psf.axes.angle)
    assert math.isnan(psf.axes_error.angle)


@pytest.mark.parametrize("axis", [(0.5, -0.5, 0.0), (0.0, 0.0, 1.0)])
def test_one_circle_of_a_thousand_is_taken_for_an_ellipse(axis: tuple[float, ...]) -> None:
    assert pytest.approx(chi2.isf(1e-3, 2), abs=0.02) == ELLIPTICAL
    error = 1e-6 * np.eye(3)
    # Half the difference of two variances has half the variance of each.
    sigma = math.sqrt(0.5e-6 if axis[0] else 1e-6)
    for factor, expected in ((0.99, False), (1.01, True)):
        away = np.array(axis) * sigma * math.sqrt(ELLIPTICAL) * factor * (2 if axis[0] else 1)
        # A stretch of s moves xx by s and yy by -s, and half their difference by s.
        xx, yy, xy = np.array([0.25, 0.25, 0.0]) + away
        assert psf_of(xx, yy, xy, error).elliptical == expected


def test_settings_are_those_of_the_command_unless_told() -> None:
    assert CalibrationSettings() == CalibrationSettings(300, 15.0, None, None)

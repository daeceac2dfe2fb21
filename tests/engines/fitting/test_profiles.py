"""Profiles of a Gaussian over pixels, against SciPy."""

import numpy as np
import pytest
from scipy.special import ndtr

from tests.engines.plain import plain

profiles = plain("profiles")


def test_the_normal_distribution_is_that_of_scipy() -> None:
    values = np.append(np.linspace(-8.2, 8.2, 400), [-8, 8, -7.9999, 7.9999, 7.95, 0.0625])
    found = np.array([profiles.normal(value) for value in values])
    np.testing.assert_allclose(found[:, 0], ndtr(values), atol=1e-10)
    density = np.exp(-0.5 * values**2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(found[:, 1], density, atol=1e-9)


def test_nothing_is_beyond_the_reach() -> None:
    assert profiles.normal(-8.0) == profiles.normal(-9.0) == profiles.normal(-np.inf) == (0, 0)
    assert profiles.normal(8.0) == profiles.normal(9.0) == profiles.normal(np.inf) == (1, 0)


@pytest.mark.parametrize(("first", "last"), [(0, 8), (2, 5), (3, 3)])
def test_shares_and_derivatives_are_those_of_differences(first: int, last: int) -> None:
    def share(position: float, log_sigma: float) -> np.ndarray:
        edges = np.arange(first, last + 2) - 0.5
        return np.diff(ndtr((edges - position) / np.exp(log_sigma)))

    out, position, log_sigma, step = np.full((3, 9), 7.0), 3.7, np.log(0.8), 1e-6
    profiles.fill_profile(position, 0.8, first, last, out)
    here = slice(first, last + 1)
    np.testing.assert_allclose(out[0, here], share(position, log_sigma), atol=1e-10)
    moved = share(position + step, log_sigma) - share(position - step, log_sigma)
    widened = share(position, log_sigma + step) - share(position, log_sigma - step)
    np.testing.assert_allclose(out[1, here], moved / (2 * step), atol=1e-8)
    np.testing.assert_allclose(out[2, here], widened / (2 * step), atol=1e-8)
    out[:, here] = 7
    assert (out == 7).all()

"""Targets drawn by quadrature, against SciPy's integrals and closed forms."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import integrate, special

from dscsnet.engines.imaging import render
from dscsnet.tools.robustness.render import REACH, Airy, Gaussian, Moffat, add, stamps

LIGHTS: dict[str, Any] = {
    "round": Gaussian(0.7, 0.7),
    "turned": Gaussian(1.0, 0.5, 20.0),
    "moffat": Moffat(1.6, 2.5),
    "airy": Airy(2.0),
}


@pytest.mark.parametrize("name", LIGHTS)
def test_a_pixels_share_is_the_integral_over_it(name: str) -> None:
    light, x, y = LIGHTS[name], 30.3, 41.9
    left, top, shares = stamps(light, np.array([x]), np.array([y]))
    assert (left[0], top[0]) == (30 - REACH, 42 - REACH)
    assert shares.shape == (1, 2 * REACH + 1, 2 * REACH + 1)
    for column, row in ((30, 42), (31, 41), (28, 43), (30, 38)):
        expected, _ = integrate.dblquad(
            lambda v, u: float(light(np.array(u - x), np.array(v - y))),
            *(column - 0.5, column + 0.5, row - 0.5, row + 0.5),
            epsabs=1e-9,
        )
        found = shares[0, row - top[0], column - left[0]]
        assert found == pytest.approx(expected, abs=2e-7)


def test_an_upright_gaussian_is_that_of_the_engines() -> None:
    image = np.zeros((30, 40))
    add(image, Gaussian(0.6, 0.9), *np.array([[12.3, 25.0], [10.9, 20.4], [500.0, 70.0]]))
    expected = render([12.3, 25.0], [10.9, 20.4], [500.0, 70.0], (30, 40), 0.6, 0.9)
    np.testing.assert_allclose(image, expected, atol=1e-5)


@pytest.mark.parametrize("angle", [0.0, 35.0, 120.0])
def test_the_major_axis_is_turned_from_x_towards_y(angle: float) -> None:
    light, turn = Gaussian(0.9, 0.5, angle), math.radians(angle)
    along = np.array([math.cos(turn), math.sin(turn)])
    across = np.array([-math.sin(turn), math.cos(turn)])
    peak = float(light(np.zeros(1), np.zeros(1))[0])
    assert peak == pytest.approx(1 / (2 * math.pi * 0.45))
    for axis, sigma in ((along, 0.9), (across, 0.5)):
        one = float(light(*(sigma * axis[:, None]))[0])
        assert one == pytest.approx(math.exp(-0.5) * peak)
    wider = light.scaled(1.5)
    assert (wider.major, wider.minor, wider.angle) == pytest.approx((1.35, 0.75, angle))


@pytest.mark.parametrize("name", LIGHTS)
def test_all_light_is_one(name: str) -> None:
    """Summed in rings; beyond 200 px the Airy pattern still has 0.2 % of its light."""

    def ring(radius: float) -> float:
        angles = np.linspace(0, 2 * math.pi, 64, endpoint=False)
        values = LIGHTS[name](radius * np.cos(angles), radius * np.sin(angles))
        return float(2 * math.pi * radius * values.mean())

    radius = np.linspace(0, 200, 200_001)
    total = integrate.simpson([ring(r) for r in radius[:20_001]], x=radius[:20_001])
    at_20 = {"moffat": 1 - (1 + (20 / alpha(1.6, 2.5)) ** 2) ** -1.5, "airy": encircled(20.0, 2.0)}
    assert total == pytest.approx(at_20.get(name, 1.0), abs=1e-5)


def alpha(fwhm: float, beta: float) -> float:
    return fwhm / 2 / math.sqrt(2 ** (1 / beta) - 1)


def encircled(radius: float, first_dark: float) -> float:
    """Share of an Airy pattern within a radius: Lord Rayleigh's 1 - J0² - J1²."""
    place = special.jn_zeros(1, 1)[0] * radius / first_dark
    return float(1 - special.j0(place) ** 2 - special.j1(place) ** 2)


def test_shapes_are_those_of_their_definitions() -> None:
    moffat, airy = Moffat(1.6, 2.5), Airy(2.0)
    zero, half = np.zeros(1), np.full(1, 0.8)
    assert moffat(half, zero) == pytest.approx(moffat(zero, zero) / 2)
    assert airy(np.full(1, 2.0), zero) == pytest.approx(0, abs=1e-8)  # the first dark ring
    assert airy(zero, np.full(1, 1.9)) > 0
    assert np.isfinite(airy(zero, zero)).all()


def test_what_lies_beyond_the_image_is_left_out() -> None:
    whole, part = np.zeros((60, 60)), np.zeros((20, 25))
    light, flux = Gaussian(0.8, 0.6, 30), np.array([100.0, 50.0, 70.0, 30.0])
    x, y = np.array([-0.4, 24.3, 12.0, -40.0]), np.array([3.0, 19.4, -0.7, 5.0])
    add(whole, light, x + 20, y + 20, flux)
    add(part, light, x, y, flux)
    np.testing.assert_allclose(part, whole[20:40, 20:45], atol=1e-12)

"""What networks are given of a crop whose PSF they do not know."""

from typing import Any

import numpy as np
import pytest

from dscsnet.engines.engine import CropBatch
from dscsnet.engines.network_view import seen_by_network, seen_psf
from dscsnet.engines.noise_model import NO_LIGHT_NOISE
from dscsnet.engines.sensor import Sensor
from dscsnet.tools.robustness.render import Gaussian, add

SIZE, CENTER = 25, 12


def batch_of(sensor: Sensor, pixels: Any, noise: float = 3.0) -> CropBatch:
    number = len(pixels)
    psf = np.tile(np.array(sensor.psf, np.float32), (number, 1))
    usable, sigma = np.ones(pixels.shape, bool), np.full(number, noise, np.float32)
    return CropBatch(pixels.astype(np.float32), usable, sigma, psf, sensor)


def star(major: float, minor: float, angle: float) -> Any:
    """One star of 1000 counts off a pixel's centre, by quadrature."""
    image = np.zeros((1, SIZE, SIZE))
    place = [np.array([CENTER + shift]) for shift in (0.3, -0.2)]
    add(image[0], Gaussian(major, minor, angle), *place, np.array([1000.0]))
    return image


def moments(image: Any) -> tuple[float, Any]:
    """Sum, and the covariance matrix of the light less that of a pixel, px squared."""
    light, (y, x) = image.sum(), np.indices(image.shape)
    x, y = (axis - (image * axis).sum() / light for axis in (x, y))
    second = [[(image * a * b).sum() / light for a in (x, y)] for b in (x, y)]
    return light, np.array(second) - np.eye(2) / 12


@pytest.mark.parametrize("angle", [20.0, 45.0, 60.0, 110.0, 135.0, 170.0])
@pytest.mark.parametrize(("major", "minor"), [(0.8, 0.6), (1.0, 0.65)])
def test_a_turned_psf_is_upright_to_the_network(major: float, minor: float, angle: float) -> None:
    """Second moments: no covariance is left, and the widths are those told.

    As far as a star's moments are known of whole pixels: to 8e-4 px squared.
    """
    sensor = Sensor.gaussian(major, minor, angle, noise_model=NO_LIGHT_NOISE)
    batch = batch_of(sensor, star(major, minor, angle))
    before, leaning = moments(batch.pixels[0].astype(float))
    assert leaning[0, 1] == pytest.approx(sensor.covariance_xy, abs=8e-4)
    given = seen_by_network(batch)
    light, upright = moments(given["crops"][0].astype(float))
    assert light == pytest.approx(before, rel=1e-5)
    assert upright[0, 1] == pytest.approx(0, abs=8e-4)
    told = given["psf_sigma"][0].astype(float) ** 2
    np.testing.assert_allclose(np.diag(upright), told, atol=8e-4)
    np.testing.assert_array_equal(seen_psf(batch), given["psf_sigma"])
    assert (told > np.square(sensor.psf)).all()  # it is wider than it was
    assert given["crops"].dtype == given["noise"].dtype == given["psf_sigma"].dtype == np.float32
    assert given["crops"].flags.c_contiguous


@pytest.mark.parametrize("angle", [30.0, 150.0])
def test_the_noise_of_spread_light_is_told(angle: float) -> None:
    """Of pixels, each for itself: neighbours share some of it, which nobody can tell a network."""
    sensor = Sensor.gaussian(0.8, 0.6, angle, noise_model=NO_LIGHT_NOISE)
    pixels = 3 * np.random.default_rng(0).normal(size=(400, 11, 11))
    batch = batch_of(sensor, pixels)
    given = seen_by_network(batch)
    inner = given["crops"][:, 1:-1, 1:-1]
    peak = pixels.max((1, 2)) / 500  # the brightest pixel's own error, which is next to nothing
    assert inner.std() == pytest.approx(np.sqrt(given["noise"] ** 2 - peak**2).mean(), rel=0.02)
    assert inner.std() < 2.9


@pytest.mark.parametrize("sensor", [Sensor.gaussian(0.8, 0.6), Sensor.gaussian(0.8, 0.6, 90.0)])
def test_what_is_upright_is_given_as_it_is(sensor: Sensor) -> None:
    pixels = np.random.default_rng(1).normal(size=(3, 11, 11))
    batch = batch_of(sensor, pixels)
    given = seen_by_network(batch)
    np.testing.assert_array_equal(given["crops"], batch.pixels)
    np.testing.assert_array_equal(given["psf_sigma"], batch.psf)
    expected = sensor.noise_model.at_peak(batch.pixels, batch.usable, batch.noise)
    np.testing.assert_array_equal(given["noise"], expected)


def test_next_to_no_covariance_is_none() -> None:
    sensor = Sensor.gaussian(0.7, 0.7005, 45.0)
    assert sensor.is_tabled
    found = seen_psf(batch_of(sensor, np.zeros((1, 5, 5))))
    np.testing.assert_allclose(found, [sensor.psf], rtol=1e-6)

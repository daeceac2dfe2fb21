"""A sensor's PSF: its widths, what leans, and what is refused."""

import math

import numpy as np
import pytest

from dscsnet.engines.errors import ModelError
from dscsnet.engines.noise_model import NoiseModel
from dscsnet.engines.sensor import Sensor

NOISE = NoiseModel(2.0, 0.01)


@pytest.mark.parametrize(
    ("angle", "psf"),
    [*((turn, (0.8, 0.6)) for turn in (0, 180, -180, 540)), *((t, (0.6, 0.8)) for t in (90, -90))],
)
def test_a_gaussian_along_the_axes_needs_no_table(angle: float, psf: tuple[float, float]) -> None:
    sensor = Sensor.gaussian(0.8, 0.6, angle, noise_model=NOISE)
    assert sensor.psf == psf
    assert sensor.covariance_xy == 0
    assert not sensor.is_tabled
    assert sensor.noise_model == NOISE


@pytest.mark.parametrize("angle", [30.0, 45.0, 120.0, -20.0, 210.0])
def test_a_turned_one_has_the_covariance_of_a_rotated_matrix(angle: float) -> None:
    turn = math.radians(angle)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    (xx, xy), (_, yy) = rotation @ np.diag([0.8**2, 0.6**2]) @ rotation.T
    sensor = Sensor.gaussian(0.8, 0.6, angle, noise_model=NOISE)
    assert sensor.psf == pytest.approx((math.sqrt(xx), math.sqrt(yy)))
    assert sensor.covariance_xy == pytest.approx(xy)
    assert sensor.is_tabled
    assert sensor.noise_model == NOISE
    # Half a turn changes nothing, a quarter turn mirrors what leans.
    assert Sensor.gaussian(0.8, 0.6, angle + 180).covariance_xy == pytest.approx(xy)
    assert Sensor.gaussian(0.6, 0.8, angle + 90).covariance_xy == pytest.approx(xy)


def test_a_round_gaussian_is_not_turned() -> None:
    for sensor in (Sensor.gaussian(0.7), Sensor.gaussian(0.7, 0.7, 33.0)):
        assert (sensor.psf, sensor.covariance_xy, sensor.is_tabled) == ((0.7, 0.7), 0, False)


def test_samples_give_table_widths_and_covariance() -> None:
    turn, axis = math.radians(30), np.arange(-40, 41) / 8
    along = math.cos(turn) * axis[None] + math.sin(turn) * axis[:, None]
    across = math.cos(turn) * axis[:, None] - math.sin(turn) * axis[None]
    samples = 7 * np.exp(-0.5 * ((along / 0.8) ** 2 + (across / 0.6) ** 2))
    sensor, told = Sensor.sampled(samples, 8, noise_model=NOISE), Sensor.gaussian(0.8, 0.6, 30.0)
    assert sensor.psf == pytest.approx(told.psf, rel=1e-4)
    assert sensor.covariance_xy == pytest.approx(told.covariance_xy, rel=1e-3)
    assert sensor.is_tabled
    assert sensor.noise_model == NOISE


def test_what_cannot_be_a_psf_is_refused() -> None:
    with pytest.raises(ModelError, match="the PSF extends too far for its width"):
        Sensor.gaussian(90.0, 0.1, 30.0)
    with pytest.raises(ModelError, match="more than 0"):
        Sensor.sampled(np.zeros((5, 5)), 1)

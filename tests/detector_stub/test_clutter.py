import numpy as np
import pytest
from scipy import ndimage

from dscsnet.detector_stub.clutter import DriftingTexture, cubic_taps, power_law_texture


def radial_slope(image: np.ndarray) -> float:
    """Slope of the amplitude spectrum in log-log, from ring means of the power."""
    size = len(image)
    power = np.abs(np.fft.fft2(image)) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    ring = np.round(frequency * size).astype(int)
    mean = np.bincount(ring.ravel(), power.ravel()) / np.bincount(ring.ravel())
    rings = np.arange(4, size // 2)
    return np.polyfit(np.log(rings), np.log(mean[rings]) / 2, 1)[0]


@pytest.mark.parametrize("exponent", [1.0, 1.6, 2.5])
def test_amplitude_spectrum_falls_as_configured(exponent: float) -> None:
    texture = power_law_texture(256, exponent, np.random.default_rng(3))
    assert radial_slope(texture) == pytest.approx(-exponent, abs=0.05)


def test_texture_is_standardised_and_odd_sizes_work() -> None:
    texture = power_law_texture(63, 1.6, np.random.default_rng(1))
    assert texture.shape == (63, 63)
    assert texture.dtype == np.float32
    assert texture.mean() == pytest.approx(0, abs=1e-5)
    assert texture.std() == pytest.approx(1, abs=1e-5)


def test_taps_reproduce_quadratics() -> None:
    samples = np.array([-1.0, 0, 1, 2])
    for t in (0.0, 0.25, 0.5, 0.9):
        for power in (0, 1, 2):
            assert cubic_taps(t) @ samples**power == pytest.approx(t**power, abs=1e-6)


def test_whole_shift_moves_right_and_down_and_wraps() -> None:
    texture = np.random.default_rng(5).random((20, 20)).astype(np.float32)
    drifting = DriftingTexture(texture, (30, 25))
    tiled = np.tile(texture, (3, 3))
    np.testing.assert_array_equal(drifting.shifted(0, 0), tiled[:30, :25])
    shifted = drifting.shifted(3, 2)
    np.testing.assert_array_equal(shifted[2:, 3:], tiled[:28, :22])
    np.testing.assert_array_equal(drifting.shifted(-17, 22), shifted)


def test_fractional_shift_agrees_with_spline_interpolation_of_a_smooth_field() -> None:
    y, x = np.mgrid[:64, :64]
    texture = np.sin(2 * np.pi * x / 32) * np.cos(2 * np.pi * y / 64)
    shifted = DriftingTexture(texture.astype(np.float32), (64, 64)).shifted(5.3, -2.7)
    expected = ndimage.shift(texture, (-2.7, 5.3), order=3, mode="grid-wrap")
    np.testing.assert_allclose(shifted, expected, atol=2e-3)

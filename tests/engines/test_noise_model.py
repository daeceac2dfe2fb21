"""What light adds to a pixel's noise: the formula, and what it keeps fits from."""

import math
from typing import Any

import numpy as np
import pytest

from dscsnet.engines.array_types import Float
from dscsnet.engines.engine import CropBatch, make_batch
from dscsnet.engines.estimates import Estimates
from dscsnet.engines.noise_model import MOST_SNR, NO_LIGHT_NOISE, PSF_ERROR, NoiseModel
from dscsnet.engines.psf_fit import PsfFitEngine
from dscsnet.engines.sensor import Sensor
from dscsnet.tools.robustness.render import Gaussian, add

SIZE, CENTER = 11, 5


def peaks(noise_model: NoiseModel, noise: float, *brightest: float) -> Any:
    pixels = np.full((len(brightest), 5, 5), -3.0, np.float32)
    pixels[:, 2, 1] = brightest
    usable = np.ones(pixels.shape, bool)
    return noise_model.at_peak(pixels, usable, np.full(len(brightest), noise, np.float32))


@pytest.mark.parametrize("psf_error", [0.0, 1e-3, 0.02, 1.0])
@pytest.mark.parametrize("gain", [0.5, 3.0, math.inf])
def test_the_noise_of_the_brightest_pixel(gain: float, psf_error: float) -> None:
    """A network is told that a peak is known to 1/500 at best."""
    error = max(psf_error, 1 / 500)
    expected = [
        math.sqrt(4**2 + peak / gain + (error * peak) ** 2) for peak in (0.0, 30.0, 5e3, 1e6)
    ]
    found = peaks(NoiseModel(gain, psf_error), 4.0, 0.0, 30.0, 5e3, 1e6)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert MOST_SNR == 500
    assert (1e6 / found[-1]) < MOST_SNR


def test_dark_unusable_and_infinite_pixels_have_no_light() -> None:
    model = NoiseModel(1.0, 0.1)
    np.testing.assert_array_equal(peaks(model, 4.0, -100.0, np.nan, np.inf), 4)
    assert np.isnan(peaks(model, np.nan, 10.0)).all()
    pixels = np.array([[[1e9, 50.0]]], np.float32)
    usable, noise = np.array([[[False, True]]]), np.full(1, 4.0, np.float32)
    np.testing.assert_allclose(model.at_peak(pixels, usable, noise), math.sqrt(16 + 50 + 25))
    assert len(model.at_peak(pixels[:0], usable[:0], noise[:0])) == 0


def test_counts_as_large_as_single_precision_holds_do_not_overflow_on_the_way() -> None:
    assert np.isfinite(peaks(NoiseModel(1.0, 0.5), 1e30, 1e37)).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((0.0, 0.1), "gain must be above 0 electrons a count, got 0.0"),
        ((-1.0, 0.1), "gain must be above 0"),
        ((math.nan, 0.1), "gain must be above 0"),
        ((1.0, -0.1), "psf_error must be from 0 to 1, got -0.1"),
        ((1.0, 1.1), "psf_error must be from 0 to 1"),
        ((1.0, math.nan), "psf_error must be from 0 to 1"),
    ],
)
def test_impossible_numbers_are_refused(given: tuple[float, float], words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}"):
        NoiseModel(*given).checked()
    for possible in (NoiseModel(), NO_LIGHT_NOISE, NoiseModel(1e-30, 1.0)):
        assert possible.checked() is possible


def stars(number: int, light: float, seed: int, sigma: float = 0.7) -> tuple[Float, Float, Float]:
    """(n, s, s) light of single stars near the middle, drawn by quadrature, and their places."""
    places = CENTER + np.random.default_rng(seed).uniform(-0.5, 0.5, (2, number))
    clean = np.zeros((number, SIZE, SIZE))
    for image, x, y in zip(clean, *places, strict=True):
        add(image, Gaussian(sigma, sigma), *np.array([[x], [y], [light]]))
    return clean, *places


def fitted(pixels: Float, noise: float, sensor: Sensor) -> Estimates:
    engine = PsfFitEngine.for_sensor(sensor)
    usable, sigma = np.ones(pixels.shape, bool), np.full(len(pixels), noise, np.float32)
    batch: CropBatch = make_batch(engine, pixels.astype(np.float32), usable, sigma)
    return engine.read(engine.run(batch), batch)


@pytest.mark.parametrize("snr", [1e3, 1e4, 1e5])
def test_a_bright_star_is_one_target(snr: float) -> None:
    clean, x, y = stars(100, 10 * snr / 0.27, seed=round(snr))
    pixels = clean + 10 * np.random.default_rng(1).normal(size=clean.shape)
    found = fitted(pixels, 10.0, Sensor.gaussian(0.7))
    assert (found.number == 1).mean() >= 0.98
    assert (found.doubt == 0).all()
    brightest = found.intensity > 5 * snr / 0.27
    assert brightest.sum() == 100
    np.testing.assert_allclose(found.x[brightest], x, atol=0.01)
    np.testing.assert_allclose(found.y[brightest], y, atol=0.01)


def test_a_psf_that_is_known_to_a_thousandth_is_no_misfit() -> None:
    """Of light 100 000 times the noise, with a PSF 0.1 % narrower than told."""
    clean, _, _ = stars(60, 1e6 / 0.27, seed=3)
    pixels = clean + 10 * np.random.default_rng(1).normal(size=clean.shape)
    assert PSF_ERROR == 1e-3
    doubted = [
        (fitted(pixels, 10.0, Sensor.gaussian(0.7007, noise_model=model)).doubt > 0).mean()
        for model in (NoiseModel(), NO_LIGHT_NOISE)
    ]
    assert doubted[0] < 0.1
    assert doubted[1] == 1


@pytest.mark.parametrize("electrons", [1e3, 1e4, 1e5])
@pytest.mark.parametrize("gain", [1.0, 4.0])
def test_sigmas_hold_where_light_has_shot_noise(electrons: float, gain: float) -> None:
    """Of one electron a count and of four, beside a noise of 3 electrons."""
    number, rng = 300, np.random.default_rng(round(electrons + gain))
    clean, x, y = stars(number, electrons, seed=7)
    counts = (rng.poisson(clean) + 3 * rng.normal(size=clean.shape)) / gain
    sensor = Sensor.gaussian(0.7, noise_model=NoiseModel(gain, 0.0))
    found = fitted(counts, 3 / gain, sensor)
    single = found.number[found.crop] == 1
    assert single.sum() > 0.97 * number
    crop = found.crop[single]
    error = np.stack([found.x[single] - x[crop], found.y[single] - y[crop]])
    sigma = np.stack([found.sigma_x[single], found.sigma_y[single]])
    for sigmas, low, high in ((1, 0.60, 0.76), (2, 0.92, 0.985)):
        assert low < (abs(error) < sigmas * sigma).mean() < high
    light = (found.intensity[single] * gain - electrons) / (found.sigma_intensity[single] * gain)
    assert 0.60 < (abs(light) < 1).mean() < 0.76
    assert np.median(found.chi2) == pytest.approx(1, abs=0.1)

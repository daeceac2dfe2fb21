"""Tables of point spread functions: what they are made from, and their bounds."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.interpolate import BSpline

from dscsnet.engines.errors import ModelError
from dscsnet.engines.fitting import psf


def gaussian(sigma_x: float, sigma_y: float, oversampling: int, half: int) -> Any:
    y, x = np.mgrid[-half : half + 1, -half : half + 1] / oversampling
    return np.exp(-0.5 * ((x / sigma_x) ** 2 + (y / sigma_y) ** 2))


def test_an_ellipse_is_sampled_densely_and_far_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(psf, "sampled_table", lambda samples, by: given.append((samples, by)))
    for sigma_x, sigma_y in ((0.5, 0.8), (0.8, 0.5)):
        psf.elliptical_table(sigma_x, sigma_y, 0.0)
        samples, oversampling = given.pop()
        assert oversampling == 16  # 8 a sigma
        assert samples.shape == (155, 155)  # 6 sigmas
        np.testing.assert_allclose(samples, gaussian(sigma_x, sigma_y, 16, 77))
    psf.elliptical_table(0.5, 0.8, 90.0)
    np.testing.assert_allclose(given.pop()[0], gaussian(0.8, 0.5, 16, 77), atol=1e-12)
    psf.elliptical_table(0.5, 0.8, 30.0)
    y, x = np.mgrid[-77:78, -77:78] / 16
    along, across = x * math.sqrt(0.75) + y / 2, y * math.sqrt(0.75) - x / 2
    expected = np.exp(-0.5 * ((along / 0.5) ** 2 + (across / 0.8) ** 2))
    np.testing.assert_allclose(given.pop()[0], expected)


def test_a_table_is_as_large_as_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    psf._check_table(4096)
    with pytest.raises(ModelError, match="would need 4097 entries a side, at most 4096"):
        psf._check_table(4097)
    monkeypatch.setattr(psf, "sampled_table", lambda *_: "a table")
    assert psf.elliptical_table(1.0, 42.6, 0.0) == "a table"
    with pytest.raises(ModelError, match="would need 4100 entries"):
        psf.elliptical_table(1.0, 42.7, 0.0)


def test_samples_are_as_many_as_may_be() -> None:
    psf.check_number(np.zeros((1024, 2)), "it")
    for shape in ((1025, 2), (2, 1025)):
        with pytest.raises(ModelError, match=r"^it must have at most 1024 samples a side"):
            psf.check_number(np.zeros(shape), "it")
    psf.check_number(np.zeros(()), "it")


@pytest.mark.parametrize(("shape", "taken"), [((3, 3), True), ((2, 3), False), ((3, 2), False)])
def test_a_psf_has_3_by_3_samples_or_more(shape: tuple[int, int], taken: bool) -> None:
    if taken:
        psf.sampled_table(np.ones(shape), 3)
    else:
        with pytest.raises(ModelError, match=r"at least 3 x 3 samples"):
            psf.sampled_table(np.ones(shape), 3)


@pytest.mark.parametrize(
    ("samples", "oversampling", "words"),
    [
        (np.ones((3, 3, 3)), 1, "at least 3 x 3 samples"),
        (np.full((3, 3), np.inf), 1, "must be finite"),
        (np.zeros((3, 3)), 1, "sum to more than 0"),
        (-np.ones((3, 3)), 1, "sum to more than 0"),
        (np.ones((3, 3)), 0, "at least 1, got 0"),
    ],
)
def test_what_is_no_psf_is_refused(samples: Any, oversampling: int, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        psf.sampled_table(samples, oversampling)


@pytest.mark.parametrize(
    ("sigma", "oversampling", "density"),
    [(0.61, 4, 10), (1.01, 4, 8), (0.76, 4, 8), (0.74, 4, 9)],
)
def test_density_and_reach_of_a_table(sigma: float, oversampling: int, density: int) -> None:
    table = psf.sampled_table(gaussian(sigma, 1.5, oversampling, 16), oversampling)
    assert table.density == density
    widest = math.exp(0.4)
    least = widest * (37 / 2 + 1) / oversampling + 0.5 + 4 / density
    assert table.reach == pytest.approx(math.ceil(least * density) / density)
    assert table.coefficients.shape == (*(round(2 * table.reach * density) + 1,) * 2, 9)
    # There is no light within four entries of the edge.
    light = np.abs(table.coefficients)
    assert max(light[:4].max(), light[-4:].max(), light[:, :4].max()) < 1e-6 * light.max()


def test_the_scale_of_samples_says_nothing() -> None:
    samples = gaussian(0.6, 0.7, 4, 16)
    expected = psf.sampled_table(samples, 4)
    for factor in (1e300, 1e-300, 240.0):
        found = psf.sampled_table(factor * samples, 4)
        np.testing.assert_allclose(found.coefficients, expected.coefficients, atol=1e-12)


def test_a_large_table_is_of_one_width(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = gaussian(0.6, 0.7, 4, 16)
    entries = 2 * math.ceil((math.exp(0.4) * (37 / 2 + 1) / 4 + 0.5 + 0.4) * 10)
    for most, widths in ((entries, 9), (entries - 1, 1)):
        monkeypatch.setattr(psf, "MOST_ENTRIES_OF_WIDTHS", most)
        table = psf.sampled_table(samples, 4)
        assert table.coefficients.shape[2] == widths
        assert psf.has_widths(table) == (widths > 1)
    assert table.reach == pytest.approx(math.ceil(((37 / 2 + 1) / 4 + 0.5 + 0.4) * 10) / 10)
    assert not psf.has_widths(psf.NO_TABLE)


def test_of_every_width_the_table_holds_all_light() -> None:
    table = psf.sampled_table(gaussian(0.6, 0.7, 4, 16), 4)
    for shift in range(0, table.density, 3):
        light = table.coefficients[shift :: table.density, shift :: table.density].sum((0, 1))
        np.testing.assert_allclose(light, 1, atol=1e-6)
    # The middle one is the told one, of which its neighbours are wider and narrower.
    table_light = table.coefficients.max((0, 1))
    assert (np.diff(table_light) < 0).all()


@pytest.mark.parametrize(("sigma_x", "sigma_y"), [(0.6, 0.9), (0.9, 0.6), (1.4, 1.4)])
def test_moments_are_those_of_the_gaussian(sigma_x: float, sigma_y: float) -> None:
    samples = np.roll(gaussian(sigma_x, sigma_y, 4, 40), (3, -2), (0, 1))
    expected = (sigma_x**2, sigma_y**2, 0.0)
    assert psf.moments(samples, 4) == pytest.approx(expected, rel=2e-6, abs=1e-6)
    assert psf.moments(samples - 1e-9, 4) == pytest.approx(expected, rel=2e-3, abs=1e-3)


@pytest.mark.parametrize("angle", [20.0, 135.0])
def test_moments_of_a_turned_gaussian_have_a_covariance(angle: float) -> None:
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    y, x = np.mgrid[-40:41, -40:41] / 8
    along, across = cosine * x + sine * y, cosine * y - sine * x
    samples = np.exp(-0.5 * ((along / 0.8) ** 2 + (across / 0.6) ** 2))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    (xx, xy), (_, yy) = turn @ np.diag([0.64, 0.36]) @ turn.T
    assert psf.moments(samples, 8) == pytest.approx((xx, yy, xy), rel=1e-5)


def test_a_width_is_a_fifth_of_a_sample_or_more() -> None:
    point = np.zeros((9, 11))
    point[4, 5] = 1
    assert psf.moments(point, 2) == pytest.approx((0.01, 0.01, 0.0))


def test_coefficients_give_the_values_back() -> None:
    values = np.pad(np.random.default_rng(0).random((6, 5)), 2)
    found = psf._spline_coefficients(values)
    basis = np.array([1, 4, 1]) / 6
    for axis in (0, 1):
        found = np.apply_along_axis(np.convolve, axis, found, basis, "same")
    np.testing.assert_allclose(found, values, atol=1e-12)


def test_integrals_are_those_of_the_spline() -> None:
    basis = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)
    for x in (-3.0, -2.0, -1.3, 0.0, 0.4, 1.7, 2.0, 5.0):
        found = psf._spline_integral(np.array(x))
        assert found == pytest.approx(basis.integrate(-2, min(max(x, -2), 2)), abs=1e-12)
    for factor in (1.0, 1.25):  # the same light, farther apart
        boxes = psf._box_integrals(np.array([0.3]), 5, 2, factor)
        places = factor * (np.arange(5) - 2) / 2
        for box, place in zip(boxes[0], places, strict=True):
            low, high = ((0.3 + edge - place) * 2 / factor for edge in (-0.5, 0.5))
            ends = np.clip([low, high], -2, 2)
            assert box == pytest.approx(basis.integrate(*ends) / 2, abs=1e-12)


def test_a_file_of_other_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "psf.npy"
    for kind in ("f8", "i4", "u2"):
        np.save(path, np.ones((4, 5), kind))
        samples = psf.read_samples(path)
        assert samples.dtype == np.float64
        assert samples.shape == (4, 5)
    for array in (np.ones((4, 5), complex), np.ones((4, 5), bool), np.ones((4, 5, 1))):
        np.save(path, array)
        with pytest.raises(ModelError, match="must hold a 2-D array of numbers or a grey image"):
            psf.read_samples(path)
    np.save(path, np.ones((3, 1025)))
    with pytest.raises(ModelError, match=r"psf\.npy must have at most 1024 samples"):
        psf.read_samples(path)

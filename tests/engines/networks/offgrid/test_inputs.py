"""What the off-grid networks see, reckoned by hand."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dscsnet.engines.networks.offgrid import OffGridConfig  # noqa: E402
from dscsnet.engines.networks.offgrid.inputs import Inputs, make_inputs, over_noise  # noqa: E402


def inputs_of(crop: np.ndarray, noise: float, psf: tuple[float, float], **config: object) -> Inputs:
    """The inputs of one crop, with 64 bits."""
    given = (torch.tensor(np.array([value]), dtype=torch.float64) for value in (crop, noise, psf))
    return make_inputs(OffGridConfig(**config), *given)  # type: ignore[arg-type]


def test_over_the_noise_faint_light_is_linear_and_bright_light_logarithmic() -> None:
    values = torch.tensor([1e-4, -1.5, 600.0, 1.9e6, 2.1e6, 1e30, -1e30], dtype=torch.float64)
    found = over_noise(values, torch.tensor(2.0))
    limit = math.log(2e6)  # of a million
    expected = [0.5e-4, math.asinh(-0.75), math.log(600), math.log(1.9e6), limit, limit, -limit]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("psf", [(0.5, 0.8), (0.1, 0.8), (0.5, 3.0)])
def test_the_context_is_about_one_in_size(psf: tuple[float, float]) -> None:
    """Widths are taken within the range that the network is for."""
    made = inputs_of(np.zeros((11, 11)), 3.0, psf, unit=12.0, psf_sigma=(0.4, 1.0))
    x, y = (min(max(width, 0.4), 1.0) for width in psf)
    assert made.psf.tolist() == [[x, y]]
    expected = [(x - 0.7) / 0.3, (y - 0.7) / 0.3, 5 * (x - y)]
    expected += [2 / (x + y) - 1 / 0.7, 0.5 * math.log(3 / 12) + 1]
    np.testing.assert_allclose(made.context[0], expected, rtol=1e-12)
    assert (made.unit.item(), made.noise.item()) == (12, 0.25)


@pytest.mark.parametrize(
    ("range_", "half"), [((0.5, 0.5), 0.05), ((0.5, 0.54), 0.05), ((0.5, 0.7), 0.1)]
)
def test_a_narrow_range_of_widths_is_not_blown_up(range_: tuple[float, float], half: float) -> None:
    made = inputs_of(np.zeros((11, 11)), 1.0, (range_[1], range_[0]), unit=1.0, psf_sigma=range_)
    off = (range_[1] - range_[0]) / 2
    np.testing.assert_allclose(made.context[0, :2], [off / half, -off / half], atol=1e-12)


def test_the_window_is_the_middle_of_the_crop_in_units() -> None:
    crop = np.arange(121.0).reshape(11, 11)
    made = inputs_of(crop, 1.0, (0.5, 0.5), unit=4.0, window=7)
    np.testing.assert_array_equal(made.pixels[0], crop[2:9, 2:9] / 4)


def test_without_a_given_unit_it_is_the_light_above_the_noise() -> None:
    """Its root mean square without the outermost pixels."""
    crop = np.random.default_rng(0).normal(0, 50, (11, 11))
    inside = (crop[1:-1, 1:-1] ** 2).mean()
    made = inputs_of(crop, 20.0, (0.5, 0.5))
    assert made.unit.item() == pytest.approx(math.sqrt(inside - 20**2))
    assert made.noise.item() == pytest.approx(20 / made.unit.item())
    changed = crop.copy()
    changed[0], changed[:, -1] = 1e4, -1e4
    assert inputs_of(changed, 20.0, (0.5, 0.5)).unit.item() == pytest.approx(made.unit.item())


def test_the_unit_is_at_least_the_noise() -> None:
    crop = np.random.default_rng(0).normal(0, 50, (11, 11))
    level = math.sqrt((crop[1:-1, 1:-1] ** 2).mean() / 2)  # where light and noise are equal
    for noise, unit in ((0.9 * level, math.sqrt(1.19) * level), (1.1 * level, 1.1 * level)):
        assert inputs_of(crop, noise, (0.5, 0.5)).unit.item() == pytest.approx(unit)
    assert inputs_of(crop * 0, 3.0, (0.5, 0.5)).unit.item() == pytest.approx(3)


@pytest.mark.parametrize("noise", [0.0, -1.0, 1e-7])
def test_noise_is_at_least_a_millionth_of_a_count(noise: float) -> None:
    assert inputs_of(np.zeros((11, 11)), noise, (0.5, 0.5)).unit.item() == pytest.approx(1e-6)


def test_squares_of_large_counts_do_not_overflow() -> None:
    crop = torch.full((1, 11, 11), 1e30)
    made = make_inputs(OffGridConfig(), crop, torch.tensor([1.0]), torch.tensor([[0.5, 0.5]]))
    assert made.unit.item() == pytest.approx(1e30, rel=1e-5)

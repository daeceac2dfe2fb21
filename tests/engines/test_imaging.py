"""The imaging model against SciPy's quadrature and its own invariants."""

import numpy as np
import pytest
from scipy import integrate, special

from dscsnet.engines.imaging import central_fraction, erf, gaussian_profile, render


def test_erf_agrees_with_scipy() -> None:
    values = np.linspace(-6, 6, 1001)
    np.testing.assert_allclose(erf(values), special.erf(values), atol=1e-15)


@pytest.mark.parametrize("sigma", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("position", [(5.0, 5.0), (4.62, 5.37), (0.1, 9.8)])
def test_pixel_response_is_the_integral_over_the_pixel(
    sigma: float, position: tuple[float, float]
) -> None:
    x, y = position
    image = render([x], [y], [1.0], (11, 11), sigma)

    def density(v: float, u: float) -> float:
        return np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)

    for row, column in ((round(y), round(x)), (round(y) - 1, min(round(x) + 1, 10)), (5, 5)):
        expected, _ = integrate.dblquad(
            density, column - 0.5, column + 0.5, row - 0.5, row + 0.5, epsabs=1e-11
        )
        assert image[row, column] == pytest.approx(expected, abs=1e-9)


def test_light_is_conserved_and_centred() -> None:
    image = render([20.3], [17.8], [100.0], (40, 40), 1.3, 1.2)
    rows, columns = np.mgrid[:40, :40]
    assert image.sum() == pytest.approx(100, rel=1e-7)
    assert (image * columns).sum() / 100 == pytest.approx(20.3, abs=1e-6)
    assert (image * rows).sum() / 100 == pytest.approx(17.8, abs=1e-6)


def test_render_is_the_sum_of_its_targets() -> None:
    generator = np.random.default_rng(0)
    x, y, s = generator.uniform(-3, 15, (3, 6))
    together = render(x, y, s, (12, 13), 0.7)
    alone = sum(render([a], [b], [c], (12, 13), 0.7) for a, b, c in zip(x, y, s, strict=True))
    np.testing.assert_allclose(together, alone, atol=1e-12)


def test_central_fraction_is_that_of_a_centred_target() -> None:
    image = render([5], [5], [1], (11, 11), 0.5, 0.8)
    assert central_fraction(0.5, 0.8) == pytest.approx(image[5, 5], rel=1e-12)


def test_sigma_must_be_positive() -> None:
    with pytest.raises(ValueError, match="above 0 px, got 0"):
        gaussian_profile([1.0], 5, 0.0)


@pytest.mark.parametrize("x", [-40.0, -6.0, 5.0, 60.0])
@pytest.mark.parametrize("y", [-40.0, -6.0, 5.0, 60.0])
def test_a_target_far_outside_along_either_axis_leaves_no_light(x: float, y: float) -> None:
    light = render([x], [y], [100.0], (11, 12), 0.6).sum()
    assert light == pytest.approx(100 if x == y == 5 else 0)


def test_a_target_is_drawn_to_six_sigmas_and_half_a_pixel() -> None:
    image = render([10.0], [10.0], [1.0], (21, 21), 0.5, 0.75)
    rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
    assert columns.tolist() == list(range(7, 14))  # 3.5 px
    assert rows.tolist() == list(range(5, 16))  # 5 px

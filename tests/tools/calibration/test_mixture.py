"""The three kinds of widths against SciPy, and where the search for the narrow mode begins."""

import math

import numpy as np
import pytest
from scipy.stats import exponnorm, norm

from dscsnet.tools.calibration import mixture
from dscsnet.tools.calibration.mixture import narrow_mode


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ((0.3, 0.1, 0.0, 0.2), (0.1, 0.5, 0.2)),
        ((0.3, 0.004, 20.0, 0.04), (0.005, 1 / (1 + math.exp(-9)), 0.05)),
        ((0.3, 0.6, -20.0, 1.2), (0.5, 1 / (1 + math.exp(9)), 1.0)),
    ],
)
def test_scatter_share_and_excess_keep_to_their_limits(
    point: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    center, scatter, logit, excess = point
    told = mixture._natural(np.array([center, math.log(scatter), logit, math.log(excess)]))
    assert told == pytest.approx((center, *expected))


@pytest.mark.parametrize("excess", [0.05, 0.2, 1.0])
def test_each_kind_has_its_density(excess: float) -> None:
    errors, scatter, share = np.full(41, 0.03), 0.04, 0.3
    widths = np.linspace(-0.2, 1.5, 41)
    narrow, wide, odd = mixture._densities(widths, errors, 0.1, scatter, share, excess)
    np.testing.assert_allclose(narrow, 0.98 * 0.7 * norm.pdf(widths, 0.1, 0.05))
    expected = 0.98 * 0.3 * exponnorm.pdf(widths, excess / 0.05, 0.1, 0.05)
    np.testing.assert_allclose(wide, expected, rtol=0.06, atol=1e-12)
    near = 0.05 / excess - (widths - 0.1) / 0.05 < 4
    np.testing.assert_allclose(wide[near], expected[near], rtol=1e-6)
    np.testing.assert_allclose(odd, 0.02 / 3)


def test_densities_are_finite_where_one_of_their_forms_is_not() -> None:
    parts = [
        mixture._densities(np.array([width]), np.zeros(1), 0.0, scatter, 0.5, excess)
        for width, scatter, excess in ((0.1, 0.1, 0.1), (0.0, 0.5, 0.005), (-9.0, 0.5, 0.05))
    ]
    assert np.isfinite(parts).all()


def test_the_search_begins_at_the_likeliest_points(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    errors = np.full(80, 0.02)
    widths = np.where(np.arange(80) < 60, -0.5, 0.2) + errors * random.standard_normal(80)
    widths[79] = -2.0  # a blemish: the narrowest is not of the mode
    starts: list[tuple[float, ...]] = []

    def descend(_widths: np.ndarray, _errors: np.ndarray, point: np.ndarray) -> object:
        starts.append(tuple(point))
        return point, mixture._cost(widths, errors, point)

    monkeypatch.setattr(mixture, "_descend", descend)
    mode = narrow_mode(widths, errors)
    costs = [mixture._cost(widths, errors, np.array(start)) for start in starts]
    assert len(starts) == 3
    assert costs == sorted(costs)
    assert mode.center == starts[0][0] == pytest.approx(-0.5, abs=0.05)
    every = [
        mixture._cost(
            widths, errors, np.array([center, math.log(scatter), logit, math.log(excess)])
        )
        for center in np.quantile(widths, np.linspace(0, 1, 25))
        for scatter in (0.005, 0.05)
        for logit in (-1.5, 1.5)
        for excess in (0.1, 0.5)
    ]
    np.testing.assert_allclose(costs, sorted(every)[:3])


def test_the_descent_ends_at_the_bottom_of_a_bowl(monkeypatch: pytest.MonkeyPatch) -> None:
    bottom = np.array([0.31, -1.7, 0.4, -2.2])
    monkeypatch.setattr(
        mixture, "_cost", lambda _widths, _errors, point: float(((point - bottom) ** 2).sum())
    )
    point, cost = mixture._descend(np.zeros(1), np.ones(1), np.zeros(4))
    np.testing.assert_array_less(np.abs(point - bottom), 1e-3 * np.array([0.05, 0.7, 0.7, 0.5]))
    assert cost == ((point - bottom) ** 2).sum()

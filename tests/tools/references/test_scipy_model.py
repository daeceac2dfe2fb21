"""The crop's model at its limits: noise, starts, a covariance that is singular."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dscsnet.tools.references import scipy_model as module
from dscsnet.tools.references.scipy_fit import ScipyFitEngine, _light, _split, _starts, fit_orders
from dscsnet.tools.references.scipy_model import PLANE, CropModel, Fit

PSF = np.array([0.6, 0.7])
ALL = np.ones((11, 11), bool)


def model_of(pixels: np.ndarray, noise: float = 1.0, usable: np.ndarray = ALL) -> CropModel:
    return CropModel(pixels, usable, noise, PSF)


@pytest.mark.parametrize(
    ("noise", "brightest", "expected"),
    [(2.0, 500.0, 2.0), (1e-9, 500.0, 5e-3), (math.nan, 500.0, 5.0), (math.inf, 0.0, 1e-2)],
)
def test_noise_is_believed_unless_too_small_or_unknown(
    noise: float, brightest: float, expected: float
) -> None:
    pixels = np.zeros((11, 11))
    pixels[3, 4] = -brightest
    assert model_of(pixels, noise).noise == pytest.approx(expected)


def test_intensities_are_bounded() -> None:
    values = np.array([0, 0, 0, 5, 5, math.log(7), 5, 5, 800.0])
    np.testing.assert_allclose(module._intensity(values), [7, 1e10])


def test_a_target_at_the_peak_of_what_is_left() -> None:
    model = model_of(np.zeros((11, 11)))
    light = model.image(model.residual(np.array([0, 0, 0, 7.0, 4.0, math.log(90)])))
    np.testing.assert_allclose(model.peak(light), [7, 4, math.log(90)], rtol=0.02)
    assert model.peak(np.zeros((11, 11)))[2] == pytest.approx(math.log(3))
    half = ALL.copy()
    half[:, :6] = False
    assert model_of(np.zeros((11, 11)), usable=half).peak(light * half)[0] == 7


@pytest.mark.parametrize(("misfit", "wider"), [(50.0, 1.0), (345.0, 3.0)])
def test_a_covariance_is_the_inverse_and_wider_where_the_fit_is_bad(
    misfit: float, wider: float
) -> None:
    model = model_of(np.zeros((11, 11)))
    fit = Fit(np.array([0, 0, 0, 5.2, 4.8, math.log(50)]), misfit, 0.0)
    assert model.chi2(fit) == pytest.approx(misfit / (121 - 6))
    jacobian = model.jacobian(fit.values)
    expected = wider * np.linalg.inv(jacobian.T @ jacobian)
    np.testing.assert_allclose(model.covariance(fit), expected, rtol=1e-6, atol=1e-12)


def test_an_unknown_that_nothing_tells_leaves_the_covariance_finite() -> None:
    model = model_of(np.zeros((11, 11)))
    far = Fit(np.array([0, 0, 0, 500.0, 500.0, 1.0]), 100.0, 0.0)
    covariance = model.covariance(far)
    assert np.isfinite(covariance).all()
    assert covariance[PLANE, PLANE] == pytest.approx(1e12)


def test_where_what_is_left_is_bright() -> None:
    left = np.full((11, 11), 1.5)
    left[3, 4], left[5, 4] = 12.0, 22.0
    np.testing.assert_allclose(_light(left), [4, (3 * 10 + 5 * 20) / 30, 30], rtol=1e-6)


def test_the_brightest_target_is_split_along_what_it_leaves() -> None:
    targets = np.array([[2.0, 8.0, 1.0], [5.0, 4.0, 3.0]])
    for row, column, way in ((4, 7, (1, 0)), (6, 5, (0, 1)), (5, 6, (1, 1))):
        left = np.zeros((11, 11))
        left[row, column] = left[8 - row, 10 - column] = 1.0
        left[0, 0] = 50.0  # too far
        found = _split(targets, left)
        step = 0.35 * np.array(way) / np.hypot(*way)
        np.testing.assert_allclose(found[0], targets[0])
        np.testing.assert_allclose(
            found[1:, :2], np.array([5, 4]) + np.array([-step, step]), atol=1e-12
        )
        np.testing.assert_allclose(found[1:, 2], 3 - math.log(2))


@pytest.mark.parametrize(
    ("misfit", "where", "cost"),
    [
        (100.0, 5.0, 100.0),
        (121.0, 5.0, 121.0),
        # Beyond one a pixel the misfit is that of a wider noise.
        (121.0 * math.e, 5.0, 242.0),
        (100.0, 10.5, 100.0),
        (100.0, -0.5, 100.0),
        (100.0, 10.51, math.inf),
        (100.0, -0.51, math.inf),
    ],
)
def test_a_fit_costs_its_misfit_and_its_unknowns(
    monkeypatch: pytest.MonkeyPatch, misfit: float, where: float, cost: float
) -> None:
    """SciPy takes at most 100 looks, and tells half of the misfit."""
    asked: dict[str, Any] = {}

    def least_squares(_residual: object, start: np.ndarray, _jacobian: object, **given: Any) -> Any:
        asked.update(given)
        return SimpleNamespace(x=start, cost=misfit / 2)

    monkeypatch.setattr(module, "least_squares", least_squares)
    model = model_of(np.zeros((11, 11)))
    for place in ((where, 5.0), (5.0, where)):
        found = model.fit(np.array([0, 0, 0, *place, 1.0, 4.0, 6.0, 2.0]))
        assert found.misfit == misfit
        assert found.cost == pytest.approx(cost + 9 * math.log(121))
    assert asked == {"method": "lm", "ftol": 1e-3, "xtol": 1e-3, "max_nfev": 100}


class Played:
    """A model whose fits have costs that are known by their number of targets."""

    def __init__(self, pixels: int, costs: list[float]) -> None:
        self.observed, self.costs = np.zeros(pixels), costs
        self.starts: list[np.ndarray] = []

    def residual(self, _: object) -> float:
        return -1.0

    def image(self, value: float) -> np.ndarray:
        return np.full((11, 11), value)

    def peak(self, _: object) -> np.ndarray:
        return np.array([1.0, 2.0, 3.0])

    def fit(self, start: np.ndarray) -> Fit:
        self.starts.append(start)
        number = len(start) // 3 - 1
        # The last start of each number is the best.
        return Fit(start, 0.0, self.costs[number] - 1e-3 * len(self.starts))


@pytest.mark.parametrize(
    ("pixels", "costs", "orders"),
    [
        (121, [10, 9, 8, 7, 6, 5], 6),
        (121, [10, 11, 12, 1, 1, 1], 3),
        (121, [10, 11, 9, 9.5, 9.6, 1], 5),
        (121, [10, 11, 9, 9.5, 8, 9], 6),
        (121, [10, 9, math.inf, 1, 1, 1], 2),
        (6, [10, 9, 8, 7, 6, 5], 1),
        (7, [10, 9, 8, 7, 6, 5], 2),
        (9, [10, 9, 8, 7, 6, 5], 2),
    ],
)
def test_more_targets_are_tried_until_two_in_a_row_are_no_better(
    pixels: int, costs: list[float], orders: int
) -> None:
    """And while there are more pixels than unknowns."""
    model: Any = Played(pixels, costs)
    fits = fit_orders(model, np.zeros((6, 5, 3)))
    assert [len(fit.targets) for fit in fits] == list(range(orders))
    for fit in fits[1:]:  # the best of its starts
        number = len(fit.targets)
        assert fit.values is [start for start in model.starts if len(start) == 3 + 3 * number][-1]


def test_starts_are_one_more_one_split_and_some_at_random() -> None:
    draws = np.random.default_rng(0).normal(size=(6, 2, 3))
    light = np.array([4.0, 6.0, 50.0])
    model: Any = Played(121, [])
    plane, target = [0.1, 0.2, 0.3], [5.0, 4.0, 2.0]
    none = list(_starts(model, Fit(np.array(plane), 0, 0), light, draws[:, :1]))
    assert len(none) == 1 + 6
    np.testing.assert_allclose(none[0], [*plane, 1, 2, 3])
    one = list(_starts(model, Fit(np.array([*plane, *target]), 0, 0), light, draws))
    assert len(one) == 2 + 6
    np.testing.assert_allclose(one[0], [*plane, *target, 1, 2, 3])
    np.testing.assert_allclose(one[1][3:].reshape(2, 3).mean(0), [5, 4, 2 - math.log(2)])
    for start, draw in zip(one[2:], draws, strict=True):
        np.testing.assert_allclose(start[:3], plane)
        spread = (start[3:].reshape(2, 3) - [4, 6, math.log(25)]) / draw
        np.testing.assert_allclose(spread, [[0.9, 0.9, 0.5]] * 2)
    (faint,) = list(_starts(model, Fit(np.array(plane), 0, 0), light / 50, np.zeros((1, 1, 3))))[1:]
    assert faint[5] == pytest.approx(math.log(3))


def test_six_random_starts_and_the_pixels_near_the_middle() -> None:
    """Those that `psf-fit` looks at: within 4.5 px in a crop of 11."""
    engine = ScipyFitEngine()
    assert engine._draws.shape == (6, 5, 3)
    rows, columns = np.nonzero(engine._near)
    away = np.hypot(rows - 5, columns - 5)
    assert len(away) == sum(math.hypot(x, y) <= 4.5 for x in range(-5, 6) for y in range(-5, 6))
    assert away.max() <= 4.5

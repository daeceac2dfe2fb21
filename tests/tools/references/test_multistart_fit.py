"""The PSF fit against known truth, SciPy's least squares and finite differences."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.optimize import least_squares

from dscsnet.engines.imaging import render
from dscsnet.tools.references import multistart_fit as module
from dscsnet.tools.references.multistart_fit import (
    _damped_step,
    _descend,
    _light_spread,
    _linearise,
    _numbers,
    _residuals,
    fit_crop,
    fit_crops,
)

SIGMA, NOISE, RANGE = 0.5, 12**-0.5, (220.0, 250.0)


def draw(targets: np.ndarray) -> np.ndarray:
    return render(*targets.T, (11, 11), SIGMA)


def directions(starts: int, most: int = 5) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(starts, most, 2))


def by_position(targets: np.ndarray) -> np.ndarray:
    return targets[np.lexsort(targets[:, :2].T)]


@pytest.mark.parametrize("seed", range(5))
def test_a_lone_target_without_noise_is_found_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true = np.array([[*rng.uniform(4.5, 5.5, 2), rng.uniform(*RANGE)]])
    fit = fit_crop(draw(true), SIGMA, NOISE, RANGE, directions(3))
    assert fit.targets.shape == (1, 3)
    np.testing.assert_allclose(fit.targets[:, :2], true[:, :2], atol=1e-3)
    np.testing.assert_allclose(fit.targets[:, 2], true[:, 2], rtol=1e-4)


def test_three_targets_are_told_apart_and_end_where_scipy_does() -> None:
    true = np.array([[4.6, 4.7, 225.0], [5.4, 4.8, 240.0], [5.0, 5.4, 235.0]])
    pixels = np.round(draw(true))

    def residuals(flat: np.ndarray) -> np.ndarray:
        return (draw(flat.reshape(-1, 3)) - pixels).ravel()

    low, high = (np.tile([0.0, 0.0, RANGE[0]], 3), np.tile([10.0, 10.0, RANGE[1]], 3))
    expected = least_squares(residuals, true.ravel(), bounds=(low, high), xtol=1e-12)
    fit = fit_crop(pixels, SIGMA, NOISE, RANGE, directions(20))
    assert fit.misfit == pytest.approx(2 * expected.cost, rel=1e-3)
    found, peer = by_position(fit.targets), by_position(expected.x.reshape(-1, 3))
    np.testing.assert_allclose(found[:, :2], peer[:, :2], atol=2e-3)


def test_intensities_stay_in_their_range() -> None:
    rng = np.random.default_rng(1)
    for number in (1, 2, 4):
        true = np.column_stack([rng.uniform(4.2, 5.8, (number, 2)), np.full(number, 249.0)])
        pixels = draw(true) + rng.normal(0, 5, (11, 11))
        fit = fit_crop(pixels, SIGMA, 5.0, RANGE, directions(5))
        assert ((fit.targets[:, 2] >= 220) & (fit.targets[:, 2] <= 250)).all()


def test_an_empty_crop_has_no_target() -> None:
    fit = fit_crop(np.zeros((11, 11)), SIGMA, NOISE, RANGE, directions(2))
    assert len(fit.targets) == 0


def test_points_say_which_crop_they_are_of_and_do_not_depend_on_the_others() -> None:
    scenes = [np.zeros((11, 11))]
    for number in (1, 3, 2):
        places = [[4.6, 4.6], [5.4, 5.4], [4.6, 5.4]][:number]
        scenes.append(draw(np.column_stack([places, np.full(number, 235.0)])))
    settings = {"sigma": SIGMA, "noise": NOISE, "intensity": RANGE, "most": 5, "starts": 5}
    points = fit_crops(np.array(scenes), **settings)
    assert points.image.tolist() == [1, 2, 2, 2, 3, 3]
    alone = fit_crops(np.array(scenes[2:3]), **settings)
    np.testing.assert_array_equal(points.x[points.image == 2], alone.x)
    drawn = np.random.default_rng(0).normal(size=(5, 5, 2))
    targets = fit_crop(scenes[2], SIGMA, NOISE, RANGE, drawn).targets
    np.testing.assert_array_equal([alone.x, alone.y, alone.score], targets.T)
    assert not np.allclose(alone.x, alone.y)


def test_normal_equations_agree_with_finite_differences() -> None:
    targets = np.array([[4.7, 5.2, 230.0], [5.3, 4.9, 245.0]])
    pixels = np.random.default_rng(0).normal(10, 3, (11, 11))

    def residuals(flat: np.ndarray) -> np.ndarray:
        return (draw(flat.reshape(-1, 3)) - pixels).ravel()

    flat, step = targets.ravel(), 1e-5
    jacobian = np.column_stack(
        [(residuals(flat + d) - residuals(flat - d)) / (2 * step) for d in step * np.eye(6)]
    )
    rows, columns = np.empty((2, 3, 11)), np.empty((2, 3, 11))
    residual, normal, gradient = np.empty((11, 11)), np.empty((6, 6)), np.empty(6)
    misfit = _residuals(targets, pixels, SIGMA, rows, columns, residual)
    _linearise(targets, rows, columns, residual, normal, gradient)
    assert misfit == pytest.approx((residuals(flat) ** 2).sum())
    np.testing.assert_allclose(gradient, jacobian.T @ residuals(flat), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(normal, jacobian.T @ jacobian, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("counts", "slope", "held"),
    [
        (220.0, 50.0, True),  # at the lower bound, and less would fit better
        (220.0, -50.0, False),
        (250.0, -50.0, True),
        (250.0, 50.0, False),
        (235.0, 50.0, False),
        (235.0, -50.0, False),
    ],
)
def test_an_intensity_stays_only_where_it_pushes_against_its_bound(
    counts: float, slope: float, held: bool
) -> None:
    rng = np.random.default_rng(3)
    jacobian = rng.normal(size=(30, 6))
    normal, gradient = jacobian.T @ jacobian, rng.normal(size=6)
    gradient[2] = slope
    targets = np.array([[5.0, 5.0, counts], [4.0, 6.0, 230.0]])
    step = _damped_step(targets, normal, gradient, 0.1, *RANGE)
    free = np.array([a for a in range(6) if a != 2 or not held])
    damped = normal + 0.1 * np.diag(np.diag(normal))
    expected = np.zeros(6)
    expected[free] = np.linalg.solve(damped[np.ix_(free, free)], -gradient[free])
    np.testing.assert_allclose(step, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("light", "noise", "low", "expected"),
    [
        (0, 1.0, 220, []),
        (-300, 1.0, 220, []),
        (235, 1.0, 220, [1]),
        (470, 1.0, 220, [2]),
        (900, 1.0, 220, [4]),
        (2000, 1.0, 220, [5]),  # more than there may be
        (300, 0.1, 220, [1]),  # between one and two: the nearer
        (400, 0.1, 220, [2]),
        (100, 5.0, 50, [1, 2, 3, 4, 5]),
        (600, 1.0, 100, [3, 4, 5]),
        (350, 1.0, 100, [2, 3]),
        (260, 0.0, 100, [2]),  # the only one, though the light is nearer to that of one
        (250, 0.0, 220, [1]),
        (440, 0.0, 220, [2]),
    ],
)
def test_numbers_of_targets_that_the_light_allows(
    light: float, noise: float, low: float, expected: list[int]
) -> None:
    pixels = np.full((11, 11), light / 121)
    pixels[0, 0] += light - pixels.sum()
    assert list(_numbers(pixels, noise, (low, 250), 5)) == expected


def test_starts_spread_as_the_light_does_beyond_the_psf() -> None:
    lone = draw(np.array([[4.8, 5.3, 230.0]]))
    center, spread = _light_spread(lone, SIGMA)
    np.testing.assert_allclose(center, [4.8, 5.3], atol=0.01)
    np.testing.assert_allclose(spread, 0.1, atol=0.05)
    center, spread = _light_spread(draw(np.array([[4.0, 5.0, 230.0], [6.0, 5.0, 230.0]])), SIGMA)
    np.testing.assert_allclose(center, 5, atol=1e-6)
    np.testing.assert_allclose(spread, [1, 0.1], atol=0.02)
    center, spread = _light_spread(draw(np.array([[5.0, 3.0, 230.0], [5.0, 7.0, 230.0]])), SIGMA)
    np.testing.assert_allclose(spread, [0.1, 2], atol=0.02)
    center, spread = _light_spread(np.zeros((11, 11)), SIGMA)
    np.testing.assert_allclose([*center, *spread], [0, 0, 0.1, 0.1])


@pytest.mark.parametrize(
    ("x", "y", "end_x", "end_y"),
    [
        (-0.9, 5.0, -0.5, 5.0),
        (10.9, 5.0, 10.5, 5.0),
        (5.0, -0.9, 5.0, -0.5),
        (5.0, 10.9, 5.0, 10.5),
    ],
)
def test_positions_stay_in_the_crop(x: float, y: float, end_x: float, end_y: float) -> None:
    targets = np.array([[np.clip(x, 1, 9), np.clip(y, 1, 9), 230.0]])
    _descend(targets, draw(np.array([[x, y, 235.0]])), SIGMA, *RANGE)
    np.testing.assert_allclose(targets[0, :2], [end_x, end_y], atol=1e-3)


@pytest.mark.parametrize(("true", "end"), [(150.0, 220.0), (400.0, 250.0), (231.0, 231.0)])
def test_intensities_end_at_their_bounds(true: float, end: float) -> None:
    targets = np.array([[5.1, 4.9, 235.0]])
    misfit = _descend(targets, draw(np.array([[5.0, 5.0, true]])), SIGMA, *RANGE)
    assert targets[0, 2] == pytest.approx(end, abs=0.01)
    np.testing.assert_allclose(targets[0, :2], 5, atol=5e-3)
    left = draw(targets) - draw(np.array([[5.0, 5.0, true]]))
    assert misfit == pytest.approx((left**2).sum(), abs=1e-6)


@pytest.mark.parametrize(
    ("misfits", "dampings", "anew", "end"),
    [
        ([5, 5 - 4e-7], [1e-2], 1, 5 - 4e-7),
        ([5, 5 - 6e-7, 4, 4 - 1e-9], [1e-2, 2e-3, 4e-4], 3, 4 - 1e-9),
        ([5, 7, 4, 4 - 1e-9], [1e-2, 5e-2, 1e-2], 2, 4 - 1e-9),
        ([5] * 17, [1e-2 * 5**k for k in range(15)], 1, 5),
        ([0, 0] * 9, [1e-2 * 5**k for k in range(15)], 1, 0),
        (range(100, 0, -1), [max(1e-2 / 5**k, 1e-9) for k in range(60)], 61, 40),
    ],
    ids=["small gain", "on and on", "damped", "never lower", "nothing left", "out of steps"],
)
def test_a_descent_ends_with_the_first_small_gain(
    monkeypatch: pytest.MonkeyPatch,
    misfits: Sequence[float],
    dampings: list[float],
    anew: int,
    end: float,
) -> None:
    """Or where damping without end lowers the misfit no more; each gain weakens the damping."""
    given, asked, linearised = iter(misfits), [], []

    def step(
        targets: np.ndarray, _normal: object, _gradient: object, damping: float, *_: float
    ) -> np.ndarray:
        asked.append(damping)
        return np.zeros(3 * len(targets))

    monkeypatch.setattr(module, "_damped_step", step)
    monkeypatch.setattr(module, "_residuals", lambda *_: float(next(given)))
    monkeypatch.setattr(module, "_linearise", lambda *_: linearised.append(1))
    descend = getattr(module._descend, "py_func", module._descend)
    found = descend(np.array([[5.0, 5.0, 50.0]]), np.zeros((11, 11)), 0.5, 10.0, 100.0)
    np.testing.assert_allclose(asked, dampings)
    assert (found, len(linearised)) == (end, anew)

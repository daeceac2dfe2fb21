"""Damped steps of least squares: against NumPy, held to their limits, and when they end."""

from typing import Any

import numpy as np
import pytest

from dscsnet.engines.imaging import render
from tests.engines.plain import plain

module, workspace, spline = plain("descent", "workspace", "spline")

SIZE, TARGETS = 9, 2
UNKNOWNS = workspace.SHARED + 3 * TARGETS
WIDTH = workspace.WIDTH


@pytest.fixture(name="space")
def _space() -> Any:
    rng = np.random.default_rng(3)
    space = workspace.make_workspace(SIZE, TARGETS, spline.PsfTable(np.zeros((0, 0, 0)), 1, 0.0))
    space.psf[:] = 0.7, 0.6
    image = render([2.2, 5.8], [3.1, 5.2], [60, 90], (SIZE, SIZE), 0.7, 0.6)
    image += rng.normal(size=image.shape) + 0.5
    workspace.open_window(space, image, rng.random((SIZE, SIZE)) > 0.1, 1.0, 0, 9.0, 9.0)
    space.precision[:] = rng.uniform(0.5, 2, UNKNOWNS)
    space.mean[:] = near()
    return space


def near() -> Any:
    return np.array([0.3, 0.1, -0.1, 0.02, 2.0, 3.0, 4.0, 6.0, 5.0, 4.4])


def model(space: Any, values: Any) -> Any:
    """Residual of every pixel of the window."""
    y, x = np.mgrid[:SIZE, :SIZE]
    image = values[0] + values[1] * (x - 4) / 4 + values[2] * (y - 4) / 4
    sigma = np.array([0.7, 0.6]) * np.exp(values[3])
    for one in values[4:].reshape(-1, 3):
        image = image + render([one[0]], [one[1]], [np.exp(one[2])], (SIZE, SIZE), *sigma)
    count = space.window[0]
    return image[space.row[:count], space.column[:count]] - space.observed[:count]


def test_residual_normal_matrix_and_gradient(space: Any) -> None:
    values = near()
    residual = model(space, values)
    assert module.evaluate(space, values, TARGETS) == pytest.approx((residual**2).sum(), rel=1e-7)
    np.testing.assert_allclose(space.residual[: len(residual)], residual, atol=1e-7)
    steps = 1e-5 * np.eye(UNKNOWNS)
    slopes = [(model(space, values + s) - model(space, values - s)) / 2e-5 for s in steps]
    jacobian = np.stack(slopes, 1)
    space.jacobian[WIDTH, : len(residual)] = 1e9  # made anew
    module.linearise(space, values, TARGETS)
    found = np.tril(space.normal)
    np.testing.assert_allclose(found, np.tril(jacobian.T @ jacobian), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(space.gradient, jacobian.T @ residual, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("damping", [0.0, 0.5])
def test_a_damped_step_is_that_of_numpy(space: Any, damping: float) -> None:
    values = near() + 0.1
    module.evaluate(space, values, TARGETS)
    module.linearise(space, values, TARGETS)
    normal = np.tril(space.normal) + np.tril(space.normal, -1).T + np.diag(space.precision)
    pull = -space.gradient - 0.1 * space.precision
    expected = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), pull)
    gain = module._damped_step(space, values, TARGETS, damping)
    np.testing.assert_allclose(space.step, expected, rtol=1e-8)
    assert gain == pytest.approx(pull @ expected)
    assert module.penalty(space, values, TARGETS) == pytest.approx(0.01 * space.precision.sum())


def stepped(space: Any, values: Any, step: Any) -> Any:
    space.step[:] = step
    module._take_step(space, values, TARGETS)
    return space.trial.copy()


def test_steps_are_held_to_their_limits(space: Any) -> None:
    values = near()
    small = np.full(UNKNOWNS, 0.1)
    np.testing.assert_allclose(stepped(space, values, small), values + 0.1)
    np.testing.assert_allclose(stepped(space, values, 0 * small), values)
    far = np.array([50, -60, 70, 0.3, 0.7, -1.4, 5, -2.8, 0, -5])
    held = np.array([50, -60, 70, 0.1, 0.175, -0.35, 0.8, -0.35, 0, -0.8])
    np.testing.assert_allclose(stepped(space, values, far), values + held)
    assert stepped(space, values, -far)[WIDTH] == pytest.approx(values[WIDTH] - 0.1)


def test_values_are_held_to_their_bounds(space: Any) -> None:
    values = np.array([0, 0, 0, 0.35, -0.4, 8.4, -3.9, 8.4, -0.4, 24.9])
    step = np.array([0, 0, 0, 0.1, -0.3, 0.3, -0.5, 0.3, -0.3, 0.5])
    bound = [0, 0, 0, 0.4, -0.5, 8.5, -4, 8.5, -0.5, 25]
    np.testing.assert_allclose(stepped(space, values, step), bound)
    values[WIDTH], step[WIDTH] = -0.35, -0.1
    assert stepped(space, values, step)[WIDTH] == -0.4


def test_it_leads_to_the_minimum(space: Any) -> None:
    from scipy.optimize import least_squares

    def residual(values: Any) -> Any:
        return np.append(model(space, values), np.sqrt(space.precision) * (values - space.mean))

    found = least_squares(residual, near(), xtol=1e-12, ftol=1e-12, gtol=1e-10)
    values = near()
    misfit = module.descend(space, values, TARGETS, 60, 0.0)
    np.testing.assert_allclose(values, found.x, atol=2e-5)
    assert misfit == pytest.approx((model(space, found.x) ** 2).sum(), rel=1e-6)


def course(
    monkeypatch: pytest.MonkeyPatch, space: Any, promised: list[float], reached: list[float]
) -> tuple[float, list[float], int]:
    """Misfit, dampings and linearisations of a descent from 10 whose steps go as told."""
    misfits, gains = iter([10.0, *reached]), iter(promised)
    dampings: list[float] = []
    made: list[int] = []

    def damped(_space: Any, _values: Any, _targets: int, damping: float) -> float:
        dampings.append(damping)
        return next(gains)

    monkeypatch.setattr(module, "evaluate", lambda *_: next(misfits))
    monkeypatch.setattr(module, "penalty", lambda *_: 0.0)
    monkeypatch.setattr(module, "linearise", lambda *_: made.append(1))
    monkeypatch.setattr(module, "_damped_step", damped)
    monkeypatch.setattr(module, "_take_step", lambda *_: None)
    misfit = module.descend(space, near(), TARGETS, len(promised), 0.5)
    return misfit, dampings, len(made)


def test_a_descent_ends_where_little_is_to_be_gained(
    monkeypatch: pytest.MonkeyPatch, space: Any
) -> None:
    misfit, dampings, made = course(monkeypatch, space, [5, 5, 0.5], [8, 7])
    assert (misfit, made) == (7, 3)
    np.testing.assert_allclose(dampings, [1e-3, 1e-4, 1e-5])
    assert course(monkeypatch, space, [np.nan], [])[0] == 10
    assert course(monkeypatch, space, [5, 5], [9.51])[1:] == ([1e-3], 1)  # brought too little
    assert course(monkeypatch, space, [5, 5], [9.5, 9])[0] == 9
    assert course(monkeypatch, space, [5, 5], [10])[1] == [1e-3]  # no worse is taken, and the end


def test_a_step_that_fails_is_damped_more(monkeypatch: pytest.MonkeyPatch, space: Any) -> None:
    misfit, dampings, made = course(monkeypatch, space, [5] * 3, [11, 12, 8])
    assert (misfit, made) == (8, 1)
    np.testing.assert_allclose(dampings, [1e-3, 8e-3, 64e-3])
    assert len(course(monkeypatch, space, [5] * 30, [11] * 30)[1]) == 10  # 8**10 / 1000 > 1e6


def test_damping_falls_to_a_least(monkeypatch: pytest.MonkeyPatch, space: Any) -> None:
    _, dampings, _ = course(monkeypatch, space, [5] * 9, list(np.arange(9.0, 0, -1)))
    np.testing.assert_allclose(dampings, [*10.0 ** np.arange(-3, -10, -1), 1e-9, 1e-9])


def test_occam_is_the_volume_that_the_data_leave(space: Any) -> None:
    values = near()
    module.evaluate(space, values, TARGETS)
    module.linearise(space, values, TARGETS)
    normal = np.tril(space.normal) + np.tril(space.normal, -1).T + np.diag(space.precision)
    root = np.diag(np.linalg.cholesky(normal))[4:]
    expected = np.log(np.sqrt(space.precision[4:]) / root).sum()
    assert module.occam(space, TARGETS) == pytest.approx(expected)
    module.invert_normal(space, values, TARGETS)
    inverse = np.tril(space.factor)
    np.testing.assert_allclose(inverse.T @ inverse, np.linalg.inv(normal), rtol=1e-8, atol=1e-12)


def test_what_nothing_is_known_of_is_held_a_little(space: Any) -> None:
    space.normal[:], space.precision[:] = 0, 0
    module._factorise_damped(space, UNKNOWNS, 0.0)
    np.testing.assert_allclose(np.diag(space.factor), 1e6)


def test_pixels_weigh_by_the_light_of_a_fit(space: Any) -> None:
    """That of its targets, not the pixels' own nor the background's; misfit is in their noise."""
    values, count = near(), space.window[0]
    before = model(space, values)
    workspace.set_light_noise(space, 2.0, 0.05, 1.0)
    module.weigh_by_fit(space, values, TARGETS)
    module.weigh_by_fit(space, values, TARGETS)  # weights that were there before do not matter
    light = before - plane(space, values)
    sigma = np.sqrt(1 + light / 2 + (0.05 * light) ** 2)
    np.testing.assert_allclose(1 / space.weight[:count], sigma, rtol=1e-6)
    misfit = module.evaluate(space, values, TARGETS)
    assert misfit == pytest.approx(((before / sigma) ** 2).sum(), rel=1e-6)


def plane(space: Any, values: Any) -> Any:
    """Residual of every pixel with the plane alone, in the crop's noise."""
    count = space.window[0]
    column, row = space.column[:count] - 4, space.row[:count] - 4
    return values[0] + values[1] * column / 4 + values[2] * row / 4 - space.counts[:count]

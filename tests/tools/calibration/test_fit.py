"""The fit of a spot against NumPy's linear algebra and differences."""

import math

import numpy as np
import pytest

from dscsnet.tools.calibration import fit as module
from dscsnet.tools.calibration.fit import (
    ALL,
    INTENSITY,
    OWN,
    SHAPE,
    backgrounds,
    fit_spots,
    shape_information,
    spot_images,
)

SIZE = 13
#: x, y, light, background with slopes and curvatures, and the shape.
TRUE = np.array(
    [
        *(0.3, -0.2, 900.0, 20.0, 0.4, -0.3, 0.02, -0.03, 0.01),
        *(math.log(0.8), math.log(0.7), 0.1),
    ]
)


def image_of(parameters: np.ndarray) -> np.ndarray:
    rows = parameters[None]
    return (spot_images(rows, SIZE) + backgrounds(rows, SIZE))[0]


def test_a_background_is_its_polynomial() -> None:
    found = backgrounds(TRUE[None], SIZE)[0]
    level, slope_x, slope_y, xx, yy, xy = TRUE[3:9]
    for row, column in ((0, 0), (6, 6), (2, 11), (12, 3)):
        dx, dy = column - 6, row - 6
        expected = level + slope_x * dx + slope_y * dy + xx * dx * dx + yy * dy * dy + xy * dx * dy
        assert found[row, column] == pytest.approx(expected)


def test_a_spot_has_its_light_at_its_place() -> None:
    image = spot_images(TRUE[None], 25)[0]
    rows, columns = np.indices((25, 25)) - 12
    assert image.sum() == pytest.approx(900, rel=1e-6)
    assert (image * columns).sum() / 900 == pytest.approx(0.3, abs=1e-4)
    assert (image * rows).sum() / 900 == pytest.approx(-0.2, abs=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        np.array([0.01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        np.array([0.4, 0.5, -500, 10, 0, 0, 0, 0, 0, 0.4, -0.3, 0]),
        np.array([-1.2, 0.9, 900, -20, -0.4, 0.3, 0, 0, 0, -0.3, 0.5, -0.1]),
    ],
    ids=["there", "near", "far"],
)
@pytest.mark.parametrize("free_shape", [True, False])
def test_a_fit_ends_at_the_truth(change: np.ndarray, free_shape: bool) -> None:
    start = TRUE + change
    if not free_shape:
        start[SHAPE] = TRUE[SHAPE]
    values = image_of(TRUE)[None]
    found = fit_spots(values, np.ones_like(values), start[None], free_shape=free_shape)
    assert found.converged[0]
    assert found.chi2[0] < 1e-6
    np.testing.assert_allclose(found.parameters[0], TRUE, atol=2e-4, rtol=1e-5)
    np.testing.assert_array_equal(start[SHAPE], TRUE[SHAPE] + change[SHAPE] * free_shape)


def test_a_shape_that_is_held_stays() -> None:
    start = TRUE.copy()
    start[SHAPE] += [0.3, 0.2, 0.05]
    values = image_of(TRUE)[None]
    found = fit_spots(values, np.ones_like(values), start[None], free_shape=False)
    np.testing.assert_array_equal(found.parameters[0, SHAPE], start[SHAPE])
    assert found.converged[0]
    assert found.chi2[0] > 1


def test_pixels_without_weight_do_not_count() -> None:
    values = image_of(TRUE)[None].copy()
    weights = np.ones_like(values)
    values[0, 2, 3], weights[0, 2, 3] = 1e6, 0.0
    found = fit_spots(values, weights, TRUE[None], free_shape=True)
    np.testing.assert_allclose(found.parameters[0], TRUE, atol=1e-6)


def test_what_makes_no_spot_does_not_converge() -> None:
    values = image_of(TRUE)[None]
    weights = np.ones_like(values)
    for place, value in (
        *((0, 6.9), (0, -6.9), (1, 6.9), (1, -6.9)),
        *((9, 3.9), (9, -3.9), (10, 3.9), (10, -3.9), (11, 49.0)),
    ):
        for outside in (False, True):
            start = TRUE.copy()
            start[place] = value + math.copysign(0.2 + (place == 11), value) * outside
            start[:2] += SIZE // 2
            scratch, normal = np.empty((6, SIZE, SIZE)), np.zeros((ALL, ALL))
            chi2 = module._linearise(values[0], weights[0], start, scratch, normal, np.zeros(ALL))
            assert np.isinf(chi2) == outside, (place, value)


def test_the_limits_of_a_spot_are_beyond_it() -> None:
    values = image_of(TRUE)[None]
    for place, value in (
        *((0, SIZE), (0, -1), (1, SIZE), (1, -1)),
        *((9, 4.0), (9, -4.0), (10, 4.0), (10, -4.0), (11, 50.0), (11, -50.0)),
    ):
        at = TRUE.copy()
        at[:2] += SIZE // 2
        at[place] = value
        scratch, normal = np.empty((6, SIZE, SIZE)), np.zeros((ALL, ALL))
        weights = np.ones_like(values[0])
        chi2 = module._linearise(values[0], weights, at, scratch, normal, np.zeros(ALL))
        assert np.isinf(chi2), (place, value)


def linearised(
    parameters: np.ndarray, values: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Chi-square, normal matrix and gradient of -chi-square / 2."""
    moved = parameters.copy()
    moved[:2] += SIZE // 2
    scratch, normal, gradient = np.empty((6, SIZE, SIZE)), np.empty((ALL, ALL)), np.empty(ALL)
    chi2 = module._linearise(values, weights, moved, scratch, normal, gradient)
    return chi2, normal, gradient


def test_normal_matrix_and_gradient_are_those_of_differences() -> None:
    random = np.random.default_rng(0)
    values = image_of(TRUE) + random.normal(0, 3, (SIZE, SIZE))
    weights = random.uniform(0.5, 2, (SIZE, SIZE))
    chi2, normal, gradient = linearised(TRUE, values, weights)
    assert chi2 == pytest.approx((weights * (values - image_of(TRUE)) ** 2).sum())
    steps = 1e-5 * np.maximum(np.abs(TRUE), 0.1)
    by = np.array(
        [
            (image_of(TRUE + step) - image_of(TRUE - step)).ravel() / (2 * step.sum())
            for step in np.diag(steps)
        ]
    )
    flat = weights.ravel()
    np.testing.assert_allclose(normal, (by * flat) @ by.T, rtol=1e-4, atol=1e-4)
    residual = (values - image_of(TRUE)).ravel()
    np.testing.assert_allclose(gradient, (by * flat) @ residual, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("free", [OWN, ALL])
def test_a_damped_step_solves_its_equations(free: int) -> None:
    random = np.random.default_rng(1)
    square = random.normal(size=(ALL, ALL))
    normal, gradient = square @ square.T, random.normal(size=ALL)
    for damping in (0.0, 0.5):
        raised = normal + damping * np.diag(np.diag(normal))
        step = module._damped_step(normal, gradient, damping, free)
        np.testing.assert_allclose(step, np.linalg.solve(raised[:free, :free], gradient[:free]))
    last = normal.copy()
    last[free - 1] = last[:, free - 1] = 0.0  # which leaves exactly nothing to divide by
    assert not module._damped_step(last, gradient, 0.0, free).any()
    normal[0, 0] = 0.0
    assert not module._damped_step(normal, gradient, 0.0, free).any()


def test_a_spot_says_of_the_shape_what_the_whole_fit_does() -> None:
    """The inverse of all equations, its block of the shape, and the whole step to the minimum."""
    random = np.random.default_rng(2)
    values = image_of(TRUE) + random.normal(0, 3, (SIZE, SIZE))
    held = fit_spots(values[None], np.ones((1, SIZE, SIZE)), TRUE[None], free_shape=False)
    asked, information = shape_information(held)
    inverse = np.linalg.inv(held.normal[0])
    np.testing.assert_allclose(np.linalg.inv(information[0]), inverse[SHAPE, SHAPE], rtol=1e-6)
    step = inverse @ held.gradient[0]
    np.testing.assert_allclose(asked[0], TRUE[SHAPE] + step[SHAPE], rtol=1e-6)
    free = fit_spots(values[None], np.ones((1, SIZE, SIZE)), TRUE[None], free_shape=True)
    np.testing.assert_allclose(asked[0], free.parameters[0, SHAPE], atol=1e-3)
    assert held.parameters[0, INTENSITY] != TRUE[INTENSITY]


@pytest.mark.parametrize(
    ("chi2s", "dampings", "end"),
    [
        ([9, 9 - 1e-5], [1e-2], (9 - 1e-5, True)),
        ([9, 9], [1e-2], (9, True)),
        ([1e-4, 0, 0], [1e-2, 1e-3], (0, True)),
        ([9, 5, 5 - 1.1e-4, 4.9, 4.9], [1e-2, 1e-3, 1e-4, 1e-5], (4.9, True)),
        # Of a step that strong damping made short, a small gain says nothing.
        ([9, 20, 9 - 1e-5, 4, 4], [1e-2, 1e-1, 1e-2, 1e-3], (4, True)),
        ([9, *[20] * 11], [10.0**k for k in range(-2, 9)], (9, False)),
        ([9, *range(8, -53, -1)], [max(10.0**-k, 1e-9) for k in range(2, 62)], (-51, False)),
    ],
    ids=[
        "small gain",
        "none",
        "just not small",
        "on and on",
        "damped",
        "never lower",
        "out of steps",
    ],
)
def test_a_fit_ends_with_the_last_small_gain(
    monkeypatch: pytest.MonkeyPatch,
    chi2s: list[float],
    dampings: list[float],
    end: tuple[float, bool],
) -> None:
    given, asked = iter(chi2s), []

    def step(_normal: object, _gradient: object, damping: float, free: int) -> np.ndarray:
        asked.append(damping)
        return np.ones(free)

    monkeypatch.setattr(module, "_damped_step", step)
    monkeypatch.setattr(module, "_linearise", lambda *_: float(next(given)))
    fit_one = getattr(module._fit_one, "py_func", module._fit_one)
    image, normal = np.zeros((SIZE, SIZE)), np.zeros((ALL, ALL))
    found = fit_one(image, image, OWN, TRUE.copy(), normal, np.zeros(ALL))
    np.testing.assert_allclose(asked, dampings)
    assert found == end

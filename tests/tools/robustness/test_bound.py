"""The Cramér-Rao bound, against derivatives of the engines' own images."""

import math
from typing import Any

import numpy as np
import pytest

from dscsnet.engines.array_types import Float
from dscsnet.engines.imaging import render
from dscsnet.tools.robustness.bound import position_bound
from dscsnet.tools.robustness.render import Gaussian
from dscsnet.tools.robustness.scenes import Scene

LIGHT, SHAPE = Gaussian(0.7, 0.7), (50, 60)


def scene(x: Any, y: Any, flux: float = 1000.0, sigma: Any = 10.0) -> Scene:
    """Spots of the given targets, (n, targets)."""
    x, y = np.atleast_2d(np.array(x, float)), np.atleast_2d(np.array(y, float))
    nothing = np.zeros(SHAPE, np.float32)
    noise = np.broadcast_to(np.asarray(sigma, float), SHAPE)
    return Scene(nothing, x, y, np.full(x.shape, flux), x[:, 0], y[:, 0], noise, None)


def reference(x: list[float], y: list[float], flux: float, sigma: Float) -> float:
    """From differences of images by `render`; all of the frame, level and every target's counts."""

    def image(values: Float) -> Float:
        targets = values[:-1].reshape(3, -1)
        return values[-1] + render(*targets, SHAPE, 0.7)

    at = np.array([*x, *y, *[flux] * len(x), 0.0])
    steps = np.diag([1e-4] * 2 * len(x) + [1e-2] * (len(x) + 1))
    slopes = [(image(at + s) - image(at - s)) / (2 * s.max()) for s in steps]
    jacobian = np.array([(slope / sigma).ravel() for slope in slopes])
    variance = np.diag(np.linalg.inv(jacobian @ jacobian.T))[: 2 * len(x)]
    return math.sqrt(variance.mean())


@pytest.mark.parametrize(
    ("x", "y"), [([30.2], [24.7]), ([29.4, 30.6], [25.0, 25.1]), ([29.3, 30.5, 30.0], [25, 25, 26])]
)
def test_it_is_that_of_another_imaging_model(x: list[float], y: list[float]) -> None:
    noise = np.full(SHAPE, 10.0)
    found = position_bound(scene(x, y), LIGHT)
    assert found == pytest.approx(reference(x, y, 1000.0, noise), rel=5e-3)


def test_each_pixel_counts_with_its_own_noise() -> None:
    noise = np.random.default_rng(0).uniform(5, 40, SHAPE)
    noise[25, 30] = np.inf  # saturated
    found = position_bound(scene([30.2], [24.7], sigma=noise), LIGHT)
    assert found == pytest.approx(reference([30.2], [24.7], 1000.0, noise), rel=5e-3)
    assert found > position_bound(scene([30.2], [24.7], sigma=10.0), LIGHT)


def test_it_falls_with_the_light_and_is_the_mean_over_spots() -> None:
    one, two = (position_bound(scene([30.2], [24.7], flux), LIGHT) for flux in (1e3, 2e3))
    assert one == pytest.approx(2 * two, rel=1e-6)
    other = position_bound(scene([18.0], [20.5]), LIGHT)
    both = position_bound(scene([[30.2], [18.0]], [[24.7], [20.5]]), LIGHT)
    assert both == pytest.approx(math.sqrt((one**2 + other**2) / 2), rel=1e-6)


def test_two_in_one_place_cannot_be_told_apart() -> None:
    assert math.isnan(position_bound(scene([30.0, 30.0], [25.0, 25.0]), LIGHT))


def test_at_the_frames_edge_there_are_fewer_pixels() -> None:
    edge, inside = scene([-0.3], [24.7]), scene([29.7], [24.7])
    assert position_bound(edge, LIGHT) > 1.3 * position_bound(inside, LIGHT)
    noise = np.full(SHAPE, 10.0)
    expected = reference([-0.3], [24.7], 1000.0, noise)
    assert position_bound(edge, LIGHT) == pytest.approx(expected, rel=5e-3)

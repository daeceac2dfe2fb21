"""Trails: spots that are drawn out along one axis, and clusters that are not."""

import math

import numpy as np
import pytest

from dscsnet.pipeline.messages import SpotFlag
from dscsnet.pipeline.unmix import Unmixer
from dscsnet.pipeline.unmix.frame_doubts import trailed
from dscsnet.tools.robustness.scenes import Situation, draw


def pairs(angles: np.ndarray, apart: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spot, x and y of two targets in each spot."""
    number = len(angles)
    middle = 20.0 * np.arange(number)
    x = np.concatenate([middle + apart * np.cos(angles), middle - apart * np.cos(angles)])
    y = np.concatenate([apart * np.sin(angles), -apart * np.sin(angles)])
    return np.tile(np.arange(number), 2), x, y


@pytest.mark.parametrize("angle", [0.0, 0.7, math.pi / 2, 2.9])
def test_pairs_along_one_axis_are_trails(angle: float) -> None:
    random = np.random.default_rng(0)
    spot, x, y = pairs(angle + random.normal(0, 0.2, 12))
    light = random.uniform(1, 3, 24)
    assert trailed(spot, x, y, light, 13).tolist() == [True] * 12 + [False]


def test_pairs_of_any_axis_are_not() -> None:
    random = np.random.default_rng(1)
    found = [
        trailed(*pairs(random.uniform(0, math.pi, 10)), np.ones(20), 10).any() for _ in range(300)
    ]
    assert not any(found)


def test_few_spots_or_few_of_many_tell_nothing() -> None:
    spot, x, y = pairs(np.zeros(7))
    assert not trailed(spot, x, y, np.ones(14), 7).any()
    spot, x, y = pairs(np.zeros(9))
    single = np.arange(9, 40)
    some = np.concatenate([spot, single])
    x, y = np.concatenate([x, 20.0 * single]), np.concatenate([y, 0.0 * single])
    assert not trailed(some, x, y, np.ones(len(some)), 40).any()
    assert trailed(some[:40], x[:40], y[:40], np.ones(40), 40).sum() == 9


def test_a_frame_of_trails_is_flagged_and_one_of_pairs_is_not() -> None:
    with Unmixer(0.7, "psf-fit", max_crops=500) as unmixer:
        for situation, expected in (
            (Situation("", "", trail=2.0), True),
            (Situation("", "", targets=2), False),
        ):
            scene = draw(situation, 3)
            result = unmixer.frame(scene.pixels, scene.spot_x, scene.spot_y)
            several = result.spots.count > 1
            assert several.mean() > 0.9
            flagged = (result.spots.flags & SpotFlag.TRAIL) > 0
            np.testing.assert_array_equal(flagged, several & expected)


def test_several_targets_in_correlated_noise_are_flagged() -> None:
    with Unmixer(0.86, "psf-fit", max_crops=500) as unmixer:
        for resampled in (True, False):
            scene = draw(Situation("", "", targets=2, apart=2.0, resampled=resampled), 4)
            result = unmixer.frame(scene.pixels, scene.spot_x, scene.spot_y)
            several = result.spots.count > 1
            flagged = (result.spots.flags & SpotFlag.CORRELATED) > 0
            np.testing.assert_array_equal(flagged, several & resampled)

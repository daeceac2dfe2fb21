"""Saturation that nobody told: where there is a plateau, and where there is only a bright spot."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from dscsnet.engines.imaging import render
from dscsnet.pipeline.cropping.cut import Crops, cut_crops
from dscsnet.pipeline.cropping.plan import plan_crops
from dscsnet.pipeline.cropping.plateau import plateau
from dscsnet.pipeline.messages import SpotFlag

SHAPE = (60, 60)
X, Y = np.array([15.2, 40.4]), np.array([20.1, 39.7])


def frame(noise: float = 3.0, sigma: float = 0.8, counts: float = 20000) -> NDArray[np.float64]:
    image = 500 + noise * np.random.default_rng(1).normal(size=SHAPE)
    return image + render(X, Y, np.array([counts, 0.8 * counts]), SHAPE, sigma)


def cut(image: NDArray[np.generic], saturation: float | None = None) -> Crops:
    plan = plan_crops(
        X, Y, frame_shape=SHAPE, crop_size=11, field_size=7.0, merge_radius=3.0, max_crops=8
    )
    return cut_crops(image, plan, size=11, saturation=saturation)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("level", [1500.0, 2000.0])
def test_a_plateau_is_cut_out_as_if_its_level_had_been_told(dtype: type, level: float) -> None:
    image = np.minimum(frame(), level).astype(dtype)
    found, told = cut(image), cut(image, level)
    assert (~found.usable).sum() >= 6
    for name in ("pixels", "usable", "background", "noise", "flags"):
        np.testing.assert_array_equal(getattr(found, name), getattr(told, name), err_msg=name)
    assert (found.flags & SpotFlag.SATURATED).all()


def test_what_is_not_cut_off_stays() -> None:
    for image in (frame(), frame(noise=0.7), frame(counts=60), frame(sigma=2.0)):
        for dtype in (np.uint16, np.float32):
            assert cut(image.astype(dtype)).usable.all()


def test_a_frame_without_noise_has_no_plateau() -> None:
    """Between four pixels a target lights them alike."""
    image = 500 + render(np.array([15.5]), np.array([20.5]), np.array([9000.0]), SHAPE, 0.8)
    assert cut(image.round().astype(np.uint16)).usable.all()
    assert cut(np.zeros(SHAPE, np.uint16)).usable.all()


def test_a_mask_or_a_told_level_come_first() -> None:
    image = np.minimum(frame(), 2000.0).astype(np.float32)
    assert cut(image, 1e6).usable.all()


def crops(*rows: list[float]) -> NDArray[np.float64]:
    """One crop of noise with some pixels in its middle."""
    values = np.random.default_rng(0).normal(0, 1, (1, 9, 9))
    for i, row in enumerate(rows):
        values[0, 3 + i, 3 : 3 + len(row)] = row
    return values


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (([200, 200, 200],), True),
        (([200, 200], [0, 0, 200]), True),
        (([200, 200],), False),
        (([200, 0, 200], [0, 0, 0], [200, 0, 0]), False),
        (([200, 200, 200], [201]), False),
        # 30 times the noise: by chance at lower ones.
        (([15, 15, 15],), False),
        (([60, 60, 60],), True),
    ],
)
def test_three_side_by_side_and_none_above(rows: tuple[list[float], ...], found: bool) -> None:
    values = crops(*rows)
    level = plateau(values, np.zeros(values.shape, np.uint8))
    assert (level < math.inf) == found
    if found:
        assert level == max(map(max, rows))


def test_pixels_that_are_bad_make_no_plateau() -> None:
    values = crops([200, 200, 200])
    states = np.zeros(values.shape, np.uint8)
    states[0, 3, 4] = 4
    assert plateau(values, states) == math.inf

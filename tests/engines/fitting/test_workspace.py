"""The window of a fit and the noise that is believed, at their limits."""

import math
from typing import Any

import numpy as np
import pytest

from tests.engines.plain import plain

workspace, spline = plain("workspace", "spline")

NONE = spline.PsfTable(np.zeros((0, 0, 0)), 1, 0.0)


def opened(image: Any, targets: int = 0, reach: tuple[float, float] = (2.0, 3.0)) -> Any:
    image = np.asarray(image, np.float32)
    space = workspace.make_workspace(len(image), 2, NONE)
    for array in (space.jacobian, space.residual, space.observed):
        array[...] = 99
    space.mean[4:] = 1, 2, 0, 6, 5, 0
    usable = np.ones(image.shape, bool)
    usable[0, 1] = False
    space.window[0] = workspace.open_window(space, image, usable, 2.0, targets, *reach)
    return space


def test_memory_is_for_whole_registers_and_four_weights() -> None:
    for size, pixels in ((3, 16), (4, 16), (5, 32), (11, 128)):
        space = workspace.make_workspace(size, 2, NONE)
        assert space.jacobian.shape == (10, pixels)
        assert space.residual.shape == space.row.shape == space.column.shape == (pixels,)
        assert space.profile_x.shape == space.profile_y.shape == (2, 3, max(size, 4))
        assert space.size == size
    assert [workspace.padded(n) for n in (0, 1, 16, 17)] == [0, 16, 16, 32]


def test_the_plane_is_told_per_half_crop() -> None:
    image = np.arange(25.0).reshape(5, 5)
    image[4, 0], image[2, 2] = np.nan, np.inf
    space = opened(image)
    row, column = np.nonzero(np.isfinite(image) & (image != 1))
    count = len(row)
    assert space.window.tolist() == [count, 0, 4, 0, 4]
    np.testing.assert_array_equal(space.row[:count], row)
    np.testing.assert_array_equal(space.column[:count], column)
    np.testing.assert_array_equal(space.observed[:count], image[row, column] / 2)
    np.testing.assert_array_equal(space.counts[:count], image[row, column] / 2)
    assert (space.weight[:count] == 1).all()
    plane = [np.ones(count), (column - 2) / 2, (row - 2) / 2]
    np.testing.assert_allclose(space.jacobian[:3, :count], plane)
    assert (space.jacobian[:, count:32] == 0).all()
    assert (space.residual[count:32] == 0).all()
    assert (space.residual[:count] == 99).all()


def test_pixels_count_within_reach_of_any_target() -> None:
    for targets in (1, 2):
        space = opened(np.zeros((9, 9)), targets)
        y, x = np.mgrid[:9, :9]
        near = ((x - 1) / 2) ** 2 + ((y - 2) / 3) ** 2 <= 1
        if targets == 2:
            near |= ((x - 6) / 2) ** 2 + ((y - 5) / 3) ** 2 <= 1
        near[0, 1] = False
        row, column = np.nonzero(near)
        assert near[2, 3]  # just within: the edge itself counts
        count = len(row)
        expected = [count, column.min(), column.max(), row.min(), row.max()]
        assert space.window.tolist() == expected
        np.testing.assert_array_equal(space.column[:count], column)


def test_without_pixels_the_window_is_empty() -> None:
    space = opened(np.full((3, 3), np.nan))
    assert space.window[0] == 0
    assert opened(np.zeros((3, 3)), 1, (0.1, 0.1)).window.tolist() == [1, 1, 1, 2, 2]


def test_a_crop_of_one_pixel_has_no_slopes() -> None:
    space = workspace.make_workspace(1, 1, NONE)
    assert workspace.open_window(space, np.ones((1, 1)), np.ones((1, 1), bool), 1.0, 0, 1, 1) == 1
    assert space.jacobian[:3, 0].tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("noise", "believed"),
    [
        (3.0, 3.0),
        (0.0, 1e-5 * 200),
        (1e-5 * 200, 1e-5 * 200),
        (-1.0, 1e-5 * 200),
        (math.nan, 1e-2 * 200),
        (math.inf, 1e-2 * 200),
    ],
)
def test_noise_is_believed_down_to_a_share_of_the_brightest_pixel(
    noise: float, believed: float
) -> None:
    pixels = np.array([[1.0, -200.0], [500.0, np.inf]])
    usable = np.array([[True, True], [False, True]])
    assert workspace.believable_noise(pixels, usable, noise) == pytest.approx(believed)


def test_where_nothing_is_seen_the_brightest_pixel_stands_at_1() -> None:
    dark, none = np.zeros((2, 2)), np.zeros((2, 2), bool)
    for pixels, usable in ((dark, ~none), (dark + 7, none)):
        assert workspace.believable_noise(pixels, usable, math.nan) == 1e-2
        assert workspace.believable_noise(pixels, usable, 0.0) == 1e-5


def test_pixels_are_weighed_by_the_noise_of_their_light() -> None:
    """In units of a crop noise of 2 counts, of 0.5 electrons a count and a PSF known to 5 %."""
    image = np.arange(25.0).reshape(5, 5)
    space = opened(image)
    workspace.set_light_noise(space, 0.5, 0.05, 2.0)
    count = space.window[0]
    light = np.linspace(-3, 40, count)
    workspace.weigh(space, light)
    counts = 2 * np.maximum(light, 0)
    sigma = np.sqrt(2**2 + counts / 0.5 + (0.05 * counts) ** 2) / 2
    np.testing.assert_allclose(space.weight[:count], 1 / sigma)
    np.testing.assert_allclose(space.observed[:count], space.counts[:count] / sigma)
    column, row = space.column[:count], space.row[:count]
    plane = [np.ones(count), (column - 2) / 2, (row - 2) / 2]
    np.testing.assert_allclose(space.jacobian[:3, :count], plane / sigma)
    np.testing.assert_allclose(space.counts[:count], image[row, column] / 2)  # as they were


@pytest.mark.parametrize("light", [math.nan, math.inf, 1e300, -1e300, 0.0])
def test_every_weight_is_above_0_whatever_the_light(light: float) -> None:
    space = opened(np.ones((5, 5)))
    workspace.set_light_noise(space, 1e-30, 1.0, 2.0)
    workspace.weigh(space, np.full(25, light))
    weights = space.weight[: space.window[0]]
    assert ((weights > 0) & (weights <= 1)).all()
    if not light > 0:
        assert (weights == 1).all()


@pytest.mark.parametrize(("bright", "uneven"), [(0.0, False), (2.0, False), (2.1, True)])
def test_noise_is_uneven_where_a_pixel_weighs_2_per_cent_less(bright: float, uneven: bool) -> None:
    """A PSF known to 10 %: 2.03 noises on a pixel add 0.0412 to its variance, 2 % to its sigma."""
    image = np.zeros((5, 5))
    image[3, 2] = 2 * bright
    space = workspace.make_workspace(5, 1, NONE)
    workspace.set_light_noise(space, math.inf, 0.1, 2.0)
    workspace.open_window(space, image, np.ones((5, 5), bool), 2.0, 0, 9.0, 9.0)
    assert workspace.is_uneven(space) == uneven

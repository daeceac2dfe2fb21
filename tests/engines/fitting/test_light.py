"""A target's light and its derivatives, of a Gaussian and from a table, by differences."""

from typing import Any

import numpy as np
import pytest

from dscsnet.engines.imaging import render
from dscsnet.tools.robustness.render import REACH, Gaussian, stamps
from tests.engines.plain import plain

light, psf, workspace = plain("light", "psf", "workspace")

SIZE, K = 9, 1
PLACE = workspace.SHARED + 3 * K


def make(table: Any) -> Any:
    space = workspace.make_workspace(SIZE, 2, table)
    space.psf[:] = 0.6, 0.8
    usable = np.ones((SIZE, SIZE), bool)
    usable[:1], usable[:, :2] = False, False
    workspace.open_window(space, np.zeros((SIZE, SIZE)), usable, 1.0, 0, 9.0, 9.0)
    return space


@pytest.fixture(name="values")
def _values() -> Any:
    values = np.zeros(workspace.SHARED + 6)
    values[workspace.WIDTH] = 0.13  # slopes jump a little at a width of the tables
    values[PLACE : PLACE + 3] = 4.3, 5.6, 3.0
    return values


TABLES = {"gaussian": psf.NO_TABLE, "table": psf.elliptical_table(0.6, 0.8, 25.0)}


@pytest.mark.parametrize("name", TABLES)
def test_slopes_are_those_of_differences(name: str, values: Any) -> None:
    space = make(TABLES[name])
    count = space.window[0]

    def image(axis: int, step: float) -> Any:
        moved = values.copy()
        moved[axis] += step
        light.fill_light(space, moved, K)
        return space.jacobian[PLACE + 2, :count].copy()

    axes = [PLACE, PLACE + 1, workspace.WIDTH]
    expected = [(image(axis, 1e-5) - image(axis, -1e-5)) / 2e-5 for axis in axes]
    light.fill_light(space, values, K)
    space.jacobian[workspace.WIDTH] = 5.0
    light.fill_slopes(space, values, K)
    space.jacobian[workspace.WIDTH] -= 5.0  # it is added to
    np.testing.assert_allclose(space.jacobian[axes, :count], expected, atol=2e-6)
    assert (space.jacobian[workspace.SHARED : PLACE] == 0).all()


def test_a_gaussian_is_the_one_that_is_drawn(values: Any) -> None:
    space = make(psf.NO_TABLE)
    light.fill_light(space, values, K)
    factor = np.exp(0.13)
    drawn = render([4.3], [5.6], [np.exp(3.0)], (SIZE, SIZE), 0.6 * factor, 0.8 * factor)
    np.testing.assert_allclose(
        space.jacobian[PLACE + 2, : space.window[0]], drawn[1:, 2:].ravel(), atol=1e-7
    )


@pytest.mark.parametrize(("angle", "sigmas"), [(0.0, (0.6, 0.8)), (90.0, (0.8, 0.6))])
def test_a_table_of_a_gaussian_gives_its_light(
    angle: float, sigmas: tuple[float, float], values: Any
) -> None:
    space = make(psf.elliptical_table(0.6, 0.8, angle))
    light.fill_light(space, values, K)
    wide = np.exp(values[workspace.WIDTH]) * np.array(sigmas)
    drawn = render([4.3], [5.6], [np.exp(3.0)], (SIZE, SIZE), *wide)
    np.testing.assert_allclose(
        space.jacobian[PLACE + 2, : space.window[0]], drawn[1:, 2:].ravel(), atol=2e-3
    )


MAJOR, MINOR, ANGLE = 0.8, 0.6, 30.0
ELLIPSE = psf.elliptical_table(MAJOR, MINOR, ANGLE)


def quadrature(x: float, y: float, log_width: float) -> Any:
    """The window's pixels of a unit target with the turned PSF, by Gauss-Legendre sums."""
    gaussian = Gaussian(MAJOR, MINOR, ANGLE).scaled(float(np.exp(log_width)))
    left, top, shares = stamps(gaussian, np.array([x]), np.array([y]))
    image = np.zeros((SIZE + 2 * REACH,) * 2)
    row, column = top[0] + REACH, left[0] + REACH
    image[row : row + 2 * REACH + 1, column : column + 2 * REACH + 1] = shares[0]
    return image[REACH + 1 : REACH + SIZE, REACH + 2 : REACH + SIZE].ravel()


@pytest.mark.parametrize("log_width", [-0.4, -0.23, -0.05, 0.0, 0.08, 0.3, 0.4])
def test_a_turned_ellipse_of_any_width_is_that_of_quadrature(log_width: float) -> None:
    """Shares of the light, and how they change with position and ln width."""
    space = make(ELLIPSE)
    values = np.zeros(workspace.SHARED + 6)
    values[workspace.WIDTH] = log_width
    values[PLACE : PLACE + 3] = 4.3, 5.6, np.log(50.0)
    light.fill_light(space, values, K)
    count, step = space.window[0], 1e-4
    found = space.jacobian[PLACE + 2, :count] / 50
    np.testing.assert_allclose(found, quadrature(4.3, 5.6, log_width), atol=1e-4)
    light.fill_slopes(space, values, K)
    for axis, move in ((PLACE, (1, 0, 0)), (PLACE + 1, (0, 1, 0)), (workspace.WIDTH, (0, 0, 1))):
        at = np.array([4.3, 5.6, log_width])
        ahead, behind = (quadrature(*(at + sign * step * np.array(move))) for sign in (1, -1))
        slope = (ahead - behind) / (2 * step)
        np.testing.assert_allclose(space.jacobian[axis, :count] / 50, slope, atol=1.5e-3)


@pytest.mark.parametrize("name", TABLES)
def test_light_and_slopes_are_weighed_pixel_by_pixel(name: str, values: Any) -> None:
    plain_space, weighed = make(TABLES[name]), make(TABLES[name])
    count = plain_space.window[0]
    weights = np.linspace(0.1, 1, count)
    weighed.weight[:count] = weights
    for space in (plain_space, weighed):
        light.fill_light(space, values, K)
        light.fill_slopes(space, values, K)
    for row in (workspace.WIDTH, PLACE, PLACE + 1, PLACE + 2):
        expected = weights * plain_space.jacobian[row, :count]
        np.testing.assert_allclose(weighed.jacobian[row, :count], expected, rtol=1e-12)

"""A target's light and its derivatives, of a Gaussian and from a table, by differences."""

from typing import Any

import numpy as np
import pytest

from dscsnet.engines.imaging import render
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
    values[workspace.WIDTH] = 0.1
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

    axes = [PLACE, PLACE + 1] + [workspace.WIDTH] * (name == "gaussian")
    expected = [(image(axis, 1e-5) - image(axis, -1e-5)) / 2e-5 for axis in axes]
    light.fill_light(space, values, K)
    space.jacobian[workspace.WIDTH] = 5.0
    light.fill_slopes(space, values, K)
    space.jacobian[workspace.WIDTH] -= 5.0  # it is added to
    np.testing.assert_allclose(space.jacobian[axes, :count], expected, atol=2e-6)
    if name == "table":
        assert (space.jacobian[workspace.WIDTH] == 0).all()
    assert (space.jacobian[workspace.SHARED : PLACE] == 0).all()


def test_a_gaussian_is_the_one_that_is_drawn(values: Any) -> None:
    space = make(psf.NO_TABLE)
    light.fill_light(space, values, K)
    factor = np.exp(0.1)
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
    drawn = render([4.3], [5.6], [np.exp(3.0)], (SIZE, SIZE), *sigmas)
    np.testing.assert_allclose(
        space.jacobian[PLACE + 2, : space.window[0]], drawn[1:, 2:].ravel(), atol=2e-3
    )

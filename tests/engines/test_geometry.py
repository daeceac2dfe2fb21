"""Grid, crop and frame coordinates, both ways."""

import numpy as np
import pytest

from dscsnet.engines.geometry import Grid
from dscsnet.engines.imaging import render

GRIDS = [Grid(), Grid(11, 5), Grid(9, 7, 5), Grid(11, 3, 7)]


@pytest.mark.parametrize("grid", GRIDS)
def test_cells_and_crop_pixels_round_trip(grid: Grid) -> None:
    cells = np.arange(grid.cells)
    np.testing.assert_array_equal(grid.crop_to_cell(grid.cell_to_crop(cells)), cells)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_position_lies_within_half_a_cell_of_its_cell(grid: Grid) -> None:
    positions = np.random.default_rng(0).uniform(-0.499, grid.crop_size - 0.501, 1000)
    centre = grid.cell_to_crop(grid.crop_to_cell(positions))
    assert np.abs(centre - positions).max() <= 0.5 / grid.upsampling + 1e-12


def test_the_grid_of_the_paper() -> None:
    grid = Grid(11, 3)
    assert grid.cells == 33
    # The middle cell of a pixel is centred on it; its neighbours are a third of a pixel away.
    np.testing.assert_allclose(grid.cell_to_crop([0, 1, 2, 16]), [-1 / 3, 0, 1 / 3, 5])


def test_a_crop_is_centred_on_its_pixel_of_the_frame() -> None:
    frame = Grid().crop_to_frame([0.0, 4.7, 10.0], [100, 7, 3])
    np.testing.assert_allclose(frame, [95, 6.7, 8])


@pytest.mark.parametrize("grid", GRIDS)
def test_operator_columns_are_images_of_unit_targets(grid: Grid) -> None:
    operator = grid.operator(0.5)
    size = grid.crop_size
    assert operator.shape == (size, grid.field_cells)
    for row, column in ((0, 0), (3, 7), (grid.field_cells - 1, 4)):
        x, y = (grid.cell_to_crop(cell + grid.margin_cells) for cell in (column, row))
        image = render([x], [y], [1.0], (size, size), 0.5)
        np.testing.assert_allclose(
            np.outer(operator[:, row], operator[:, column]), image, atol=5e-9
        )


@pytest.mark.parametrize("sizes", [(10, 3, 5), (11, 2, 5), (11, 3, 13), (11, 3, 0)])
def test_impossible_geometry_is_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"must be odd|must not exceed"):
        Grid(*sizes)


@pytest.mark.parametrize("name", ["crop_size", "upsampling", "field_size"])
def test_sides_are_odd_and_at_least_1(name: str) -> None:
    assert getattr(Grid(**{"field_size": 1, name: 1}), name) == 1
    for value in (-1, 0, 2):
        with pytest.raises(ValueError, match=f"^{name} must be odd and at least 1, got {value}$"):
            Grid(**{name: value})
    assert Grid(9, 3, 9).field_size == 9

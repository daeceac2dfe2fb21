"""Values of a table of splines, against SciPy's."""

import numpy as np
import pytest
from scipy.interpolate import BSpline

from tests.engines.plain import plain

spline = plain("spline")


@pytest.mark.parametrize("offset", [-1.0, -0.99, -0.3, 0.0, 0.26, 0.5, 1.13])
def test_weights_are_the_values_of_the_cubic_spline(offset: float) -> None:
    table = spline.PsfTable(np.zeros((17, 17, 1)), 4, 2.0)
    out = np.full((3, 5), 7.0)
    first = spline.spline_weights(offset, table, out)
    basis = BSpline.basis_element(np.linspace(-2, 2, 5), extrapolate=False)
    place = (offset + 2.0) * 4
    distance = place - np.arange(first, first + 4)
    assert first == np.floor(place) - 1
    values = np.nan_to_num(basis(distance))
    np.testing.assert_allclose(out[0, :4], values, atol=1e-12)
    slopes = np.nan_to_num(basis.derivative()(np.clip(distance, -1.999999999, 1.999999999)))
    np.testing.assert_allclose(out[1, :4], 4 * slopes, atol=1e-7)
    assert (out[2] == 7).all()
    assert (out[:, 4] == 7).all()


@pytest.mark.parametrize("widths", [1, 9])
def test_there_is_nothing_outside_the_table(widths: int) -> None:
    coefficients = np.arange(36.0 * widths).reshape(6, 6, widths) ** 2
    table = spline.PsfTable(coefficients, 1, 2.5)
    along_x, along_y = np.array([1.0, 2, 3, 4]), np.array([5.0, 6, 8, 7])
    shares = np.array([0.5, -2.0, 1.5, 3.0]) if widths > 1 else np.array([1.5, 0.0, 0.0, 0.0])
    for row in range(-1, 4):
        for column in range(-1, 4):
            found = spline.spline_value(table, row, column, along_y, along_x, 2, shares)
            layers = coefficients[..., 2:6] @ shares if widths > 1 else 1.5 * coefficients[..., 0]
            part = layers[row : row + 4, column : column + 4]
            inside = 0 <= row <= 2 and 0 <= column <= 2
            assert found == pytest.approx(along_y @ part @ along_x if inside else 0.0)


@pytest.mark.parametrize("log_width", [-0.45, -0.4, -0.31, -0.05, 0.0, 0.123, 0.3, 0.4, 0.5])
def test_weights_of_widths_reproduce_cubics(log_width: float) -> None:
    """Of ln width: values and slopes, at the ends of the table and a little beyond."""
    table = spline.PsfTable(np.zeros((5, 5, spline.WIDTHS)), 4, 2.0)
    value, slope = np.full(5, 7.0), np.full(5, 7.0)
    first = spline.width_weights(log_width, table, value, slope)
    assert 0 <= first <= spline.WIDTHS - 4
    places = spline.WIDTH_STEP * (np.arange(first, first + 4) - spline.WIDTHS // 2)
    inner = places[1] - 1e-12 <= log_width <= places[2] + 1e-12
    assert inner or first in (0, spline.WIDTHS - 4)
    for power in range(4):
        assert value[:4] @ places**power == pytest.approx(log_width**power, abs=1e-12)
        expected = power * log_width ** max(power - 1, 0)
        assert slope[:4] @ places**power == pytest.approx(expected, abs=1e-11)
    assert (value[4], slope[4]) == (7, 7)


def test_of_one_width_nothing_changes_with_the_width() -> None:
    value, slope = np.full(4, 7.0), np.full(4, 7.0)
    table = spline.PsfTable(np.zeros((5, 5, 1)), 4, 2.0)
    assert spline.width_weights(0.3, table, value, slope) == 0
    assert (value.tolist(), slope.tolist()) == ([1, 0, 0, 0], [0, 0, 0, 0])

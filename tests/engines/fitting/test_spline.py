"""Values of a table of splines, against SciPy's."""

import numpy as np
import pytest
from scipy.interpolate import BSpline

from tests.engines.plain import plain

spline = plain("spline")


@pytest.mark.parametrize("offset", [-1.0, -0.99, -0.3, 0.0, 0.26, 0.5, 1.13])
def test_weights_are_the_values_of_the_cubic_spline(offset: float) -> None:
    table = spline.PsfTable(np.zeros((17, 17)), 4, 2.0)
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


def test_there_is_nothing_outside_the_table() -> None:
    coefficients = np.arange(36.0).reshape(6, 6) ** 2
    table = spline.PsfTable(coefficients, 1, 2.5)
    along_x, along_y = np.array([1.0, 2, 3, 4]), np.array([5.0, 6, 8, 7])
    for row in range(-1, 4):
        for column in range(-1, 4):
            found = spline.spline_value(table, row, column, along_y, along_x)
            part = coefficients[row : row + 4, column : column + 4]
            inside = 0 <= row <= 2 and 0 <= column <= 2
            assert found == pytest.approx(along_y @ part @ along_x if inside else 0.0)

"""Small positive systems against NumPy."""

import numpy as np
import pytest

from tests.engines.plain import plain

linear = plain("linear")


@pytest.mark.parametrize("size", [1, 2, 5])
def test_factor_solution_and_inverse_are_those_of_numpy(size: int) -> None:
    rng = np.random.default_rng(size)
    root = rng.normal(size=(size, size + 2))
    matrix = root @ root.T
    given = np.full((size + 1, size + 1), 7.0)
    given[:size, :size] = np.tril(matrix) + np.triu(np.full((size, size), np.nan), 1)
    linear.factorise(given, size)
    factor = np.linalg.cholesky(matrix)
    np.testing.assert_allclose(np.tril(given[:size, :size], -1), np.tril(factor, -1), atol=1e-12)
    np.testing.assert_allclose(np.diag(given)[:size], 1 / np.diag(factor))
    assert (given[size] == 7).all()
    vector = np.append(rng.normal(size=size), 7.0)
    expected = np.linalg.solve(matrix, vector[:size])
    linear.solve(given, vector, size)
    np.testing.assert_allclose(vector, [*expected, 7.0])
    linear.invert_factor(given, size)
    inverse = np.linalg.inv(matrix)
    for second in range(size):
        for first in range(second + 1):
            found = linear.covariance(given, first, second, size)
            assert found == pytest.approx(inverse[first, second])
    assert (given[size] == 7).all()


def test_what_is_not_positive_is_taken_for_a_little() -> None:
    for value in (0.0, -4.0):
        matrix = np.array([[value]])
        linear.factorise(matrix, 1)
        assert matrix[0, 0] == pytest.approx(1e15)

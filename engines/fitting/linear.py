"""Small dense positive systems, compiled and in place."""

import math

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import inner


@inner
def factorise(matrix: Float, size: int) -> None:
    """Cholesky's decomposition of the leading part's lower triangle, in place.

    The diagonal of the factor is stored inverted, as the functions below need it.
    """
    for i in range(size):
        for j in range(i):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = total * matrix[j, j]
        total = matrix[i, i]
        for k in range(i):
            total -= matrix[i, k] * matrix[i, k]
        matrix[i, i] = 1.0 / math.sqrt(max(total, 1e-30))


@inner
def solve(factor: Float, vector: Float, size: int) -> None:
    """Solve with a factor made by `factorise`, in place."""
    for i in range(size):
        total = vector[i]
        for k in range(i):
            total -= factor[i, k] * vector[k]
        vector[i] = total * factor[i, i]
    for i in range(size - 1, -1, -1):
        vector[i] *= factor[i, i]
        for k in range(i):
            vector[k] -= factor[i, k] * vector[i]


@inner
def invert_factor(factor: Float, size: int) -> None:
    """Inverse of a factor made by `factorise`, in place."""
    for j in range(size):
        for i in range(j + 1, size):
            total = factor[i, j] * factor[j, j]
            for k in range(j + 1, i):
                total += factor[i, k] * factor[k, j]
            factor[i, j] = -total * factor[i, i]


@inner
def covariance(inverse_factor: Float, first: int, second: int, size: int) -> float:
    """Entry of the inverse of the factorised matrix; `second` is not below `first`."""
    total = 0.0
    for row in range(second, size):
        total += inverse_factor[row, first] * inverse_factor[row, second]
    return total

"""Sorting and searching against NumPy's own."""

import numpy as np
import pytest
from numpy.typing import NDArray

from dscsnet.pipeline.cropping import sorting


def keys(seed: int, size: int) -> NDArray[np.float64]:
    """Many ties, some NaN, both zeros."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-3, 4, size).astype(float) * 0.5
    values[rng.random(size) < 0.2] = np.nan
    return values


@pytest.mark.parametrize("size", [*range(20), 31, 32, 33, 64, 100])
def test_orders_are_numpys_stable_ones(size: int) -> None:
    for seed in range(20):
        values = keys(seed, size)
        order = sorting.sorted_order(values)
        np.testing.assert_array_equal(order, np.argsort(values, kind="stable"))
        falling = sorting.strength_order_of(values)
        np.testing.assert_array_equal(falling, np.argsort(-values, kind="stable"))
        np.testing.assert_array_equal(sorting.ranks(falling)[falling], np.arange(size))
        np.testing.assert_array_equal(sorting.take(values, order), values[order])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 30])
def test_the_first_place_is_numpys_left_one(size: int) -> None:
    for seed in range(20):
        ordered = np.sort(keys(seed, size))
        for least in (-np.inf, -1.5, -1.4, 0.0, 1.0, 1.5, 2.0, np.inf):
            expected = np.searchsorted(ordered, least)
            assert sorting.first_from(ordered, least) == expected


def test_a_run_ends_where_the_value_changes() -> None:
    cells = np.array([1.0, 1.0, 2.0, 3.0, 3.0, 3.0])
    assert [sorting.run_end(cells, start) for start in (0, 1, 2, 3, 5)] == [2, 2, 3, 6, 6]

"""What callers in Python hand over: what is taken at its limits, what is refused by its name."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dscsnet.pipeline import arguments
from dscsnet.pipeline.errors import InputError

TOP = 2**63 - 1


@pytest.mark.parametrize(
    ("check", "taken", "refused"),
    [
        ("within", [(1, 1, 2), (2, 1, 2), (1e300, 1), (np.float32(1.5), 1)], []),
        ("within", [], [(0.99, 1), (0.99, 1, 2), (2.01, 1, 2), (math.nan, 0), (True, 0), ("1", 0)]),
        ("whole_within", [(3, 3), (np.int8(3), 3)], [(2, 3), (3.0, 3), (True, 0), (None, 0)]),
        ("one_of", [("a", ("a", "b")), ("b", ("a", "b"))], [("c", ("a", "b")), (1, ("a", "b"))]),
        ("column", [([1, 2],), ([1, 2], 2), ([], 0), ([True],)], []),
        ("column", [], [([1, 2], 3), ([[1]],), (1,), (["a"],), ([1j],), ([[1], [1, 2]],)]),
        ("whole_numbers", [([1, 2], 2), ([TOP, -TOP - 1], 2), ([], 0), ([True], 1)], []),
        ("whole_numbers", [], [([1.0], 1), ([2**63], 1), ([1], 2), ([[1]], 1)]),
        ("counts_of", [([[1, 2]], "(H, W)"), ([[[0.5]]], "(n, H, W)")], []),
        ("counts_of", [], [([1], "(H, W)"), ([[[1]]], "(H, W)"), ([[0.1]], "(H, W)")]),
        ("counts_of", [], [(np.ma.masked_array([[1]]), "(H, W)")]),
    ],
)
def test_what_is_taken_and_what_is_not(check: str, taken: list[Any], refused: list[Any]) -> None:
    function = getattr(arguments, check)
    for given in taken:
        found = function("it", *given)
        if found is not None:
            np.testing.assert_array_equal(found, given[0])
    for given in refused:
        with pytest.raises(InputError, match=r"^it: "):
            function("it", *given)


def test_bounds_are_told_as_they_are() -> None:
    for most, told in ((), "at least 1"), ((2,), "1 to 2"):
        with pytest.raises(InputError, match=f"^it: expected {told}, got 0$"):
            arguments.within("it", 0, 1, *most)
    for length, told in ((None, "(n,)"), (3, "(3,) as of x")):
        with pytest.raises(InputError) as caught:
            arguments.column("it", [[1]], length)
        assert str(caught.value) == f"it: expected an array {told}, got shape (1, 1)"
    with pytest.raises(InputError, match=r"^it: expected a, b or c, got 'd'$"):
        arguments.one_of("it", "d", ("a", "b", "c"))


def test_saturation_is_a_finite_count_above_0_or_unknown() -> None:
    for value in (None, 1e-9, 255, np.float32(2.5)):
        assert arguments.saturation_of(value) == value
    for wrong in (0, -1, math.inf, math.nan, True, "9"):
        with pytest.raises(InputError, match=r"^saturation: "):
            arguments.saturation_of(wrong)  # type: ignore[arg-type]


def test_a_mask_is_bad_above_0_whatever_it_comes_from(tmp_path: Path) -> None:
    values = np.array([[0, 1, 255], [0, 0, 2]], np.uint8)
    np.save(tmp_path / "mask.npy", values)
    assert arguments.mask_of(None) is None
    for given in (values, values.tolist(), values > 0, values * 0.5, tmp_path / "mask.npy"):
        mask = arguments.mask_of(given)
        assert mask is not None
        assert mask.dtype == np.bool_
        assert mask.flags.c_contiguous
        np.testing.assert_array_equal(mask, values > 0)
    for wrong in (values[0], values[None], str(tmp_path / "none.npy")):
        with pytest.raises(InputError, match=r"^bad_pixels: "):
            arguments.mask_of(wrong)

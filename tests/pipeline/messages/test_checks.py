"""What a complaint about a column names."""

import math

import pytest

from dscsnet.pipeline.errors import MessageError
from dscsnet.pipeline.messages.checks import check_columns, check_extent


@pytest.mark.parametrize("wrong", [-1.5, 2.5, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("before", [[], [-1.0], [2.0], [0.5, -1.0, 2.0]])
def test_the_value_that_is_out_of_its_bounds(wrong: float, before: list[float]) -> None:
    check_extent("x", before, -1.0, 2.0)
    with pytest.raises(MessageError, match=rf"^x: expected values in -1\.\.2, got {wrong}$"):
        check_extent("x", [*before, wrong, 9.0], -1.0, 2.0)


def test_all_foreign_types_once_and_in_order() -> None:
    foreign = ["a", b"b", None, {}, [], (), set(), 1j, "c"]
    names = sorted({type(each).__name__ for each in foreign})
    with pytest.raises(MessageError, match=f"got '{', '.join(names)}'$"):
        check_columns("spots.", {"x": foreign}, ())

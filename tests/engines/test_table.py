"""Tables of columns: what they show of themselves, and what is taken out of them."""

from dataclasses import dataclass

import numpy as np
import pytest

from dscsnet.engines.table import MOST_SHOWN, Table


@dataclass(frozen=True, eq=False, repr=False)
class Stars(Table):
    number: np.ndarray
    x: np.ndarray


def stars(rows: int) -> Stars:
    return Stars(np.arange(rows), np.arange(rows) + 0.123456)


def test_a_table_shows_its_first_rows_and_how_many_there_are_more() -> None:
    assert repr(stars(0)) == "Stars: no rows"
    assert repr(stars(1)) == "Stars: 1 row\nnumber        x\n     0  0.12346"
    lines = repr(stars(MOST_SHOWN + 3)).split("\n")
    assert len(lines) == 2 + MOST_SHOWN + 1
    assert (lines[0], lines[-1]) == ("Stars: 13 rows", "... and 3 more")
    assert len({len(line) for line in lines[1:-1]}) == 1


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([4, 1], [4, 1]),
        ([], []),
        (np.arange(5) > 2, [3, 4]),
        (slice(1, 3), [1, 2]),
    ],
)
def test_rows_are_taken_as_numpy_indexes(rows: object, expected: list[int]) -> None:
    taken = stars(5).take(rows)  # type: ignore[arg-type]
    assert isinstance(taken, Stars)
    assert taken.number.tolist() == expected
    np.testing.assert_array_equal(taken.x, taken.number + 0.123456)
    assert len(taken) == len(expected)


def test_the_dictionary_holds_the_arrays_themselves() -> None:
    table = stars(3)
    columns = table.to_dict()
    assert list(columns) == ["number", "x"]
    assert columns["x"] is table.x

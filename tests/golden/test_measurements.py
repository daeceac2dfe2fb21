"""What numerical methods of the tools tell; see `tests.golden.measurements`."""

import json
from typing import Any

import numpy as np
import pytest

from tests.golden.measurements import FILE, MEASUREMENTS, plain

#: Relative, of a list to its largest number: sums of float32 differ by processor.
TOLERANCE = 1e-5


def compare(found: Any, golden: Any, place: str) -> None:
    if isinstance(golden, dict):
        assert list(found) == list(golden), place
        for key, value in golden.items():
            compare(found[key], value, f"{place}.{key}")
    elif isinstance(golden, list) and any(isinstance(each, (str, list)) for each in golden):
        assert len(found) == len(golden), place
        for number, value in enumerate(golden):
            compare(found[number], value, f"{place}[{number}]")
    elif isinstance(golden, (list, float)):
        largest = float(np.max(np.abs(golden), initial=0))
        np.testing.assert_allclose(
            found, golden, rtol=TOLERANCE, atol=TOLERANCE * largest, err_msg=place
        )
    else:
        assert found == golden, place


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_measurements_are_the_golden_ones(name: str) -> None:
    compare(plain(MEASUREMENTS[name]()), json.loads(FILE.read_text())[name], name)

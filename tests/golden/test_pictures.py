"""How pictures look, to the pixel; see `tests.golden.pictures`."""

import json
from typing import Any

import numpy as np
import pytest

from tests.golden.drawn import told_of
from tests.golden.pictures import FIGURES, PICTURES, THUMBNAILS, TOLD, drawn

#: Of a mean over a block of pixels, 0 to 255: smoothed edges and enlarged frames differ by version.
TOLERANCE = 2


def differences(found: Any, golden: Any, place: str = "") -> list[str]:
    """Where two values of JSON differ; numbers may by rounding."""
    if isinstance(golden, dict) and isinstance(found, dict) and found.keys() == golden.keys():
        parts = [differences(found[key], golden[key], f"{place}.{key}") for key in golden]
        return [each for part in parts for each in part]
    if isinstance(golden, list) and isinstance(found, list) and len(found) == len(golden):
        parts = [differences(found[k], golden[k], f"{place}[{k}]") for k in range(len(golden))]
        return [each for part in parts for each in part]
    if isinstance(golden, float) and isinstance(found, (int, float)):
        same = bool(np.isclose(found, golden, rtol=1e-6, atol=1e-9, equal_nan=True))
    else:
        same = type(found) is type(golden) and found == golden
    return [] if same else [f"{place}: {str(found)[:200]}, not {str(golden)[:200]}"]


@pytest.mark.parametrize("name", PICTURES)
def test_what_is_drawn_where(name: str) -> None:
    if name == "contact_sheet":
        pytest.importorskip("torch")
    told, shown = drawn(name)
    golden = json.loads(TOLD.read_text())[name]
    assert differences(json.loads(json.dumps(told)), golden) == []
    with np.load(THUMBNAILS) as stored:
        np.testing.assert_allclose(shown.astype(int), stored[name].astype(int), atol=TOLERANCE)


@pytest.mark.parametrize("name", FIGURES)
def test_what_a_figure_is_told(name: str) -> None:
    pytest.importorskip("matplotlib")
    told = json.loads(json.dumps(told_of(FIGURES[name]())))
    assert differences(told, json.loads(TOLD.read_text())[name]) == []


def test_a_difference_is_named_with_its_place() -> None:
    golden = {"a": [1, 2.0], "b": "x"}
    assert differences({"a": [1, 2.0000001], "b": "x"}, golden) == []
    assert differences({"a": [1, 2.1], "b": "x"}, golden) == [".a[1]: 2.1, not 2.0"]
    assert len(differences({"a": [2, 2.0], "b": "y"}, golden)) == 2
    assert len(differences({"a": [1]}, golden)) == 1

"""Pixels of every type that NumPy stores travel exactly, or not at all."""

import numpy as np
import pytest

from dscsnet.pipeline.errors import InputError
from dscsnet.pipeline.messages.pixels import WIRE_DTYPES, exact_pixels, wire_dtype


@pytest.mark.parametrize("name", WIRE_DTYPES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_type_on_the_wire(name: str, order: str) -> None:
    wanted = {"bool": "uint8", "uint8": "uint8", "uint16": "uint16", "int16": "uint16"}
    stored = np.dtype(name).newbyteorder(order)
    assert wire_dtype(stored, "it") == np.dtype(wanted.get(name, "float32"))


@pytest.mark.parametrize("name", ["complex64", "U3", "datetime64[s]"])
def test_other_types_are_refused_by_name(name: str) -> None:
    with pytest.raises(InputError, match=r"^it: pixels of type .* are not supported"):
        wire_dtype(np.dtype(name), "it")


def test_what_has_the_type_is_not_copied() -> None:
    for kind in (np.uint8, np.uint16, np.float32):
        image = np.ones((2, 3), kind)
        assert exact_pixels(image, "it") is image


@pytest.mark.parametrize(
    ("image", "kind", "values"),
    [
        (np.array([[True, False]]), np.uint8, [[1, 0]]),
        (np.array([[0, 32_767]], np.int16), np.uint16, [[0, 32_767]]),
        (np.array([[1.5, 65_504]], np.float16), np.float32, [[1.5, 65_504]]),
        (np.array([[-(2**24), 2**24]], np.int32), np.float32, [[-(2**24), 2**24]]),
        (np.array([[0, 2**63]], np.uint64), np.float32, [[0, 2.0**63]]),
        (np.array([[0.5, np.inf]]), np.float32, [[0.5, np.inf]]),
        (np.empty((0, 3), np.int16), np.uint16, []),
    ],
)
def test_values_that_fit(image: np.ndarray, kind: type, values: list[list[float]]) -> None:
    found = exact_pixels(image, "it")
    assert found.dtype == kind
    assert found.tolist() == values


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_bad_pixels_stay_bad(kind: type) -> None:
    found = exact_pixels(np.array([[np.nan, 1.0]], kind), "it")
    assert np.isnan(found[0, 0])
    assert found[0, 1] == 1


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.array([[3, -7]], np.int16), r"int16 pixels must not be negative, got -7; store them"),
        (
            np.array([[0, 2**24 + 1]], np.int32),
            "int32 pixels must be exact .* got 16777217",
        ),
        (np.array([[2**53 + 1]], np.int64), "got 9007199254740993"),
        (np.array([[2**64 - 1]], np.uint64), "got 18446744073709551615"),
        (np.array([[0.25, 0.1]]), "float64 pixels must be exact in float32, got 0.1"),
        (np.array([[1e300]]), "got 1e"),
    ],
)
def test_values_that_do_not_fit_are_told(image: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=f"^it: .*{words}"):
        exact_pixels(image, "it")

"""Checks of the values in messages; each raises a MessageError that names the field."""

import re
from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any, NoReturn

from dscsnet.pipeline.errors import MessageError

EPOCH_BYTES = 16
MAX_FRAME_ID = 2**64 - 1
MAX_TIMESTAMP_NS = 2**63 - 1
MAX_POSITION = 2.0**31  # pixels; any accepted position fits a 32-bit pixel index
MIN_ID, MAX_ID = -(2**63), 2**63 - 1  # of a candidate
MAX_COUNT = 2**31 - 1  # of targets in a spot; also bounds the flags
MAX_BODY_DEPTH = 6  # nested maps and lists in the body of a status
#: Names of streams and nodes; `$` alone would let a line break pass behind the name.
NAME_PATTERN = r"^[A-Za-z0-9._-]{1,64}$(?!\n)"
_NAME = re.compile(NAME_PATTERN)
NUMBERS = frozenset({int, float})
INTEGERS = frozenset({int})


def field_error(name: str, expected: str, got: object) -> NoReturn:
    """Raise for a field whose value is not what was expected."""
    text = repr(got)
    raise MessageError("field", f"{name}: expected {expected}, got {text[:60]}")


def check_integer(name: str, value: object, low: int, high: int, reason: str = "field") -> None:
    """Check that a value is an integer in low..high."""
    # type() and not isinstance(): a bool is no number on this wire
    if type(value) is not int or not low <= value <= high:
        text = repr(value)[:60]
        raise MessageError(reason, f"{name}: expected an integer in {low}..{high}, got {text}")


def check_columns(name: str, columns: Mapping[str, list[Any]], integers: tuple[str, ...]) -> None:
    """Check that columns are lists of one length, holding only Python numbers."""
    for key, column in columns.items():
        if type(column) is not list:
            field_error(f"{name}{key}", "a list of Python numbers", type(column).__name__)
        allowed = INTEGERS if key in integers else NUMBERS
        if not allowed.issuperset(map(type, column)):
            what = "integers" if key in integers else "Python numbers (use array.tolist())"
            foreign = sorted(kind.__name__ for kind in set(map(type, column)) - allowed)
            field_error(f"{name}{key}", f"only {what}", ", ".join(foreign))
    if len(set(map(len, columns.values()))) > 1:
        described = ", ".join(f"{key} {len(column)}" for key, column in columns.items())
        raise MessageError("field", f"{name}columns must have equal lengths, got {described}")


def check_extent(name: str, column: Sequence[float], low: float, high: float) -> None:
    """Check that every value is within low..high, which a NaN and an infinity are not."""
    # min and max may pass over a NaN, the sum of finite values this small cannot hide one
    if column and not (low <= min(column) and max(column) <= high and not isnan(sum(column))):
        value = next(value for value in column if not low <= value <= high)
        raise MessageError("field", f"{name}: expected values in {low:g}..{high:g}, got {value}")


def check_positions(name: str, x: list[float], y: list[float]) -> None:
    """Check that columns hold finite pixel positions."""
    check_extent(f"{name}x", x, -MAX_POSITION, MAX_POSITION)
    check_extent(f"{name}y", y, -MAX_POSITION, MAX_POSITION)


def is_name(text: object) -> bool:
    """Whether it can be the name of a stream or node."""
    return type(text) is str and _NAME.match(text) is not None


def check_key(stream: str, epoch: bytes, frame_id: int, timestamp_ns: int) -> None:
    """Check what every message carries; the reason is "key"."""
    if not is_name(stream):
        got = repr(stream)[:80]
        raise MessageError("key", f"stream: expected 1 to 64 of A-Za-z0-9._-, got {got}")
    if type(epoch) is not bytes or len(epoch) != EPOCH_BYTES:
        got = repr(epoch)[:80]
        raise MessageError("key", f"epoch: expected {EPOCH_BYTES} bytes, got {got}")
    check_integer("frame_id", frame_id, 0, MAX_FRAME_ID, "key")
    check_integer("timestamp_ns", timestamp_ns, 0, MAX_TIMESTAMP_NS, "key")


def check_body(name: str, value: object, depth: int) -> None:
    """Check that a value is built of maps with text keys, lists and scalars."""
    if isinstance(value, dict | list) and depth >= MAX_BODY_DEPTH:
        field_error(name, f"at most {MAX_BODY_DEPTH} levels", "more")
    if isinstance(value, dict):
        for key, entry in value.items():
            if type(key) is not str:
                field_error(name, "only texts as keys", key)
            check_body(f"{name}[{key!r:.40}]", entry, depth + 1)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            check_body(f"{name}[{index}]", entry, depth + 1)
    elif value is not None and type(value) not in (bool, int, float, str):
        field_error(name, "a number, text, bool, None, list or map", type(value).__name__)

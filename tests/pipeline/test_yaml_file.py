"""What a YAML file leaves out: the default of the part, where the part's class has none."""

from pathlib import Path

import msgspec
import pytest

from dscsnet.pipeline import yaml_file
from dscsnet.pipeline.errors import ConfigError
from dscsnet.pipeline.yaml_file import explain, read_yaml


class Pair(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    first: int
    second: int = 2


class Small(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind", tag="small"):
    size: int = 3


class Large(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind", tag="large"):
    depth: int = 4


class Outer(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    pair: Pair = msgspec.field(default_factory=lambda: Pair(first=10, second=20))
    either: Small | Large = msgspec.field(default_factory=lambda: Small(size=30))
    bare: Pair | None = None


class Whole(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    outer: Outer = msgspec.field(default_factory=Outer)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Whole()),
        ("outer: {}", Whole()),
        ("outer: {pair: {second: 5}}", Whole(outer=Outer(pair=Pair(first=10, second=5)))),
        ("outer: {pair: {first: 5}}", Whole(outer=Outer(pair=Pair(first=5, second=20)))),
        # A class with defaults of its own is not mixed with the part's, whichever is named.
        ("outer: {either: {kind: large}}", Whole(outer=Outer(either=Large(depth=4)))),
        ("outer: {either: {kind: small}}", Whole(outer=Outer(either=Small(size=3)))),
        ("outer: {bare: {first: 1}}", Whole(outer=Outer(bare=Pair(first=1, second=2)))),
    ],
)
def test_what_is_left_out(tmp_path: Path, text: str, expected: Whole) -> None:
    path = tmp_path / "given.yaml"
    path.write_text(text)
    assert read_yaml(path, Whole) == expected


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("outer: {pair: {first: one}}", "outer.pair.first", ""),
        ("outer: {bare: {second: 1}}", "outer.bare", "first"),
        ("outer: {pair: [1, 2]}", "outer.pair", ""),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, key: str, value: str) -> None:
    path = tmp_path / "given.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path, Whole)
    assert str(caught.value).startswith(f"{path}: {key}: ")
    assert value in str(caught.value)


@pytest.mark.parametrize("text", ["5", "[1, 2]", "text"])
def test_a_file_that_is_no_map_is_wrong_as_a_whole(tmp_path: Path, text: str) -> None:
    path = tmp_path / "given.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path, Whole)
    assert "None" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "xpected" in str(caught.value)


@pytest.mark.parametrize(
    ("words", "values", "told"),
    [
        ("Expected `object`, got `int`", 5, 'Expected "object", got "int"'),
        ("Expected `int` >= 1 - at `$.a.b`", {"a": {"b": -3}}, 'a.b: expected "int" >= 1, got -3'),
        ("Expected `int` >= 1 - at `$.a[1]`", {"a": [1, -3]}, 'a[1]: expected "int" >= 1, got -3'),
        ("Expected `int` >= 1 - at `$.a[2]`", {"a": [1]}, 'a[2]: expected "int" >= 1, got [1]'),
        ("Expected `int` - at `$.a.b`", {"a": 4}, 'a.b: expected "int", got 4'),
        (
            "Object contains unknown field `z` - at `$.a`",
            {"a": {"z": 1}},
            'a: unknown key "z"',
        ),
        ("Object contains unknown field `z`", {"z": 1}, 'unknown key "z"'),
        ("Invalid value\n  over lines - at `$.a`", {}, "a: invalid value over lines"),
    ],
)
def test_words_of_an_error_begin_with_the_key(words: str, values: object, told: str) -> None:
    assert explain(msgspec.ValidationError(words), values) == told


def test_long_values_are_cut_short() -> None:
    limit = yaml_file.LONGEST_SHOWN
    for length, shown in (
        (limit - 2, "x" * (limit - 2) + "'"),
        (limit - 1, "x" * (limit - 1) + " ..."),
    ):
        told = yaml_file._value_at({"a": "x" * length}, "a")
        assert told == "'" + shown

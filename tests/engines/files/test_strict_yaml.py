"""YAML at the bounds of what is read."""

import pytest

from dscsnet.engines.files.strict_yaml import YamlError, decode_yaml


def test_bounds_themselves_are_allowed() -> None:
    assert decode_yaml(b"#" * 2**20) is None
    assert len(decode_yaml(b"[" + b"1," * 19_999 + b"]")) == 19_999
    with pytest.raises(YamlError, match=r"^more than 20000 values"):
        decode_yaml(b"[" + b"1," * 20_000 + b"]")
    # Lists that stand one after another are not nested.
    assert len(decode_yaml(b"[" + b"[], {a: []}, " * 40 + b"]")) == 80


def test_nothing_is_none() -> None:
    assert decode_yaml(b"") is None
    assert decode_yaml(b"a:") == {"a": None}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: 1\nb: 2\na: 3", '^line 3, column 1: the key "a" is there twice$'),
        (b"b: {a: 1, a: 1}", '^line 1, column 11: the key "a" is there twice$'),
        (b"[1]: 2", "^line 1, column 1: expected a text as key, got a list or map$"),
        (b"{a: 1}: 2", "^line 1, column 1: expected a text as key"),
        (b"a: &x [*x]", "^line 1, column 4: more than 32 nested"),
        (b"a: &x {b: *x}", "^line 1, column 8: more than 32 nested"),
        (b"- !!bool maybe", '^line 1, column 3: "maybe" is no bool$'),
        (b"- !!int maybe", '^line 1, column 3: "maybe" is no int$'),
        (b"- !!float maybe", '^line 1, column 3: "maybe" is no float$'),
        (b"- -.inf", '^line 1, column 3: expected a finite number, got "-.inf"$'),
        (b"- !!set {a}", "set is not allowed"),
        (b"- {? !!python/none a : b}", "is not allowed"),
        (b"a: \x01", "^[^\n]+$"),
        (b"a: *b", "^line 1, column 4: "),
    ],
)
def test_what_is_not_plain_is_one_line_with_its_place(content: bytes, words: str) -> None:
    with pytest.raises(YamlError, match=words):
        decode_yaml(content)

"""Digests of compiled functions do not depend on the order of sets."""

from types import SimpleNamespace

from dscsnet.engines.compiled.fingerprint import _options, _value


def test_options_and_sets_are_put_in_order() -> None:
    loop = SimpleNamespace(targetoptions={"b": {8, 1}, "a": frozenset({16, 3}), "c": True})
    assert _options(loop) == "[('a', [3, 16]), ('b', [1, 8]), ('c', True)]"
    assert list(_value(frozenset({8, 1}), set())) == ["['1', '8']"]

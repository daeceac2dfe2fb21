"""Digests of compiled functions: all that is compiled in, and not the order of sets."""

from types import SimpleNamespace
from typing import Any

import numba
import numpy as np

from dscsnet.engines.compiled.fingerprint import _options, _value, fingerprint


def test_options_and_sets_are_put_in_order() -> None:
    loop = SimpleNamespace(targetoptions={"b": {8, 1}, "a": frozenset({16, 3}), "c": True})
    assert _options(loop) == "[('a', [3, 16]), ('b', [1, 8]), ('c', True)]"
    assert list(_value(frozenset({8, 1}), set())) == ["['1', '8']"]


def made(source: str, **names: Any) -> Any:
    """The function `f` of a module of its own, as numba holds it."""
    space: dict[str, Any] = {"__name__": "made", **names}
    exec(source, space)
    space["f"] = numba.njit(space["f"])
    return space["f"]


def test_a_loop_that_calls_itself_has_an_end() -> None:
    once, again = (made("def f(n):\n    return 1 if n < 2 else n * f(n - 1)") for _ in range(2))
    assert fingerprint(once) == fingerprint(again)


def test_whatever_is_compiled_in_counts_and_nothing_else() -> None:
    source = "def f(x):\n    return x + A"
    plain = fingerprint(made(source, A=1))
    assert fingerprint(made(source, A=1, UNUSED=2)) == plain
    others = [
        made(source, A=2),
        made(source, A=1.0),
        made(source, A=(1, 2)),
        made(source, A=np.arange(3)),
        made(source, A=np.arange(3.0)),
        made(source, A=np.arange(1, 4)),
        made("def f(x):\n    return x - A", A=1),
        made("def f(x):\n    return x + A + 0", A=1),
        made("def f(x):\n    return x + A()", A=made("def f():\n    return 1")),
        made("def f(x):\n    return x + A()", A=made("def f():\n    return 2")),
    ]
    digests = [plain, *map(fingerprint, others)]
    assert len(set(digests)) == len(digests)


def test_what_a_function_closes_over_counts() -> None:
    def outer(step: int) -> Any:
        def inner(x: float) -> float:
            return x + step

        return numba.njit(inner)

    assert fingerprint(outer(1)) == fingerprint(outer(1))
    assert fingerprint(outer(1)) != fingerprint(outer(2))


def test_the_way_it_is_compiled_counts() -> None:
    def function(x: float) -> float:
        return x

    ways = [{}, {"nogil": True}, {"fastmath": {"contract"}}, {"fastmath": {"reassoc"}}]
    digests = [fingerprint(numba.njit(**way)(function)) for way in ways]
    assert len(set(digests)) == 4

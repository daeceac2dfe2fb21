"""What a compiled function was made from, as one digest.

numba freezes the globals that a function reads, and inlines the functions that it calls, from
whatever file: all of that belongs to what it was compiled from, and file times do not.
"""

import hashlib
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

import numpy as np

_PLAIN = (bool, int, float, complex, str, bytes, np.generic, type(None))


def fingerprint(loop: Any) -> str:
    """Hexadecimal SHA-256 of what numba is given: bytecode, constants, options; of callees, too."""
    digest = hashlib.sha256()
    for part in _value(loop, set()):
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()


def _function(function: FunctionType, seen: set[FunctionType]) -> Iterator[str]:
    yield f"{function.__module__}.{function.__qualname__}"
    if function in seen:
        return
    seen.add(function)
    for cell in function.__closure__ or ():
        yield from _value(cell.cell_contents, seen)
    for code in _codes(function.__code__):
        yield code.co_code.hex()
        for constant in code.co_consts:
            if not isinstance(constant, CodeType):
                yield from _value(constant, seen)
        for name in code.co_names:
            yield name
            if name in function.__globals__:
                yield from _value(function.__globals__[name], seen)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _options(loop: Any) -> str:
    """How a function is compiled; sets in an order that does not change between processes."""
    sets = (set, frozenset)
    return repr(
        [
            (name, sorted(value) if isinstance(value, sets) else value)
            for name, value in sorted(loop.targetoptions.items())
        ]
    )


def _value(value: Any, seen: set[FunctionType]) -> Iterator[str]:
    """What is compiled in of a global value; of what numba knows by itself, the name."""
    if isinstance(source := getattr(value, "py_func", None), FunctionType):
        yield _options(value)
        yield from _function(source, seen)
    elif isinstance(value, _PLAIN):
        yield repr(value)
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype.str} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    elif isinstance(value, tuple):
        yield f"{len(value)} values"
        for item in value:
            yield from _value(item, seen)
    elif isinstance(value, frozenset):
        yield repr(sorted(map(repr, value)))
    else:
        name = getattr(value, "__qualname__", getattr(value, "__name__", ""))
        yield f"{type(value).__qualname__} {name} {getattr(value, '_fields', '')}"

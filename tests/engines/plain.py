"""Modules of compiled loops as plain Python, so that each function can be called on little data."""

import importlib
import sys
from types import ModuleType
from typing import Any

import numba

import dscsnet.engines.fitting

PACKAGE = "dscsnet.engines.fitting"


def plain(*names: str) -> Any:
    """Modules of `engines.fitting`, imported once more beside the compiled ones.

    Of one name the module, of several a tuple of modules that belong together.
    """
    compiled = {name: each for name, each in sys.modules.items() if name.startswith(PACKAGE)}
    before = numba.config.DISABLE_JIT
    for name in compiled:
        del sys.modules[name]
    try:
        numba.config.DISABLE_JIT = True
        found: list[ModuleType] = [importlib.import_module(f"{PACKAGE}.{name}") for name in names]
    finally:
        numba.config.DISABLE_JIT = before
        for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
            del sys.modules[name]
        sys.modules.update(compiled)
        dscsnet.engines.fitting = compiled[PACKAGE]  # type: ignore[assignment]
    return found[0] if len(found) == 1 else tuple(found)

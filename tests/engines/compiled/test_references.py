"""That inner functions count no references, which numba's private option `_nrt` spares them."""

import re
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.errors import NumbaError

from dscsnet.engines.compiled import inner, inner_making, kernel
from dscsnet.engines.fitting import descent
from dscsnet.engines.fitting.psf import NO_TABLE
from dscsnet.engines.fitting.workspace import make_workspace

ADVICE = (
    "counts references to arrays, which doubles the time of every fit: numba {} no longer honours "
    "the option _nrt=False (engines/compiled/__init__.py). Look how numba.core.options maps it "
    "now, or lower the bound of numba in setup.cfg"
)
WORKSPACE = numba.njit(lambda: make_workspace(11, 5, NO_TABLE))


def counting_calls(function: Any, *arguments: Any) -> list[str]:
    """Calls in a function's machine code that count references, with all that it calls."""
    types = tuple(map(numba.typeof, arguments))
    function.compile(types)
    return re.findall(r"(?:call|invoke)[^\n]*@NRT_\w+", function.inspect_llvm(types))


def test_the_fits_count_no_references() -> None:
    space = WORKSPACE()
    calls = counting_calls(descent.descend, space, space.values, 2, 10, 1e-3)
    assert not calls, f"descend {ADVICE.format(numba.__version__)}"


def test_with_the_counting_they_do() -> None:
    """So that the test above can fail."""
    space = WORKSPACE()
    counted = inner_making(descent.evaluate.py_func)
    assert counting_calls(counted, space, space.values, 2)


def test_an_inner_function_that_makes_an_array_is_refused() -> None:
    total = inner(lambda size: np.zeros(size).sum())
    caller = kernel(lambda size: 1.0 + total(size))
    with pytest.raises(NumbaError):
        caller(3)

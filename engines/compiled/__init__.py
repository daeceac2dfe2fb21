"""How every numerical loop of this project is compiled, and kept between starts.

The loops that Python calls, `kernel` and its kin, are cached on disk with all that they call
inlined; `inner` functions are called from compiled code only. Where a compiled loop lies depends on
the sources of all of them (`folder.py`), and which one is taken on what it was compiled from
(`fingerprint.py`), so that no edit leaves old code at work. numba's own cache watches neither, and
trusts whatever its files hold.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from dscsnet.engines.compiled.cache import LoopCache

NUMBA_VERSION: str = numba.__version__

#: Sums in any order, so that they run on vector registers; NaN and infinity keep their meaning.
_FREE_SUMS = {"reassoc", "contract"}


def _cached(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    def compile_when_called(function: Callable[..., Any]) -> Any:
        loop = numba.njit(nogil=True, **options)(function)
        # Under NUMBA_DISABLE_JIT it is the plain function.
        if hasattr(loop, "py_func"):
            loop._cache = LoopCache(loop)
        return loop

    return compile_when_called


#: A loop that is called from Python, without the interpreter's lock. 1 / 0 is infinite.
kernel = _cached(error_model="numpy")

#: The same; a division by zero raises, as in Python.
checked_kernel = _cached()

#: The same as `checked_kernel` for sums whose order is free.
checked_sum_kernel = _cached(fastmath=_FREE_SUMS)

_INNER = {
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}

#: numba counts the references to an array at each view of it, by atomic instructions that cost as
#: much as the arithmetic between them. Who calls an inner function holds its arrays.
_UNCOUNTED = {"_nrt": False}

#: Called from compiled code only; sparing it a Python entry halves the time to compile. It makes no
#: arrays: numba refuses to compile one that does.
inner = numba.njit(**_INNER, **_UNCOUNTED)

#: The same for sums whose order is free.
inner_sum = numba.njit(**_INNER, **_UNCOUNTED, fastmath=_FREE_SUMS)

#: The same as `inner` for functions that make arrays.
inner_making = numba.njit(**_INNER)


def as_kernel_takes(values: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    """An array in the one layout that kernels are compiled for: contiguous and writeable.

    Any other, even a read-only one, would have them compiled anew.
    """
    if isinstance(values, np.ndarray) and values.dtype == dtype:
        flags = values.flags
        if flags.c_contiguous and flags.writeable and flags.aligned:
            return values
    return np.require(values, dtype, ("C", "W"))

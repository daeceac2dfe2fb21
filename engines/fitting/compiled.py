"""How this package's functions are compiled.

Only the loops over crops, `kernel`, are called from Python and cached on disk, with all that they
call inlined. numba's cache watches only their own files: after a change to an `inner` function
delete `engines/fitting/__pycache__/*.nb?`.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

kernel = numba.njit(cache=True, nogil=True, error_model="numpy")

#: Called from compiled code only; sparing it a Python entry halves the time to compile.
inner = numba.njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)

#: The same for sums whose order is free, so that they run on vector registers.
inner_sum = numba.njit(
    nogil=True,
    error_model="numpy",
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
    fastmath={"reassoc", "contract"},
)


def as_kernel_takes(values: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    """An array in the one layout that kernels are compiled for: contiguous and writeable.

    Any other, even a read-only one, would have them compiled anew.
    """
    return np.require(values, dtype, ("C", "W"))

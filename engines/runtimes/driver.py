"""The NVIDIA driver, without which no GPU runtime can work."""

import ctypes

from dscsnet.engines.errors import InferenceError
from dscsnet.engines.runtimes.base import Unavailable

#: The driver's library; a machine without it has no usable NVIDIA GPU.
DRIVER = "libcuda.so.1"


class DriverError(InferenceError):
    """A function of the driver failed; says which, and the driver's name of the error."""


def require_driver() -> None:
    """Make sure of an NVIDIA driver before any heavy library is imported.

    Raises:
        Unavailable: there is none.
    """
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        raise Unavailable(f"no NVIDIA driver ({DRIVER}) on this machine", "no_driver") from None

"""CUDA graphs: a recorded sequence of copies and kernels is started by one call.

pycuda has no graphs, so the six functions of the driver that they need are called directly.
"""

import ctypes
from collections.abc import Callable

from dscsnet.engines.runtimes.driver import DRIVER, DriverError

#: Other threads may call what a capture forbids, as long as this one does not.
CAPTURE_THREAD_LOCAL = 1

#: The driver's own names: functions that changed carry a version.
BEGIN, END = "cuStreamBeginCapture_v2", "cuStreamEndCapture"
INSTANTIATE, LAUNCH = "cuGraphInstantiateWithFlags", "cuGraphLaunch"
DESTROY, DESTROY_EXECUTABLE = "cuGraphDestroy", "cuGraphExecDestroy"


class Graph:
    """A recorded sequence, ready to be started on any stream."""

    def __init__(self, graphs: "Graphs", executable: ctypes.c_void_p) -> None:
        self._graphs, self._executable = graphs, executable

    def launch(self, stream: int) -> None:
        """Start it; returns at once.

        Raises:
            DriverError: the GPU is lost, or the driver refuses.
        """
        self._graphs.call(LAUNCH, self._executable, ctypes.c_void_p(stream))

    def close(self) -> None:
        """Free it."""
        self._graphs.call(DESTROY_EXECUTABLE, self._executable)


class Graphs:
    """Records graphs in the current context.

    Args:
        driver: the driver's library, as ctypes loads it.
    """

    def __init__(self, driver: ctypes.CDLL | None = None) -> None:
        self._driver = driver or ctypes.CDLL(DRIVER)

    def record(self, stream: int, work: Callable[[], None]) -> Graph:
        """What `work` puts on the stream becomes a graph; none of it is executed.

        Raises:
            DriverError: something in it cannot be recorded; or what `work` raises.
        """
        handle, recorded = ctypes.c_void_p(stream), ctypes.c_void_p()
        self.call(BEGIN, handle, ctypes.c_int(CAPTURE_THREAD_LOCAL))
        try:
            work()
        finally:
            # Also after a failure, or the stream would stay in capture for ever.
            self.call(END, handle, ctypes.byref(recorded))
        executable = ctypes.c_void_p()
        try:
            self.call(INSTANTIATE, ctypes.byref(executable), recorded, ctypes.c_ulonglong(0))
        finally:
            self.call(DESTROY, recorded)
        return Graph(self, executable)

    def call(self, function: str, *arguments: object) -> None:
        """One function of the driver.

        Raises:
            DriverError: it failed.
        """
        code = getattr(self._driver, function)(*arguments)
        if code:
            raise DriverError(f"{function}: {self._name_of(code)}")

    def _name_of(self, code: int) -> str:
        name = ctypes.c_char_p()
        self._driver.cuGetErrorName(ctypes.c_int(code), ctypes.byref(name))
        return name.value.decode() if name.value else f"CUDA error {code}"

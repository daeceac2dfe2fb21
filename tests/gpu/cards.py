"""Opens runtimes for the tests that need a GPU: on one, or the test is skipped."""

import ctypes
import threading
from collections.abc import Callable

import numpy as np
import pytest

from dscsnet.engines.model import Model
from dscsnet.engines.runtimes import Runtime, RuntimeOptions, Unavailable, open_runtime
from dscsnet.engines.runtimes.driver import DRIVER, require_driver

#: A first build of five profiles with full TensorRT takes minutes, and comes before the test.
LONGEST_S = 1800


def open_on_gpu(kind: str, model: Model, options: RuntimeOptions) -> Runtime:
    """Open a runtime; without a driver or its library the test is skipped.

    Raises:
        Unavailable: there is a GPU, and the runtime or its library refuses.
        AssertionError: it would work on the CPU.
    """
    try:
        require_driver()
        runtime = open_runtime(kind, model, options)
    except Unavailable as error:
        if error.cause == "refused":
            raise
        pytest.skip(str(error))
    # PyTorch goes to the CPU where it finds no GPU that it can use.
    assert not runtime.name.endswith(" CPU"), f"not on the GPU: {runtime.name}"
    return runtime


def in_threads(work: Callable[[int], None], number: int) -> None:
    """Call it with 0, 1 ... at once, and raise what the first that failed raised."""
    failures: list[BaseException] = []

    def attempt(index: int) -> None:
        try:
            work(index)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=attempt, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def check_batch(model: Model, runtime: Runtime, rows: np.ndarray, allowed: float) -> None:
    """Run golden crops of these numbers, and compare with the float64 reference.

    Args:
        allowed: root of the mean squared error over that of all golden outputs: a single crop's own
            may be next to nothing.
    """
    golden = model.golden()
    outputs = runtime.run({name: value[rows] for name, value in golden.inputs.items()})
    assert sorted(outputs) == sorted(golden.outputs)
    for name, values in outputs.items():
        wanted = golden.outputs[name]
        assert values.shape == (len(rows), *wanted.shape[1:])
        error = np.sqrt(np.mean((values - wanted[rows]) ** 2) / np.mean(wanted**2))
        assert error < allowed, f"{name}: {error:.1e} for {len(rows)} crops"


def free_memory() -> int:
    """Bytes free on the device, as the driver tells."""
    library = ctypes.CDLL(DRIVER)
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    context, device = ctypes.c_void_p(), ctypes.c_int()
    library.cuInit(0)
    library.cuDeviceGet(ctypes.byref(device), 0)
    library.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
    library.cuCtxPushCurrent_v2(context)
    library.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
    library.cuCtxPopCurrent_v2(ctypes.byref(context))
    library.cuDevicePrimaryCtxRelease_v2(device)
    return free.value

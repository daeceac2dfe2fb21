"""Which runtime a model is given: the one that was asked for, or the fastest that works here."""

import ctypes
from collections.abc import Callable, Iterator

from engines.errors import ModelError
from engines.model import Model
from engines.runtimes.base import Runtime, RuntimeOptions, Unavailable

Opener = Callable[[Model, RuntimeOptions], Runtime]

#: The driver's library; a machine without it has no usable NVIDIA GPU.
DRIVER = "libcuda.so.1"


def _open_onnxruntime(model: Model, options: RuntimeOptions) -> Runtime:
    from engines.runtimes.onnx import OnnxRuntime

    return OnnxRuntime(model.network_path, threads=options.threads)


def _open_tensorrt(model: Model, options: RuntimeOptions) -> Runtime:
    from engines.runtimes.tensorrt import open_tensorrt

    return open_tensorrt(model, options)


def _open_torch(model: Model, options: RuntimeOptions) -> Runtime:
    from engines.runtimes.torch_cuda import open_torch

    return open_torch(model, options)


#: The fastest first.
OPENERS: dict[str, Opener] = {
    "tensorrt": _open_tensorrt,
    "torch": _open_torch,
    "onnxruntime": _open_onnxruntime,
}
RUNTIMES = ("auto", *OPENERS)
GPU_RUNTIMES = ("tensorrt", "torch")


def candidates(kind: str) -> Iterator[str]:
    """Runtimes to try, in this order; `auto`: every one.

    Raises:
        ModelError: unknown runtime.
    """
    if kind not in RUNTIMES:
        raise ModelError(f'no runtime "{kind}"; there are {", ".join(RUNTIMES)}')
    yield from OPENERS if kind == "auto" else (kind,)


def open_runtime(kind: str, model: Model, options: RuntimeOptions | None = None) -> Runtime:
    """Open a model in the runtime of this name.

    Raises:
        Unavailable: the runtime cannot work on this machine.
        ModelError: the model has no network that it can execute.
    """
    if kind not in OPENERS:
        raise ModelError(f'no runtime "{kind}"; there are {", ".join(OPENERS)}')
    if kind in GPU_RUNTIMES:
        require_driver()
    return OPENERS[kind](model, options or RuntimeOptions())


def require_driver() -> None:
    """Make sure of an NVIDIA driver before any heavy library is imported.

    Raises:
        Unavailable: there is none.
    """
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        raise Unavailable(f"no NVIDIA driver ({DRIVER}) on this machine", "no_driver") from None

"""Which runtime a model is given: the one that was asked for, or the fastest that works here."""

import importlib.util
from collections.abc import Callable

from dscsnet.engines.errors import ModelError
from dscsnet.engines.model import Model
from dscsnet.engines.runtimes.base import Runtime, RuntimeOptions
from dscsnet.engines.runtimes.driver import require_driver

Opener = Callable[[Model, RuntimeOptions], Runtime]


def _open_onnxruntime(model: Model, options: RuntimeOptions) -> Runtime:
    from dscsnet.engines.runtimes.onnx import OnnxRuntime

    return OnnxRuntime(model.network_path, threads=options.threads)


def _open_openvino(model: Model, options: RuntimeOptions) -> Runtime:
    from dscsnet.engines.runtimes.openvino_runtime import open_openvino

    return open_openvino(model, options)


def _open_openvino_in_bf16(model: Model, options: RuntimeOptions) -> Runtime:
    from dscsnet.engines.runtimes.openvino_runtime import open_openvino

    return open_openvino(model, options, need_bf16=True)


def _open_tensorrt(model: Model, options: RuntimeOptions) -> Runtime:
    require_driver()
    from dscsnet.engines.runtimes.tensorrt import open_tensorrt

    return open_tensorrt(model, options)


def _open_torch(model: Model, options: RuntimeOptions) -> Runtime:
    from dscsnet.engines.runtimes.torch_runtime import open_torch

    return open_torch(model, options)


def _open_torch_on_gpu(model: Model, options: RuntimeOptions) -> Runtime:
    require_driver()
    from dscsnet.engines.runtimes.torch_runtime import open_torch

    return open_torch(model, options, need_gpu=True)


OPENERS: dict[str, Opener] = {
    "onnxruntime": _open_onnxruntime,
    "openvino": _open_openvino,
    "tensorrt": _open_tensorrt,
    "torch": _open_torch,
}
#: What `auto` tries, the fastest first.
FASTEST_FIRST: tuple[tuple[str, Opener], ...] = (
    ("tensorrt", _open_tensorrt),
    ("torch", _open_torch_on_gpu),
    ("openvino", _open_openvino_in_bf16),
    ("onnxruntime", _open_onnxruntime),
)


def openers(kind: str) -> tuple[tuple[str, Opener], ...]:
    """Runtimes to try, in this order, and what opens them; for `auto` more than one.

    Raises:
        ModelError: unknown runtime.
    """
    if kind != "auto":
        return ((kind, _opener(kind)),)
    # An extra that few install: of its absence there is nothing to tell.
    return tuple(each for each in FASTEST_FIRST if each[0] != "openvino" or _has("openvino"))


def open_runtime(kind: str, model: Model, options: RuntimeOptions | None = None) -> Runtime:
    """Open a model in the runtime of this name.

    Raises:
        Unavailable: the runtime cannot work on this machine.
        ModelError: unknown runtime, or the model has no network that it can execute.
    """
    return _opener(kind)(model, options or RuntimeOptions())


def _has(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def _opener(kind: str) -> Opener:
    if kind not in OPENERS:
        raise ModelError(f'no runtime "{kind}"; there are auto, {", ".join(OPENERS)}')
    return OPENERS[kind]

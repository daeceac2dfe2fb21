"""Which runtime a model is given: the one that was asked for, or the fastest that works here."""

import importlib.util
import math
import time
from collections.abc import Callable

import numpy as np

from dscsnet.engines.errors import InferenceError, ModelError
from dscsnet.engines.model import Model
from dscsnet.engines.runtimes.base import Runtime, RuntimeOptions, Unavailable
from dscsnet.engines.runtimes.driver import require_driver

Opener = Callable[[Model, RuntimeOptions], Runtime]

#: A runtime of reduced precision must be so much faster than the usual one, on batches of so many
#: crops; the least of so many times counts.
LEAST_GAIN, TIMED_CROPS, TIMED_RUNS = 1.1, 20, 9


def _open_onnxruntime(model: Model, options: RuntimeOptions) -> Runtime:
    from dscsnet.engines.runtimes.onnx import OnnxRuntime

    return OnnxRuntime(model.network_path, threads=options.threads)


def _open_openvino(model: Model, options: RuntimeOptions) -> Runtime:
    from dscsnet.engines.runtimes.openvino_runtime import open_openvino

    return open_openvino(model, options)


def _open_openvino_if_faster(model: Model, options: RuntimeOptions) -> Runtime:
    """In bfloat16, where this processor gains by it: some do not."""
    from dscsnet.engines.runtimes.openvino_runtime import open_openvino

    reduced, usual = (
        open_openvino(model, options, need_bf16=True),
        _open_onnxruntime(model, options),
    )
    try:
        gain = time_over(usual, reduced, model)
    except InferenceError:
        reduced.close()
        raise
    finally:
        usual.close()
    if gain < LEAST_GAIN:
        reduced.close()
        raise Unavailable(f"it is {gain:.2f} times as fast as onnxruntime here", "slower")
    return reduced


def time_over(usual: Runtime, other: Runtime, model: Model) -> float:
    """Time of a batch in the usual runtime over that in another: the least of some, in turn."""
    golden = model.golden().inputs
    batch = {
        name: np.nan_to_num(np.resize(value, (TIMED_CROPS, *value.shape[1:])))
        for name, value in golden.items()
    }
    least = [math.inf, math.inf]
    for _ in range(TIMED_RUNS):
        for place, runtime in enumerate((usual, other)):
            started = time.perf_counter()
            runtime.run(batch)
            least[place] = min(least[place], time.perf_counter() - started)
    return least[0] / least[1]


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
    ("openvino", _open_openvino_if_faster),
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

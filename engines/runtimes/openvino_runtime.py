"""OpenVINO on the CPU: layers in bfloat16 where the processor computes in it.

It makes its kernels anew for each batch size, which takes some ten milliseconds. So batches are
executed in a few sizes, filled up, and all of them are made when the runtime is opened.
"""

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.errors import InferenceError, ModelError, first_line
from dscsnet.engines.model import Model
from dscsnet.engines.runtime_names import Precision
from dscsnet.engines.runtimes.base import Arrays, RuntimeOptions, Unavailable, batch_size

try:
    import openvino
except ModuleNotFoundError as error:
    raise Unavailable(
        f'{error.name} is not installed: install "dscsnet[openvino]"', "no_library"
    ) from None

#: Relative L2 error against the float64 reference, by the kind of numbers. A bfloat16 is off by up
#: to 2^-9, and twenty times that is allowed: off-grid networks err by 1.1e-2 to 2.3e-2 on their
#: golden crops, the grid ones, whose iterations magnify rounding, by 4.8e-2 and 6.2e-2.
TOLERANCE = {"f32": 1e-4, "bf16": 20 * 2**-9}
#: Batches of these sizes are executed; at most a third of one is filling, of most far less.
SIZES = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64)


class OpenVinoRuntime:
    """Executes an ONNX file on CPU threads; `run` may be called from several threads.

    Args:
        network: the ONNX file.
        golden: crops that the network takes; of them sizes and shapes count.
        outputs: names, as the file gives them.
        threads: threads of one batch; 0: one for each core.
        numbers: `f32` or `bf16`, of the layers.

    Raises:
        ModelError: the library refuses the network.
    """

    def __init__(
        self,
        network: Path,
        golden: Arrays,
        outputs: tuple[str, ...],
        *,
        threads: int = 0,
        numbers: str = "f32",
    ) -> None:
        self._numbers, self._outputs = numbers, outputs
        self._shapes = {name: value.shape[1:] for name, value in golden.items()}
        self._lock = threading.Lock()
        self._request: Any = None
        try:
            core = openvino.Core()
            compiled = core.compile_model(
                core.read_model(network), "CPU", _settings(threads, numbers)
            )
            self._request = compiled.create_infer_request()
            for size in SIZES:
                self._execute({n: v[np.arange(size) % len(v)] for n, v in golden.items()})
        except Exception as error:  # the library's exceptions are RuntimeError and others
            raise ModelError(f"{network}: OpenVINO cannot load it: {first_line(error)}") from None

    @property
    def name(self) -> str:
        version = openvino.__version__.partition("-")[0]
        kind = {"f32": "fp32"}.get(self._numbers, self._numbers)
        return f"openvino {version} {kind} CPU"

    @property
    def tolerance(self) -> float:
        return TOLERANCE[self._numbers]

    @property
    def on_gpu(self) -> bool:
        return False

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        number = batch_size("openvino", inputs, self._shapes)
        pieces = range(0, max(number, 1), SIZES[-1])
        with self._lock:
            if self._request is None:
                raise InferenceError("openvino: the engine is closed")
            try:
                parts = [self._filled(inputs, first, number) for first in pieces]
            except Exception as error:
                raise InferenceError(f"openvino: {first_line(error)}") from None
        return {name: np.concatenate([part[name] for part in parts]) for name in self._outputs}

    def close(self) -> None:
        """Free the network."""
        with self._lock:
            self._request = None

    def _filled(self, inputs: Arrays, first: int, number: int) -> dict[str, NDArray[np.float32]]:
        """Results of up to the largest size of rows from `first` on."""
        rows = min(number - first, SIZES[-1])
        size = next(size for size in SIZES if size >= rows)
        given = {}
        for name, shape in self._shapes.items():
            given[name] = np.ones((size, *shape), np.float32)
            given[name][:rows] = inputs[name][first : first + rows]
        return {name: values[:rows] for name, values in self._execute(given).items()}

    def _execute(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        self._request.infer(dict(inputs), share_inputs=True)
        # Copied: the request gives the same memory to the next batch.
        return {name: self._request.get_tensor(name).data.copy() for name in self._outputs}


def _settings(threads: int, numbers: str) -> dict[str, Any]:
    """Nothing is written to disk: without a folder named, the library keeps no cache."""
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": numbers,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # Cores are the operating system's to give: others receive and publish.
        "ENABLE_CPU_PINNING": False,
    }


def computes_in_bf16() -> bool:
    """Whether this processor does (AVX-512 BF16, AMX), rather than the library on its behalf."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def numbers_for(precision: Precision) -> str:
    """`bf16` where half precision is welcome and the processor has it, else `f32`."""
    return "bf16" if precision == "fp16" and computes_in_bf16() else "f32"


def open_openvino(
    model: Model, options: RuntimeOptions, *, need_bf16: bool = False
) -> OpenVinoRuntime:
    """Load a model's network.

    Args:
        need_bf16: not in single precision, in which ONNX Runtime is faster.

    Raises:
        Unavailable: it would have to be.
        ModelError: the library refuses the network.
    """
    numbers = numbers_for(options.precision)
    if need_bf16 and numbers != "bf16":
        why = "precision is fp32" if options.precision == "fp32" else "the processor has no bf16"
        raise Unavailable(why, "no_bf16")
    return OpenVinoRuntime(
        model.network_path,
        model.golden().inputs,
        model.card.outputs,
        threads=options.threads,
        numbers=numbers,
    )

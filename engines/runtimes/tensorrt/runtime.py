"""The TensorRT runtime: a compiled engine on a GPU, driven through pycuda."""

import atexit
import logging
import traceback
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.errors import InferenceError
from dscsnet.engines.runtimes.base import Arrays, Unavailable, batch_size
from dscsnet.engines.runtimes.driver import DriverError
from dscsnet.engines.runtimes.tensorrt.build import BuildSettings
from dscsnet.engines.runtimes.tensorrt.contexts import Contexts, KeptKernels
from dscsnet.engines.runtimes.tensorrt.graphs import Graphs
from dscsnet.engines.runtimes.tensorrt.lane import Lane, bindings_of
from dscsnet.engines.runtimes.tensorrt.library import library_name, make_logger
from dscsnet.engines.runtimes.tensorrt.worker import AnyLane, Job, Worker

log = logging.getLogger(__name__)

#: One lane's copies run while the other's kernels do.
LANES = 2
#: Relative L2 error against the float64 reference, by precision; half precision has 11 bits.
TOLERANCE = {"fp32": 1e-4, "fp16": 5e-3}


class TensorRtRuntime:
    """Executes a compiled engine; `run` may be called from several threads at once.

    Args:
        plan: the compiled engine.
        cuda: `pycuda.driver`, initialised.
        graphs: CUDA graphs; None: without.
        kernels: where kernels are kept that TensorRT-RTX compiles for the GPU; None: nowhere.

    Raises:
        Unavailable: the library or the device refuses the engine.
    """

    def __init__(
        self,
        trt: ModuleType,
        cuda: Any,
        graphs: Graphs | None,
        plan: bytes,
        settings: BuildSettings,
        device: int = 0,
        kernels: KeptKernels | None = None,
    ) -> None:
        self._trt, self._cuda, self._settings = trt, cuda, settings
        self._graphs, self._messages = graphs, make_logger(trt)
        self._device = cuda.Device(device)
        self._outputs: dict[str, tuple[int, ...]] = {}
        self._inputs: dict[str, tuple[int, ...]] = {}
        # Graphs go past pycuda, and say in their own way that the GPU is lost.
        errors = (cuda.Error, DriverError)
        try:
            self._worker = Worker(partial(self._open, plan, kernels), settings.buckets, errors)
        except errors as error:
            reason = f"{self._device.name()}: {' '.join(str(error).split())}"
            raise Unavailable(reason, "refused") from None
        except InferenceError as error:
            reason = f"{library_name(trt)}: {error}: {self._messages.last_error()}"
            raise Unavailable(reason, "refused") from None
        # A context left on a thread's stack when the process ends would abort it.
        atexit.register(self.close)

    @property
    def name(self) -> str:
        precision = self._settings.precision
        return f"{library_name(self._trt)} {precision} on {self._device.name()}"

    @property
    def tolerance(self) -> float:
        return TOLERANCE[self._settings.precision]

    @property
    def on_gpu(self) -> bool:
        return True

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        number = batch_size("TensorRT", inputs, self._inputs)
        outputs = {
            name: np.empty((number, *shape), np.float32) for name, shape in self._outputs.items()
        }
        self._worker.execute(Job(inputs, outputs), number)
        return outputs

    def close(self) -> None:
        """Free the device's memory and leave its context."""
        atexit.unregister(self.close)
        self._worker.close()

    def _open(
        self, plan: bytes, kernels: KeptKernels | None
    ) -> tuple[list[AnyLane], Callable[[], None]]:
        """On the engine's thread: context, engine, lanes; and what frees them."""
        # The primary context is the one that other libraries in this process use, too.
        context = self._device.retain_primary_context()
        context.push()
        lanes: list[AnyLane] = []
        held: list[Any] = []
        free = partial(self._free, context, lanes, held)
        try:
            contexts = self._load(plan, kernels, held)
            for _ in range(LANES):
                given = (contexts, self._settings.buckets)
                lanes.append(Lane(self._trt, self._cuda, self._graphs, *given))
            contexts.keep()
        except BaseException as error:
            # The failed calls refer to the engine, which has to go before the device's context.
            traceback.clear_frames(error.__traceback__)
            contexts = given = None  # type: ignore[assignment]
            free()
            raise
        return lanes, free

    def _load(self, plan: bytes, kernels: KeptKernels | None, held: list[Any]) -> Contexts:
        """The engine; what has to outlive its contexts is held, in the order of its end."""
        runtime = self._trt.Runtime(self._messages)
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise InferenceError("the compiled engine is refused")
        held += [engine, runtime]
        for binding in bindings_of(self._trt, engine):
            known = self._inputs if binding.is_input else self._outputs
            known[binding.name] = binding.shape
        held.insert(0, Contexts(self._trt, engine, kernels))
        return held[0]

    def _free(self, context: Any, lanes: list[AnyLane], held: list[Any]) -> None:
        try:
            while lanes:
                self._close(lanes.pop())
        finally:
            while held:  # each before what made it
                held.pop(0)
            context.pop()
            context.detach()

    def _close(self, lane: AnyLane) -> None:
        try:
            lane.close()
        except (self._cuda.Error, InferenceError) as error:
            log.warning("the GPU's memory could not be freed: %s", str(error))

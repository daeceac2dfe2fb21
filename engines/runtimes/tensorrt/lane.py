"""A lane: one stream with its own page-locked and device memory, used by one piece at a time.

While one lane's kernels run, another's copies do: that is what two of them are for.
"""

import contextlib
import logging
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.errors import InferenceError
from dscsnet.engines.runtimes.base import Arrays
from dscsnet.engines.runtimes.tensorrt.contexts import Contexts, can_be_recorded
from dscsnet.engines.runtimes.tensorrt.graphs import Graph, Graphs

log = logging.getLogger(__name__)

#: A stream that does not wait for the default one (pycuda has no name for it). While a graph of any
#: other stream is recorded, nobody in the process may use the default stream.
NON_BLOCKING = 1


@dataclass(frozen=True)
class Slot:
    """One input or output in both memories.

    Attributes:
        host: (largest bucket, ...) page-locked array.
        device: the driver's allocation; `int()` is its address.
    """

    host: NDArray[Any]
    device: Any


@dataclass(frozen=True)
class Binding:
    """One input or output of the engine: the shape of one crop's share, and the type."""

    name: str
    is_input: bool
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def bindings_of(trt: ModuleType, engine: Any) -> tuple[Binding, ...]:
    """The engine's inputs and outputs."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    return tuple(
        Binding(
            name,
            engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
            tuple(engine.get_tensor_shape(name))[1:],
            np.dtype(trt.nptype(engine.get_tensor_dtype(name))),
        )
        for name in names
    )


class Lane:
    """Memory, stream and execution contexts; every call comes from the engine's own thread.

    Args:
        cuda: `pycuda.driver`.
        graphs: None: work is enqueued piece by piece.
        contexts: makes those of the engine.
        buckets: batch sizes, rising, in the order of the engine's profiles.

    Raises:
        InferenceError: a context cannot be made.
    """

    def __init__(
        self,
        trt: ModuleType,
        cuda: Any,
        graphs: Graphs | None,
        contexts: Contexts,
        buckets: tuple[int, ...],
    ) -> None:
        self._cuda = cuda
        self._stream = cuda.Stream(NON_BLOCKING)
        # A wait that sleeps: the cores have frames to receive meanwhile.
        flags = cuda.event_flags.BLOCKING_SYNC | cuda.event_flags.DISABLE_TIMING
        self._done = cuda.Event(flags)
        self._bindings = bindings_of(trt, contexts.engine)
        self._held: list[Any] = []
        self._slots: dict[str, Slot] = {}
        self._contexts: dict[int, Any] = {}
        self._graphs: dict[int, Graph] = {}
        try:
            self._set_up(graphs, contexts, buckets)
        except BaseException:
            with contextlib.suppress(cuda.Error, InferenceError):
                self.close()
            raise

    def start(self, inputs: Arrays, first: int, last: int, bucket: int) -> None:
        """Copy rows first..last-1 in, and put one batch of the bucket's size on the stream."""
        for binding in self._bindings:
            if binding.is_input:
                self._slots[binding.name].host[: last - first] = inputs[binding.name][first:last]
        if graph := self._graphs.get(bucket):
            graph.launch(self._stream.handle)
        else:
            self._start_without_graph(bucket)
        self._done.record(self._stream)

    def finish(self, outputs: dict[str, NDArray[np.float32]], first: int, last: int) -> None:
        """Wait for the batch, and copy its rows to first..last-1 of `outputs`."""
        self._done.synchronize()
        for binding in self._bindings:
            if not binding.is_input:
                rows = self._slots[binding.name].host[: last - first]
                outputs[binding.name][first:last] = rows

    def close(self) -> None:
        """Free all of it; what still runs is waited for."""
        try:
            self._stream.synchronize()
            for graph in self._graphs.values():
                graph.close()
        finally:
            # On a lost GPU, too: they go before the engine, and that before the device's context.
            self._contexts.clear()
            self._graphs.clear()
            self._slots.clear()
        while self._held:
            self._held.pop().free()

    def _set_up(self, graphs: Graphs | None, contexts: Contexts, buckets: tuple[int, ...]) -> None:
        for binding in self._bindings:
            self._slots[binding.name] = self._slot(binding, buckets[-1])
        # The contexts of one lane never run at once, so they share their working memory.
        engine = contexts.engine
        sizes = [engine.get_device_memory_size_for_profile_v2(i) for i in range(len(buckets))]
        size = max(*sizes, 256)
        workspace = self._alloc(size)
        for profile, bucket in enumerate(buckets):
            context = contexts.make()
            if context is None:
                raise InferenceError(f"no execution context for batches of {bucket}")
            context.set_device_memory(int(workspace), size)
            self._bind(context, profile, bucket)
            self._contexts[bucket] = context
        for bucket in buckets:
            self._first_run(graphs, bucket)

    def _slot(self, binding: Binding, rows: int) -> Slot:
        host = self._cuda.pagelocked_zeros((rows, *binding.shape), binding.dtype)
        self._held.append(host.base)  # freed by us, not when the last array on it is let go
        return Slot(host, self._alloc(host.nbytes))

    def _alloc(self, size: int) -> Any:
        self._held.append(self._cuda.mem_alloc(size))
        return self._held[-1]

    def _bind(self, context: Any, profile: int, bucket: int) -> None:
        """Batches of this size, in our memory."""
        if not context.set_optimization_profile_async(profile, self._stream.handle):
            raise InferenceError(f"the engine has no profile {profile} for batches of {bucket}")
        for binding in self._bindings:
            if not context.set_tensor_address(binding.name, int(self._slots[binding.name].device)):
                raise InferenceError(f"no address accepted for {binding.name}")
            if binding.is_input and not context.set_input_shape(
                binding.name, (bucket, *binding.shape)
            ):
                raise InferenceError(f"{binding.name} does not take batches of {bucket}")
        if missing := context.infer_shapes():
            raise InferenceError(f"shapes of {', '.join(missing)} are not settled")

    def _first_run(self, graphs: Graphs | None, bucket: int) -> None:
        """Once without a graph, since the library sets itself up then; and then record one."""
        self._start_without_graph(bucket)
        self._stream.synchronize()
        if graphs is None:
            return
        if not can_be_recorded(self._contexts[bucket], self._stream.handle):
            log.warning("batches of %d run without a CUDA graph: TensorRT cannot", bucket)
            return
        try:
            self._graphs[bucket] = graphs.record(self._stream.handle, lambda: self._enqueue(bucket))
        except (InferenceError, self._cuda.Error) as error:
            self._stream.synchronize()  # raises the driver's error if the GPU is lost
            log.warning("batches of %d run without a CUDA graph: %s", bucket, str(error))

    def _start_without_graph(self, bucket: int) -> None:
        try:
            self._enqueue(bucket)
        except InferenceError:
            # TensorRT does not tell a batch that it refuses from a GPU that is lost; waiting does,
            # since it raises the driver's error.
            self._stream.synchronize()
            raise

    def _enqueue(self, bucket: int) -> None:
        for binding in self._bindings:
            if binding.is_input:
                slot = self._slots[binding.name]
                self._cuda.memcpy_htod_async(slot.device, slot.host[:bucket], self._stream)
        if not self._contexts[bucket].execute_async_v3(self._stream.handle):
            raise InferenceError(f"TensorRT could not start a batch of {bucket}")
        for binding in self._bindings:
            if not binding.is_input:
                slot = self._slots[binding.name]
                self._cuda.memcpy_dtoh_async(slot.host[:bucket], slot.device, self._stream)

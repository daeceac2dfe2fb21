"""The PyTorch runtime: for GPUs without TensorRT, and for development on a CPU.

On a GPU each batch size is captured as a CUDA graph once, so a batch costs one launch.
"""

import ctypes
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.errors import InferenceError, ModelError, first_line
from dscsnet.engines.model import Model
from dscsnet.engines.runtime_names import Precision
from dscsnet.engines.runtimes.base import (
    Arrays,
    DeviceError,
    RuntimeOptions,
    Unavailable,
    batch_size,
)
from dscsnet.engines.runtimes.split import BUCKETS, split

try:
    import torch
    from torch import Tensor, nn

    from dscsnet.engines.networks.stored import RECIPE, WEIGHTS, load_network
    from dscsnet.engines.runtimes.torch_precision import no_hidden_rounding
except ModuleNotFoundError as error:
    raise Unavailable(
        f'{error.name} is not installed: install "dscsnet[train]"', "no_library"
    ) from None

#: Relative L2 error against the float64 reference, by precision.
TOLERANCE = {"fp32": 1e-4, "fp16": 5e-3}

#: Names of a stage's or head's last layer.
LAST_LAYERS = ("last", "leave")

Results = tuple[Tensor, ...]


class TorchRuntime:
    """Executes a network's PyTorch module; `run` may be called from several threads.

    Args:
        network: in evaluation mode; taken over.
        device: `cpu`, `cuda:0` ...; on the CPU the precision is always fp32.
        buckets: batch sizes, rising; on a GPU others are filled up.

    Raises:
        Unavailable: the device refuses the network.
    """

    def __init__(
        self,
        network: nn.Module,
        golden: Arrays,
        outputs: tuple[str, ...],
        device: str,
        precision: Precision,
        buckets: tuple[int, ...] = BUCKETS,
    ) -> None:
        self._device = torch.device(device)
        self._precision = precision if self._device.type == "cuda" else "fp32"
        self._network, self._outputs = network, outputs
        self._buckets, self._lock = buckets, threading.Lock()
        self._broken = ""
        if self._precision == "fp16":
            halve_layers(network)
        self._shapes = {name: value.shape[1:] for name, value in golden.items()}
        self._graphs: dict[int, _Captured] = {}
        try:
            network.to(self._device)
            if self._device.type == "cuda":
                self._capture()
        except RuntimeError as error:
            raise Unavailable(f"{device}: {first_line(error)}", "refused") from None

    @property
    def name(self) -> str:
        place = "CPU"
        if self._device.type == "cuda":
            place = f"{self._precision} on {torch.cuda.get_device_name(self._device)}"
        return f"torch {torch.__version__} {place}"

    @property
    def tolerance(self) -> float:
        return TOLERANCE[self._precision]

    @property
    def on_gpu(self) -> bool:
        return self._device.type == "cuda"

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        number = batch_size("torch", inputs, self._shapes)
        with self._lock:
            if self._broken:
                raise DeviceError(self._broken)
            try:
                results = self._on_gpu(inputs, number) if self._graphs else self._direct(inputs)
            except torch.cuda.OutOfMemoryError as error:
                raise InferenceError(f"torch: {first_line(error)}") from None
            except RuntimeError as error:
                if self._device.type == "cuda":
                    self._lose(f"the GPU failed: {first_line(error)}")
                    raise DeviceError(self._broken) from None
                raise InferenceError(f"torch: {first_line(error)}") from None
        return dict(zip(self._outputs, results, strict=True))

    def close(self) -> None:
        """Free the graphs and the network."""
        with self._lock:
            if not self._broken:
                self._graphs.clear()
            self._broken = self._broken or "the engine is closed"

    def _lose(self, reason: str) -> None:
        """Errors of kernels are sticky: the context is lost, and with it all later batches."""
        self._broken = reason
        # Never freed: PyTorch's destructors raise on a lost GPU, which would end the process
        # before it has said why.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._graphs))

    def _direct(self, inputs: Arrays) -> list[NDArray[np.float32]]:
        given = [torch.from_numpy(np.array(inputs[name])) for name in self._shapes]
        with torch.inference_mode():
            return [value.numpy() for value in _as_tuple(self._network(*given))]

    def _on_gpu(self, inputs: Arrays, number: int) -> list[NDArray[np.float32]]:
        parts = [
            self._graphs[bucket].run([inputs[name][first:last] for name in self._shapes])
            for first, last, bucket in split(number, self._buckets)
        ] or [self._graphs[self._buckets[0]].none()]
        return [np.concatenate(columns) for columns in zip(*parts, strict=True)]

    def _capture(self) -> None:
        with torch.cuda.device(self._device), torch.inference_mode(), no_hidden_rounding():
            shared = _Shared(torch.cuda.Stream(self._device), torch.cuda.graph_pool_handle())
            for bucket in reversed(self._buckets):  # the largest first: the rest fits in its memory
                shapes = [(bucket, *shape) for shape in self._shapes.values()]
                self._graphs[bucket] = _Captured(self._network, shapes, self._device, shared)


@dataclass(frozen=True)
class _Shared:
    """What the graphs of a network share: they never run at once.

    Attributes:
        stream: PyTorch shares memory between graphs of one stream only.
        pool: where their working memory lies.
    """

    stream: Any
    pool: Any


class _Captured:
    """One batch size: page-locked arrays, their copies on the GPU, and a graph of it all."""

    def __init__(
        self,
        network: nn.Module,
        shapes: list[tuple[int, ...]],
        device: torch.device,
        shared: _Shared,
    ) -> None:
        self._host_inputs = [torch.ones(shape, pin_memory=True) for shape in shapes]
        self._stream = stream = shared.stream
        with torch.cuda.stream(stream):
            # Kept: a graph knows addresses, and what is let go is another's, or nobody's.
            self._inputs = inputs = [value.to(device) for value in self._host_inputs]
        # Libraries set themselves up in the first runs, which cannot be captured.
        with torch.cuda.stream(stream):
            for _ in range(3):
                results = _as_tuple(network(*inputs))
        stream.synchronize()
        self._host_results = [torch.empty(r.shape, pin_memory=True) for r in results]
        self._graph = torch.cuda.CUDAGraph()
        # Thread-local: the engine that this one is to replace works on in another thread.
        with torch.cuda.graph(
            self._graph, pool=shared.pool, stream=stream, capture_error_mode="thread_local"
        ):
            for value, host in zip(inputs, self._host_inputs, strict=True):
                value.copy_(host, non_blocking=True)
            for host, value in zip(self._host_results, _as_tuple(network(*inputs)), strict=True):
                host.copy_(value, non_blocking=True)

    def run(self, rows: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Results of up to a bucket of rows."""
        for host, given in zip(self._host_inputs, rows, strict=True):
            host.numpy()[: len(given)] = given
        with torch.cuda.stream(self._stream):
            self._graph.replay()
        self._stream.synchronize()
        return [host.numpy()[: len(rows[0])].copy() for host in self._host_results]

    def none(self) -> list[NDArray[np.float32]]:
        """Results of no rows."""
        return [host.numpy()[:0].copy() for host in self._host_results]


def halve_layers(network: nn.Module) -> None:
    """Convolutions and linear layers compute in half precision, all else as it was.

    The last layer of a stage or head stays single: on scene-compact those layers alone make an
    error of 5e-3, all others together 1e-3.
    """
    for name, layer in network.named_modules():
        last = name.rpartition(".")[2] in LAST_LAYERS
        if type(layer) in (nn.Conv2d, nn.Linear) and not last:
            layer.half()
            layer.register_forward_pre_hook(lambda _, given: tuple(v.half() for v in given))
            layer.register_forward_hook(lambda _, __, result: result.float())


def open_torch(model: Model, options: RuntimeOptions, *, need_gpu: bool = False) -> TorchRuntime:
    """Load a model's weights; on the GPU if PyTorch sees one, else on the CPU.

    Raises:
        Unavailable: no PyTorch, or no GPU where one is needed.
        ModelError: the model folder has no weights.
    """
    for file in (WEIGHTS, RECIPE):
        if file not in model.card.files:
            raise ModelError(f"{model.folder}: no {file} on its card, which torch needs")
    gpu = torch.cuda.is_available()
    if need_gpu and not gpu:
        raise Unavailable("PyTorch sees no GPU", "no_driver")
    if gpu and not 0 <= options.device < torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise Unavailable(f"no GPU {options.device}: PyTorch sees {found}", "no_driver")
    if not gpu and options.threads:
        torch.set_num_threads(options.threads)
    return TorchRuntime(
        load_network(model.folder),
        model.golden().inputs,
        model.card.outputs,
        f"cuda:{options.device}" if gpu else "cpu",
        options.precision,
    )


def _as_tuple(result: Any) -> Results:
    return (result,) if isinstance(result, Tensor) else tuple(result)

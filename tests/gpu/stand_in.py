"""In the place of TensorRT where there is none: the real network, computed by PyTorch.

It treats a stream and addresses as the library does: `execute_async_v3` puts kernels on the stream
that it is told, which read and write the memory that the lane has bound, and returns at once. So
all of our own path is real: lanes, page-locked memory, streams, graphs, threads, context.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from dscsnet.engines.model import Model
from dscsnet.engines.networks.stored import load_network
from dscsnet.engines.runtimes.torch_precision import no_hidden_rounding

Shape = tuple[int, ...]


class Place(Protocol):
    """Where the network is computed.

    Attributes:
        device: PyTorch's name of it.
    """

    device: str

    def view(self, address: int, shape: Shape) -> Tensor:
        """The single-precision numbers at an address."""

    def memory(self) -> Any:
        """What keeps the working memory of one context apart."""

    def put(self, stream: int, memory: Any, work: Callable[[], None]) -> None:
        """Have the work done on the stream, in its turn."""


class RawMemory:
    """Numbers on the device, described as PyTorch, CuPy and others agreed to."""

    def __init__(self, address: int, shape: Shape) -> None:
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": "<f4",
            "data": (address, False),
            "strides": None,
            "version": 3,
        }


class Card:
    """A real GPU."""

    device = "cuda:0"

    def view(self, address: int, shape: Shape) -> Tensor:
        view = torch.as_tensor(RawMemory(address, shape), device=self.device)
        assert view.data_ptr() == address, "a copy"
        return view

    def memory(self) -> Any:
        # Ordinary memory could be given to others while a graph still works in it.
        return torch.cuda.MemPool()

    def put(self, stream: int, memory: Any, work: Callable[[], None]) -> None:
        external = torch.cuda.ExternalStream(stream)
        with torch.cuda.use_mem_pool(memory), torch.cuda.stream(external):
            work()


class Context:
    """Looks like `IExecutionContext`."""

    def __init__(self, engine: "Engine") -> None:
        self.engine, self.memory = engine, engine.place.memory()
        self.addresses: dict[str, int] = {}
        self.batch = 0
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []

    def set_device_memory(self, address: int, size: int) -> None:
        assert address % 256 == 0
        assert size >= 256

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self.batch = self.engine.buckets[profile]
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        return shape == (self.batch, *self.engine.inputs[name])

    def infer_shapes(self) -> list[str]:
        self.inputs, self.outputs = (
            [
                self.engine.place.view(self.addresses[name], (self.batch, *shape))
                for name, shape in tensors.items()
            ]
            for tensors in (self.engine.inputs, self.engine.outputs)
        )
        return []

    def execute_async_v3(self, stream: int) -> bool:
        self.engine.executions += 1
        self.engine.place.put(stream, self.memory, self.compute)
        return True

    def compute(self) -> None:
        with torch.inference_mode(), no_hidden_rounding():
            results = self.engine.network(*self.inputs)
            results = (results,) if isinstance(results, Tensor) else results
            for place, value in zip(self.outputs, results, strict=True):
                place.copy_(value)


class Engine:
    """Looks like `ICudaEngine`.

    Attributes:
        executions: how often a batch was put on a stream, or recorded.
    """

    def __init__(self, place: Place, model: Model, buckets: tuple[int, ...]) -> None:
        golden = model.golden()
        self.place, self.buckets, self.executions = place, buckets, 0
        self.inputs = {name: golden.inputs[name].shape[1:] for name in model.card.inputs}
        self.outputs = {name: golden.outputs[name].shape[1:] for name in model.card.outputs}
        self.network = load_network(model.folder).to(place.device).eval()

    @property
    def num_io_tensors(self) -> int:
        return len(self.inputs) + len(self.outputs)

    def get_tensor_name(self, index: int) -> str:
        return [*self.inputs, *self.outputs][index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name in self.inputs else "out"

    def get_tensor_shape(self, name: str) -> Shape:
        return (-1, *{**self.inputs, **self.outputs}[name])

    def get_tensor_dtype(self, name: str) -> str:
        return "float32"

    def get_device_memory_size_for_profile_v2(self, profile: int) -> int:
        return 0  # PyTorch has memory of its own

    def create_execution_context(self, strategy: str) -> Context:
        return Context(self)


class StandIn:
    """Looks like the module `tensorrt`, as far as executing goes; plans are of no account."""

    __name__, __version__ = "stand_in", "1.0"
    TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")
    ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user")

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO = range(4)

    def __init__(self, place: Place, model: Model, buckets: tuple[int, ...]) -> None:
        self.engine = Engine(place, model, buckets)

    def nptype(self, dtype: str) -> type:
        return np.dtype(dtype).type

    def Runtime(self, messages: Any) -> Any:
        return SimpleNamespace(deserialize_cuda_engine=lambda plan: self.engine)

"""Stand-ins for pycuda, TensorRT's runtime and CUDA graphs that run without a GPU.

Nothing is executed when it is put on a stream: only when somebody waits for it, like on a GPU that
is as late as it may be. So a buffer that is used again too early gives wrong numbers here. Engines
compute through ONNX Runtime on the "device's" memory.
"""

import threading
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from weakref import WeakMethod, WeakSet

import numpy as np
import onnxruntime

Work = Callable[[], None]


#: What every function of the driver answers once the GPU is lost.
LOST = 700
#: Addresses that the driver gives are multiples of this.
ALIGNMENT = 256


class CudaError(Exception):
    """What pycuda raises."""


class Stream:
    """Work that waits, in order; in a capture it is recorded instead."""

    def __init__(self, cuda: "FakeCuda") -> None:
        self.cuda, self.waiting, self.handle = cuda, [], id(self)
        self.recording: list[Work] | None = None
        cuda.streams[self.handle] = self

    def add(self, work: Work) -> None:
        (self.waiting if self.recording is None else self.recording).append(work)

    def synchronize(self) -> None:
        self.cuda.note("wait")
        self.run()
        self.cuda.check()

    def run(self, until: int | None = None) -> None:
        assert self.recording is None, "no waiting during a capture"
        self.cuda.check()
        number = len(self.waiting) if until is None else until
        work, self.waiting = self.waiting[:number], self.waiting[number:]
        for step in work:
            step()


class Event:
    def __init__(self, cuda: "FakeCuda", flags: int) -> None:
        self.cuda, self.flags, self.place = cuda, flags, None

    def record(self, stream: Stream) -> None:
        self.cuda.check()
        self.noted(stream)

    def noted(self, stream: Stream) -> None:
        self.place = (stream, len(stream.waiting))

    def synchronize(self) -> None:
        self.cuda.note("finish")
        stream, number = self.place
        stream.run(number)


class HostMemory:
    """Page-locked memory; numpy arrays on it have it as their base."""

    def __init__(self, cuda: "FakeCuda", array: np.ndarray) -> None:
        self.cuda, self.array = cuda, array
        self.__array_interface__ = array.__array_interface__
        cuda.live["host"] += 1

    def free(self) -> None:
        self.cuda.note("free")
        self.cuda.live["host"] -= 1


class DeviceMemory:
    def __init__(self, cuda: "FakeCuda", size: int) -> None:
        room = np.zeros(size + ALIGNMENT, np.uint8)
        start = -room.ctypes.data % ALIGNMENT
        self.cuda, self.bytes = cuda, room[start : start + size]
        cuda.memory[int(self)] = self.bytes
        cuda.live["device"] += 1

    def __int__(self) -> int:
        return int(self.bytes.ctypes.data)

    def free(self) -> None:
        self.cuda.note("free")
        del self.cuda.memory[int(self)]
        self.cuda.live["device"] -= 1


class Context:
    """The primary context; `stacks` counts how often each thread has pushed it."""

    def __init__(self, cuda: "FakeCuda") -> None:
        self.cuda = cuda

    def push(self) -> None:
        self.cuda.stacks[threading.get_ident()] += 1

    def pop(self) -> None:
        assert self.cuda.stacks[threading.get_ident()] > 0
        self.cuda.stacks[threading.get_ident()] -= 1

    def detach(self) -> None:
        assert not len(self.cuda.contexts), "contexts of an engine outlive the device's"
        self.cuda.retained -= 1


class FakeCuda:
    """Looks like `pycuda.driver`.

    Attributes:
        broken: the GPU is lost, and what pycuda says of it.
        memory_left: allocations that still succeed.
    """

    Error = CudaError
    event_flags = SimpleNamespace(BLOCKING_SYNC=1, DISABLE_TIMING=2)

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.live: Counter[str] = Counter()
        self.stacks: Counter[int] = Counter()
        self.order: list[str] = []
        self.streams: dict[int, Stream] = {}
        self.memory: dict[int, np.ndarray] = {}
        self.contexts: WeakSet[ExecutionContext] = WeakSet()
        self.retained = 0
        self.broken = ""
        self.memory_left = 1_000_000
        outer = self

        class Device:
            def __init__(self, number: int) -> None:
                self.number = number

            @staticmethod
            def count() -> int:
                return 1

            def name(self) -> str:
                return "Fake GPU"

            def compute_capability(self) -> tuple[int, int]:
                return 8, 6

            def retain_primary_context(self) -> Context:
                outer.retained += 1
                return Context(outer)

        self.Device = Device

    def note(self, what: str) -> None:
        """Every call needs the context on its own thread."""
        assert self.stacks[threading.get_ident()] == 1, f"{what} without a context"
        self.calls[what] += 1
        self.order.append(what)

    @property
    def code(self) -> int:
        """What the driver's functions answer."""
        return LOST if self.broken else 0

    def check(self) -> None:
        """As pycuda does after every call of the driver."""
        if self.broken:
            raise CudaError(self.broken)

    def use_memory(self, function: str) -> None:
        self.check()
        if not self.memory_left:
            raise CudaError(f"{function} failed: out of memory")
        self.memory_left -= 1

    def Stream(self, flags: int) -> Stream:
        self.note("stream")
        assert flags == 1, "others use the default stream while a graph is recorded"
        return Stream(self)

    def Event(self, flags: int) -> Event:
        self.note("event")
        return Event(self, flags)

    def pagelocked_zeros(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        self.note("pagelocked")
        self.use_memory("cuMemHostAlloc")
        return np.asarray(HostMemory(self, np.zeros(shape, dtype)))

    def mem_alloc(self, size: int) -> DeviceMemory:
        self.note("alloc")
        self.use_memory("cuMemAlloc")
        return DeviceMemory(self, size)

    def memcpy_htod_async(self, target: DeviceMemory, source: np.ndarray, stream: Stream) -> None:
        self.note("copy in")
        self.check()

        def work() -> None:
            target.bytes[: source.nbytes] = source.reshape(-1).view(np.uint8)

        stream.add(work)

    def memcpy_dtoh_async(self, target: np.ndarray, source: DeviceMemory, stream: Stream) -> None:
        self.note("copy out")
        self.check()

        def work() -> None:
            target.reshape(-1).view(np.uint8)[:] = source.bytes[: target.nbytes]

        stream.add(work)


class FakeDriver:
    """Looks like the driver's library, as ctypes loads it, so that the real `Graphs` work on it.

    Args:
        refuse: no recording can be made a graph.
    """

    def __init__(self, cuda: FakeCuda, *, refuse: bool = False) -> None:
        self.cuda, self.refuse = cuda, refuse
        self.recordings: dict[int, list[Work]] = {}

    def cuStreamBeginCapture_v2(self, stream: Any, mode: Any) -> int:
        self.cuda.note("record")
        assert mode.value == 1, "other threads may work"
        target = self.cuda.streams[stream.value]
        assert not target.waiting, "set-up must have ended before a capture"
        target.recording = []
        return self.cuda.code

    def cuStreamEndCapture(self, stream: Any, graph: Any) -> int:
        target = self.cuda.streams[stream.value]
        recorded, target.recording = target.recording, None
        if self.refuse:
            return 901
        graph._obj.value = self._keep(recorded)
        return self.cuda.code

    def cuGraphInstantiateWithFlags(self, executable: Any, graph: Any, flags: Any) -> int:
        executable._obj.value = self._keep(self.recordings[graph.value])
        self.cuda.live["graph"] += 1
        return self.cuda.code

    def cuGraphDestroy(self, graph: Any) -> int:
        del self.recordings[graph.value]
        return self.cuda.code

    def cuGraphExecDestroy(self, executable: Any) -> int:
        self.cuda.live["graph"] -= 1
        return self.cuGraphDestroy(executable)

    def cuGraphLaunch(self, executable: Any, stream: Any) -> int:
        self.cuda.note("launch")
        for step in self.recordings[executable.value]:
            self.cuda.streams[stream.value].add(step)
        return self.cuda.code

    def cuGetErrorName(self, code: Any, name: Any) -> int:
        names = {
            LOST: b"CUDA_ERROR_ILLEGAL_ADDRESS",
            901: b"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
        }
        name._obj.value = names[code.value]
        return 0

    def _keep(self, work: list[Work]) -> int:
        handle = 1 + max(self.recordings, default=0)
        self.recordings[handle] = work
        return handle


class ExecutionContext:
    def __init__(self, engine: "Engine") -> None:
        self.engine, self.profile, self.memory = engine, -1, 0
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        engine.cuda.contexts.add(self)

    def set_device_memory(self, address: int, size: int) -> None:
        assert len(self.engine.cuda.memory[address]) >= size
        self.memory = size

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self.profile = profile
        return profile < len(self.engine.buckets)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return address in self.engine.cuda.memory

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return shape[0] == self.engine.buckets[self.profile]

    def infer_shapes(self) -> list[str]:
        return [i.name for i in self.engine.session.get_inputs() if i.name not in self.shapes]

    def execute_async_v3(self, stream: int) -> bool:
        cuda = self.engine.cuda
        cuda.note("execute")
        assert self.memory >= self.engine.get_device_memory_size_for_profile_v2(self.profile)
        if self.engine.refusals or cuda.broken:
            self.engine.refusals = max(0, self.engine.refusals - 1)
            return False
        compute = WeakMethod(self.compute)  # a graph does not keep what it was recorded from

        def work() -> None:
            compute()()

        cuda.streams[stream].add(work)
        return True

    def compute(self) -> None:
        memory = self.engine.cuda.memory
        given = {}
        for name, shape in self.shapes.items():
            size = int(np.prod(shape)) * 4
            given[name] = memory[self.addresses[name]][:size].view(np.float32).reshape(shape)
        names = [output.name for output in self.engine.session.get_outputs()]
        for name, value in zip(names, self.engine.session.run(names, given), strict=True):
            raw = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
            memory[self.addresses[name]][: raw.size] = raw


class Engine:
    """Looks like `ICudaEngine`; the plan is an ONNX file."""

    def __init__(self, cuda: FakeCuda, plan: bytes, buckets: tuple[int, ...]) -> None:
        self.cuda, self.buckets, self.refusals, self.contexts = cuda, buckets, 0, 0
        self.config: RuntimeConfig | None = None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(plan, options)
        self.tensors = {
            **{t.name: (t, "in") for t in self.session.get_inputs()},
            **{t.name: (t, "out") for t in self.session.get_outputs()},
        }

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> str:
        return self.tensors[name][1]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, *self.tensors[name][0].shape[1:])

    def get_tensor_dtype(self, name: str) -> str:
        return "float32"

    def get_device_memory_size_for_profile_v2(self, profile: int) -> int:
        return 1000 * self.buckets[profile]

    def create_execution_context(self, strategy: Any) -> ExecutionContext:
        assert strategy == ("user" if self.config is None else self.config)
        self.contexts += 1
        return ExecutionContext(self)

    def create_runtime_config(self) -> "RuntimeConfig":
        self.config = RuntimeConfig()
        return self.config


class RuntimeCache:
    """Looks like `IRuntimeCache`; it begins with the kernels of one driver and GPU."""

    def __init__(self) -> None:
        self.content = b"kernels"

    def deserialize(self, content: bytes) -> bool:
        fits = content.startswith(b"kernels")
        if fits:
            self.content = content
        return fits

    def serialize(self) -> memoryview:
        return memoryview(self.content)


class RuntimeConfig:
    """Looks like `IRuntimeConfig` of TensorRT-RTX."""

    def __init__(self) -> None:
        self.strategy = self.dynamic_shapes_kernel_specialization_strategy = ""
        self.cache: RuntimeCache | None = None

    def set_execution_context_allocation_strategy(self, strategy: str) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> RuntimeCache:
        return RuntimeCache()

    def set_runtime_cache(self, cache: RuntimeCache) -> bool:
        self.cache = cache
        return True


class FakeTensorRt:
    """Looks like the module `tensorrt`, as far as executing goes."""

    __name__, __version__ = "tensorrt_fake", "1.0"
    TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")
    ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user")

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO = range(4)

    def __init__(self, cuda: FakeCuda, buckets: tuple[int, ...]) -> None:
        self.cuda, self.buckets = cuda, buckets
        self.engines: list[Engine] = []

    def nptype(self, dtype: str) -> type:
        return np.dtype(dtype).type

    def Runtime(self, messages: Any) -> Any:
        def deserialize(plan: bytes) -> Engine | None:
            if not plan:
                messages.log(FakeTensorRt.ILogger.ERROR, "magic tag\ndoes not match")
                return None
            self.engines.append(Engine(self.cuda, plan, self.buckets))
            return self.engines[-1]

        return SimpleNamespace(deserialize_cuda_engine=deserialize)


class FakeRtx(FakeTensorRt):
    """Looks like the module `tensorrt_rtx`."""

    __name__ = "tensorrt_rtx_fake"
    ComputeCapability = SimpleNamespace()
    DynamicShapesKernelSpecializationStrategy = SimpleNamespace(EAGER="eager")

"""Opening the TensorRT runtime: library, device, compiled engine."""

import logging
from dataclasses import dataclass, replace
from hashlib import sha256
from types import ModuleType
from typing import Any

from dscsnet.engines.errors import ModelError
from dscsnet.engines.model import Model
from dscsnet.engines.runtimes.base import RuntimeOptions, Unavailable
from dscsnet.engines.runtimes.tensorrt.build import (
    BuildSettings,
    Tell,
    compile_network,
    network_bytes,
)
from dscsnet.engines.runtimes.tensorrt.cache import EngineCache, EngineKey
from dscsnet.engines.runtimes.tensorrt.graphs import Graphs
from dscsnet.engines.runtimes.tensorrt.library import (
    capabilities,
    library_name,
    load_library,
    serves_a_capability,
)
from dscsnet.engines.runtimes.tensorrt.runtime import TensorRtRuntime

log = logging.getLogger(__name__)


def open_tensorrt(model: Model, options: RuntimeOptions, tell: Tell = log.info) -> TensorRtRuntime:
    """Take a model's compiled engine from the cache, compiling it if need be, and load it.

    Raises:
        Unavailable: no library, no device, or the engine is refused.
        ModelError: the network cannot be compiled.
    """
    trt, cuda = load_library(), load_pycuda()
    device = find_device(cuda, options.device)
    target = Target.of_device(trt, device)
    settings = BuildSettings(options.precision, capability=target.capability)
    cache = EngineCache(options.cache)
    plan = compiled_engine(trt, model, settings, target, cache, tell)
    key = engine_key(trt, model, sha256(plan).hexdigest(), settings, _one_gpu(device))
    kernels = KernelFile(cache, replace(key, kind="kernels"))
    return TensorRtRuntime(trt, cuda, Graphs(), plan, settings, options.device, kernels)


@dataclass(frozen=True)
class Target:
    """What an engine is compiled for.

    Attributes:
        device: as it stands in the cache's key.
        capability: to be named to the compiler; None: it takes the GPU at hand.
    """

    device: str
    capability: str | None

    @classmethod
    def of_device(cls, trt: ModuleType, device: Any) -> "Target":
        """A GPU at hand; where the library can, all of its compute capability."""
        capability = _capability(device)
        if capability in capabilities(trt):
            return cls.of_capability(capability)
        return cls(capability if serves_a_capability(trt) else _one_gpu(device), None)

    @classmethod
    def of_capability(cls, capability: str) -> "Target":
        """Any GPU of a compute capability like `8.6`."""
        return cls(capability, capability)


def compiled_engine(
    trt: ModuleType,
    model: Model,
    settings: BuildSettings,
    target: Target,
    cache: EngineCache,
    tell: Tell,
) -> bytes:
    """A model's compiled engine: from the cache, or built and kept there.

    Raises:
        ModelError: the network cannot be compiled, or the cache cannot be used.
    """
    network = network_bytes(model, settings.precision)
    digest = sha256(network).hexdigest()
    key = engine_key(trt, model, digest, settings, target.device)
    return cache.get(key, lambda: compile_network(trt, network, settings, tell).plan)


def engine_key(
    trt: ModuleType, model: Model, network: str, settings: BuildSettings, device: str
) -> EngineKey:
    """The key under which something is kept of a model.

    Args:
        network: sha256 of what it was made from.
        device: GPU or compute capability that it serves.
    """
    return EngineKey(
        model=model.card.name,
        network=network,
        library=library_name(trt),
        device=device,
        precision=settings.precision,
        buckets=settings.buckets,
    )


@dataclass(frozen=True)
class KernelFile:
    """Kernels that TensorRT-RTX compiled for a GPU, kept beside the engines.

    Without them a node starts more slowly, so what is wrong with them is logged and no more.
    """

    cache: EngineCache
    key: EngineKey

    def load(self) -> bytes | None:
        """What is kept; None: nothing that could be trusted."""
        try:
            return self.cache.find(self.key)
        except ModelError as error:
            log.warning("kernels are compiled again: %s", error)
            return None

    def store(self, content: bytes) -> None:
        """Keep it."""
        try:
            self.cache.put(self.key, content)
        except ModelError as error:
            log.warning("kernels are not kept: %s", error)


def _capability(device: Any) -> str:
    return ".".join(str(number) for number in device.compute_capability())


def _one_gpu(device: Any) -> str:
    return f"{device.name()} {_capability(device)}"


def find_device(cuda: Any, number: int) -> Any:
    """The GPU of this number.

    Raises:
        Unavailable: there is none.
    """
    found = cuda.Device.count()
    if not 0 <= number < found:
        raise Unavailable(f"no GPU {number}: the driver has {found}", "no_driver")
    return cuda.Device(number)


def load_pycuda() -> Any:
    """`pycuda.driver`, initialised.

    Raises:
        Unavailable: it is not installed, or finds no driver or device.
    """
    try:
        import pycuda.driver as cuda
    except ModuleNotFoundError:
        raise Unavailable('pycuda is not installed: install "dscsnet[gpu]"', "no_library") from None
    except ImportError as error:
        raise Unavailable(f"pycuda: {' '.join(str(error).split())}", "no_driver") from None
    try:
        cuda.init()
    except cuda.Error as error:
        raise Unavailable(f"pycuda: {' '.join(str(error).split())}", "no_driver") from None
    return cuda

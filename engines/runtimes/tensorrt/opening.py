"""Opening the TensorRT runtime: library, device, compiled engine."""

import logging
from dataclasses import dataclass
from hashlib import sha256
from types import ModuleType
from typing import Any

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
from dscsnet.engines.runtimes.tensorrt.library import capabilities, library_name, load_library
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
    return TensorRtRuntime(trt, cuda, Graphs(), plan, settings, options.device)


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
        """A GPU at hand. TensorRT-RTX's engines serve every GPU of a capability, others one."""
        capability = ".".join(str(number) for number in device.compute_capability())
        if capability in capabilities(trt):
            return cls.of_capability(capability)
        return cls(f"{device.name()} {capability}", None)

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
    key = EngineKey(
        model=model.card.name,
        network=sha256(network).hexdigest(),
        library=library_name(trt),
        device=target.device,
        precision=settings.precision,
        buckets=settings.buckets,
    )
    return cache.get(key, lambda: compile_network(trt, network, settings, tell).plan)


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

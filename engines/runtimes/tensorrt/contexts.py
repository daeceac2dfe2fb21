"""Makes the execution contexts of an engine, each library in its own way.

TensorRT-RTX compiles kernels for the GPU at hand when a batch first runs, and until one is there a
slower one serves. A graph would keep the slower one for ever: so they are compiled before the first
batch runs, and kept, since that takes seconds.
"""

import logging
from types import ModuleType
from typing import Any, Protocol

from dscsnet.engines.errors import InferenceError
from dscsnet.engines.runtimes.tensorrt.library import is_rtx

log = logging.getLogger(__name__)


class KeptKernels(Protocol):
    """Where compiled kernels are kept between starts."""

    def load(self) -> bytes | None: ...
    def store(self, content: bytes) -> None: ...


class Contexts:
    """Makes contexts whose memory we provide; on the engine's thread, in the device's context.

    Args:
        kept: None: kernels are compiled anew at each start.

    Attributes:
        engine: as it was given.

    Raises:
        InferenceError: the library refuses.
    """

    def __init__(self, trt: ModuleType, engine: Any, kept: KeptKernels | None) -> None:
        self.engine, self._kept = engine, kept
        self._strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        self._config: Any = None
        self._cache: Any = None
        self._loaded = b""
        if is_rtx(trt):
            self._config = engine.create_runtime_config()
            if self._config is None:
                raise InferenceError("no runtime configuration")
            self._config.set_execution_context_allocation_strategy(self._strategy)
            self._config.dynamic_shapes_kernel_specialization_strategy = (
                trt.DynamicShapesKernelSpecializationStrategy.EAGER
            )
            self._load()

    def make(self) -> Any:
        """A context; None: the library refuses."""
        return self.engine.create_execution_context(self._config or self._strategy)

    def keep(self) -> None:
        """Store what was compiled, if it is more than was loaded."""
        if self._kept is None or self._cache is None:
            return
        content = self._cache.serialize()
        if content is not None and bytes(content) != self._loaded:
            self._kept.store(bytes(content))

    def _load(self) -> None:
        cache = self._config.create_runtime_cache()
        content = self._kept.load() if self._kept is not None else None
        if cache is not None and content is not None:
            # It refuses what another driver, GPU or version compiled, and begins with nothing.
            if cache.deserialize(content):
                self._loaded = content
            else:
                log.info("kernels that were kept are compiled again: another driver or GPU")
        if cache is not None and self._config.set_runtime_cache(cache):
            self._cache = cache
        else:
            log.warning("TensorRT-RTX takes no cache: its kernels are compiled at each start")


def can_be_recorded(context: Any, stream: int) -> bool:
    """Whether a graph can be made of this context's work; full TensorRT does not tell before."""
    ask = getattr(context, "is_stream_capturable", None)
    return ask is None or bool(ask(stream))

"""The one seam to TensorRT: `tensorrt` where it is installed, else `tensorrt_rtx`.

Both offer the same parser, builder and execution calls. They differ in what this file and
`contexts.py` hide: for which GPUs they compile, and when their kernels are made.
"""

import importlib
import logging
from types import ModuleType
from typing import Any

from dscsnet.engines.errors import ModelError
from dscsnet.engines.runtimes.base import Unavailable

log = logging.getLogger(__name__)

LIBRARIES = ("tensorrt", "tensorrt_rtx")
#: What not every library and version has.
SAME_CAPABILITY, USER_ALLOCATION = "SAME_COMPUTE_CAPABILITY", "REQUIRE_USER_ALLOCATION"


def load_library() -> ModuleType:
    """Import TensorRT.

    Raises:
        Unavailable: neither library can be imported.
    """
    reasons = []
    for name in LIBRARIES:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            reasons.append(f"{name} is not installed")
        except (ImportError, OSError) as error:  # its shared libraries are missing
            reasons.append(f"{name}: {error}")
    raise Unavailable(f"TensorRT: {', '.join(reasons)}; see docs/gpu.md", "no_library")


def library_name(trt: ModuleType) -> str:
    """Name and version, which a compiled engine is bound to."""
    return f"{trt.__name__.partition('.')[0]} {trt.__version__}"


def is_rtx(trt: ModuleType) -> bool:
    """TensorRT-RTX compiles for named GPUs without having one."""
    return hasattr(trt, "ComputeCapability")


def strongly_typed(trt: ModuleType) -> int:
    """Flags of a network whose types are those of its ONNX file; from 11 on there is no other."""
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def capabilities(trt: ModuleType) -> tuple[str, ...]:
    """Compute capabilities, like `8.6`, that can be compiled for without having such a GPU."""
    return tuple(_members(trt))


def set_capability(trt: ModuleType, config: Any, capability: str) -> None:
    """Compile for this compute capability.

    Raises:
        ModelError: the library does not.
    """
    known = _members(trt)
    if capability not in known:
        raise ModelError(
            f"{library_name(trt)} does not compile for compute capability {capability}; "
            + (f"it does for {', '.join(known)}" if known else "only for this machine's GPU")
        )
    config.num_compute_capabilities = 1
    if not config.set_compute_capability(known[capability], 0):
        raise ModelError(f"{library_name(trt)} refused compute capability {capability}")


def serves_a_capability(trt: ModuleType) -> bool:
    """Whether it is full TensorRT, and compiles for every GPU like the one at hand."""
    return not is_rtx(trt) and hasattr(trt.HardwareCompatibilityLevel, SAME_CAPABILITY)


def prepare(trt: ModuleType, config: Any) -> None:
    """What is told to a builder apart from the network: each library what it knows."""
    # TF32 would round fp32 products to 10 bits behind the network's back.
    config.clear_flag(trt.BuilderFlag.TF32)
    if serves_a_capability(trt):
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY
    if hasattr(trt.BuilderFlag, USER_ALLOCATION):
        # Memory that the library took while a batch runs could not be recorded in a graph.
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)


def _members(trt: ModuleType) -> dict[str, Any]:
    if not is_rtx(trt):
        return {}
    named = trt.ComputeCapability.__members__.items()
    return {_dotted(name): member for name, member in named if name.startswith("SM")}


def _dotted(name: str) -> str:
    """SM120 is capability 12.0."""
    digits = name.removeprefix("SM")
    return f"{digits[:-1]}.{digits[-1]}"


def make_logger(trt: ModuleType) -> Any:
    """A logger that keeps the library's errors for our own messages and logs its warnings.

    The object has `last_error() -> str`, which forgets what it tells.
    """

    class Messages(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            line = " ".join(message.split())
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self._errors = [*self._errors[-9:], line]
            level = logging.WARNING if severity == trt.ILogger.WARNING else logging.DEBUG
            log.log(level, "%s: %s", trt.__name__, line)

        def last_error(self) -> str:
            errors, self._errors = self._errors, []
            return errors[-1] if errors else "no reason was given"

    return Messages()

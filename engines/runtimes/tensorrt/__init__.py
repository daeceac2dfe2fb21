"""TensorRT: models compiled for NVIDIA GPUs, kept in a cache, executed through pycuda."""

from dscsnet.engines.runtimes.tensorrt.build import (
    BuildSettings,
    Compiled,
    compile_network,
    network_bytes,
)
from dscsnet.engines.runtimes.tensorrt.cache import EngineCache, EngineKey, default_folder
from dscsnet.engines.runtimes.tensorrt.library import capabilities, library_name, load_library
from dscsnet.engines.runtimes.tensorrt.opening import (
    Target,
    compiled_engine,
    find_device,
    load_pycuda,
    open_tensorrt,
)
from dscsnet.engines.runtimes.tensorrt.runtime import TensorRtRuntime

__all__ = [
    "BuildSettings",
    "Compiled",
    "EngineCache",
    "EngineKey",
    "Target",
    "TensorRtRuntime",
    "capabilities",
    "compile_network",
    "compiled_engine",
    "default_folder",
    "find_device",
    "library_name",
    "load_library",
    "load_pycuda",
    "network_bytes",
    "open_tensorrt",
]

"""What a benchmark ran on, for its report."""

import os
import platform
from importlib.metadata import version
from pathlib import Path


def cpu_name() -> str:
    """Model of the processor as the system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe() -> str:
    """Two lines: machine, and versions of what matters for speed."""
    cores = len(os.sched_getaffinity(0))
    busy = os.getloadavg()[0]
    libraries = ("numpy", "onnxruntime", "numba", "pyzmq", "msgspec")
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    return (
        f"{cpu_name()}, {cores} cores, load {busy:.1f}, Linux {platform.release()}\n"
        f"Python {platform.python_version()}, {versions}"
    )

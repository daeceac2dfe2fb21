"""Runtimes execute batches of named arrays; they know no targets."""

from engines.runtimes.base import DeviceError, Runtime, RuntimeOptions, Unavailable
from engines.runtimes.choice import candidates, open_runtime

__all__ = ["DeviceError", "Runtime", "RuntimeOptions", "Unavailable", "candidates", "open_runtime"]

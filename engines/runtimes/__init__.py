"""Runtimes execute batches of named arrays; they know no targets."""

from dscsnet.engines.runtimes.base import DeviceError, Runtime, RuntimeOptions, Unavailable
from dscsnet.engines.runtimes.choice import open_runtime, openers

__all__ = ["DeviceError", "Runtime", "RuntimeOptions", "Unavailable", "open_runtime", "openers"]

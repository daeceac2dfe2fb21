"""Runtimes execute batches of named arrays; they know no targets."""

from engines.runtimes.base import Runtime, open_runtime

__all__ = ["Runtime", "open_runtime"]

"""What every runtime offers, and how one is chosen."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.errors import ModelError

Arrays = Mapping[str, NDArray[np.float32]]


class Runtime(Protocol):
    """Executes one ONNX model; used by one thread at a time."""

    @property
    def name(self) -> str:
        """Runtime, version and device, as published in messages."""

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """One batch; the first axis of every array is the batch.

        Raises:
            InferenceError: the batch could not be executed.
        """

    def close(self) -> None:
        """Free what the runtime holds."""


def _open_onnxruntime(network: Path, threads: int) -> Runtime:
    from engines.runtimes.onnx import OnnxRuntime

    return OnnxRuntime(network, threads=threads)


_OPENERS: dict[str, Callable[[Path, int], Runtime]] = {"onnxruntime": _open_onnxruntime}
RUNTIMES = ("auto", *_OPENERS)


def open_runtime(kind: str, network: Path, *, threads: int = 0) -> Runtime:
    """Open `network` in a runtime; `auto` takes the fastest that works here.

    Args:
        threads: CPU threads of one batch; 0: one for each core.

    Raises:
        ModelError: unknown runtime, or the file is no network it can execute.
    """
    kind = "onnxruntime" if kind == "auto" else kind
    if kind not in _OPENERS:
        raise ModelError(f'no runtime "{kind}"; there are {", ".join(RUNTIMES)}')
    return _OPENERS[kind](network, threads)

"""What every runtime offers, and what it can be told."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.errors import InferenceError, ModelError
from dscsnet.engines.runtime_names import Precision

Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class RuntimeOptions:
    """What runtimes can be told; each heeds what concerns it.

    Attributes:
        threads: CPU threads of one batch; 0: one for each core.
        device: number of the GPU.
        precision: fp16: the layers in half precision, where that does no harm; on processors
            with bfloat16 OpenVINO takes that for it, and ONNX Runtime is always fp32.
        cache: folder of compiled engines; None: the user's cache folder.
    """

    threads: int = 0
    device: int = 0
    precision: Precision = "fp16"
    cache: Path | None = None


class Unavailable(ModelError):
    """A runtime cannot work on this machine.

    Attributes:
        cause: `no_driver`, `no_bf16`, `no_library`, `slower`, `refused`: what to count it as.
    """

    def __init__(self, message: str, cause: str) -> None:
        super().__init__(message)
        self.cause = cause


class DeviceError(InferenceError):
    """The GPU failed in a way that no later batch can work."""


class Runtime(Protocol):
    """Executes one model's network.

    Attributes:
        tolerance: relative L2 error against the float64 reference that is normal for it.
    """

    @property
    def name(self) -> str:
        """Runtime, version and device, as published in messages."""

    @property
    def tolerance(self) -> float: ...

    @property
    def on_gpu(self) -> bool:
        """Whether it computes on a GPU, of which there is one for all batches."""

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """One batch; the first axis of every array is the batch.

        Raises:
            InferenceError: the batch could not be executed.
            DeviceError: nor will any other be.
        """

    def close(self) -> None:
        """Free what the runtime holds."""


def batch_size(runtime: str, inputs: Arrays, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The number of crops, once every array is as the network takes it.

    Args:
        runtime: its name, for the message.
        shapes: of one crop's share of each input.

    Raises:
        InferenceError: an array is missing, too many, of another shape, or of another length.
    """
    numbers = {len(value) for value in inputs.values()}
    given = {name: value.shape[1:] for name, value in inputs.items()}
    if given != shapes or len(numbers) != 1:
        got = ", ".join(f"{name} {value.shape}" for name, value in inputs.items())
        want = ", ".join(f"{name} (n, {str(shape)[1:]}" for name, shape in shapes.items())
        raise InferenceError(f"{runtime}: inputs must be {want}; got {got}")
    return numbers.pop()

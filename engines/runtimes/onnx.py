"""ONNX Runtime on the CPU: the default anywhere."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from dscsnet.engines.errors import InferenceError, ModelError, first_line
from dscsnet.engines.runtimes.base import Arrays


class OnnxRuntime:
    """Executes an ONNX file on CPU threads.

    Args:
        network: the ONNX file.
        threads: threads of one batch; 0: one for each core.
    """

    def __init__(self, network: Path, *, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads would take the cores that receive and publish between batches.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Its errors arrive as exceptions; it need not print them as well.
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                network, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the library's exceptions share no base class of their own
            raise ModelError(
                f"{network}: ONNX Runtime cannot load it: {first_line(error)}"
            ) from None
        self._outputs = [output.name for output in self._session.get_outputs()]

    @property
    def name(self) -> str:
        return f"onnxruntime {onnxruntime.__version__} CPU"

    @property
    def tolerance(self) -> float:
        return 1e-4

    @property
    def on_gpu(self) -> bool:
        return False

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        try:
            results = self._session.run(self._outputs, dict(inputs))
        except Exception as error:
            raise InferenceError(f"ONNX Runtime: {first_line(error)}") from None
        return dict(zip(self._outputs, results, strict=True))

    def close(self) -> None:
        del self._session

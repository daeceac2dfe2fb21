"""ONNX Runtime's session: what it is told, and how its errors are told."""

from typing import Any

import numpy as np
import pytest

from dscsnet.engines.errors import InferenceError
from dscsnet.engines.model import load_model
from dscsnet.engines.runtimes import onnx as module


@pytest.mark.parametrize("threads", [0, 3])
def test_a_batch_has_the_threads_that_were_told(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    told: list[Any] = []
    session = module.onnxruntime.InferenceSession

    def open_session(*given: Any, **named: Any) -> Any:
        told.extend([*given, *named.values()])
        return session(*given, **named)

    monkeypatch.setattr(module.onnxruntime, "InferenceSession", open_session)
    model = load_model("csist100k-mlp")
    runtime = module.OnnxRuntime(model.network_path, threads=threads)
    (options,) = (each for each in told if isinstance(each, module.onnxruntime.SessionOptions))
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (threads, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.log_severity_level == 4
    assert runtime.name.startswith("onnxruntime ")
    found = runtime.run(model.golden().inputs)
    for name, wanted in model.golden().outputs.items():
        np.testing.assert_allclose(found[name], wanted, rtol=1e-3, atol=1e-3)
    with pytest.raises(InferenceError):
        runtime.run({"crops": np.zeros((1, 11, 12), np.float32)})
    runtime.close()
    assert not vars(runtime).get("_session")

"""The node and its runtimes: what auto passed over is counted; a lost GPU is not hidden."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest

from dscsnet.engines.errors import ModelError
from dscsnet.engines.model import Model
from dscsnet.engines.runtimes import DeviceError, Runtime, RuntimeOptions, Unavailable, open_runtime
from dscsnet.pipeline.config import EngineSettings
from dscsnet.pipeline.messages import Targets
from tests.engines.runtimes.tensorrt.rig import MODEL, Rig

Start = Callable[..., AbstractContextManager[Any]]
FASTEST_FIRST = "dscsnet.engines.runtimes.choice.FASTEST_FIRST"


def no_library(model: Model, options: RuntimeOptions) -> Runtime:
    raise Unavailable("neither is installed", "no_library")


def refused(model: Model, options: RuntimeOptions) -> Runtime:
    raise ModelError("refused operator")


def works(model: Model, options: RuntimeOptions) -> Runtime:
    return open_runtime("onnxruntime", model, options)


def test_what_auto_passed_over_is_counted(harness: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    order = (("tensorrt", no_library), ("torch", refused), ("onnxruntime", works))
    monkeypatch.setattr(FASTEST_FIRST, order)
    with harness(engine=EngineSettings(model="csist100k-mlp")) as node:
        _, page = node.get("metrics")
        heartbeat = node.heartbeat().body
    assert heartbeat["engine"]["runtime"].startswith("onnxruntime ")
    assert heartbeat["fallbacks"] == [
        {"runtime": "tensorrt", "cause": "no_library", "times": 1},
        {"runtime": "torch", "cause": "refused", "times": 1},
    ]
    line = 'dscsnet_runtime_fallbacks_total{cause="no_library",runtime="tensorrt"} 1.0'
    assert line in page


class Dying:
    """A GPU's runtime that is lost once it is told to."""

    name, tolerance, on_gpu = "dying", 1e-4, True
    lost = False
    calls = 0

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if Dying.lost:
            Dying.calls += 1
            raise DeviceError("the GPU failed: an illegal memory access")
        return self.runtime.run(inputs)

    def close(self) -> None:
        self.runtime.close()


def test_a_lost_gpu_makes_the_node_unready(harness: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dying, "lost", False)
    monkeypatch.setattr(Dying, "calls", 0)
    order = (("gpu", lambda *given: Dying(works(*given))), ("onnxruntime", works))
    monkeypatch.setattr(FASTEST_FIRST, order)
    with harness(engine=EngineSettings(model="csist100k-mlp")) as node:
        assert node.get("readyz")[0] == 200
        monkeypatch.setattr(Dying, "lost", True)
        for frame_id in range(2):
            node.send_frame(frame_id, np.full((40, 40), 100, np.uint16))
            node.send_detections(frame_id, [20.0], [20.0])
        answers = [node.receive() for _ in range(2)]
        ready, alive = node.get("readyz"), node.get("healthz")
    for answer in answers:
        assert isinstance(answer, Targets)
        assert (answer.status, answer.reason) == (
            "error",
            "the GPU failed: an illegal memory access",
        )
    # A supervisor sees both: traffic goes elsewhere, and the process is started again.
    assert ready[0] == alive[0] == 503
    assert "the GPU failed" in ready[1]
    assert Dying.calls <= 2  # nothing is tried again piece by piece


def test_a_gpu_lost_between_frames_is_noticed_at_the_first(
    harness: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way: from the driver's answer to the start of a graph, to the node's health."""
    rig = Rig()
    monkeypatch.setattr(FASTEST_FIRST, (("tensorrt", lambda *_: rig.open()),))
    with harness(engine=EngineSettings(model=MODEL)) as node:
        assert node.get("healthz")[0] == 200
        rig.cuda.broken = "gone"
        node.send_frame(0, np.full((40, 40), 100, np.uint16))
        node.send_detections(0, [20.0], [20.0])
        answer = node.receive()
        alive, why = node.get("healthz")
        rig.cuda.broken = ""  # so that all can be freed
    reason = "the GPU failed: cuGraphLaunch: CUDA_ERROR_ILLEGAL_ADDRESS"
    assert (answer.status, answer.reason) == ("error", reason)
    assert (alive, reason in why) == (503, True)


def test_gpu_settings_reach_the_runtime(harness: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[RuntimeOptions] = []

    def note(model: Model, options: RuntimeOptions) -> Runtime:
        seen.append(options)
        return works(model, options)

    monkeypatch.setattr(FASTEST_FIRST, (("onnxruntime", note),))
    settings = EngineSettings(
        model="csist100k-mlp", threads=1, precision="fp32", device=2, cache="/engines"
    )
    with harness(engine=settings):
        pass
    (options,) = seen
    assert (options.threads, options.precision, options.device) == (1, "fp32", 2)
    assert str(options.cache) == "/engines"

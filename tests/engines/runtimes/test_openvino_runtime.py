"""OpenVINO: what it is told, its batch sizes, and bfloat16 as the library rounds on any AVX-512."""

import itertools
import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

openvino = pytest.importorskip("openvino", reason="an extra")

import dscsnet.engines.runtimes.openvino_runtime as module  # noqa: E402
from dscsnet.engines.errors import GoldenCheckFailed, InferenceError, ModelError  # noqa: E402
from dscsnet.engines.model import Model, load_model, shipped_models  # noqa: E402
from dscsnet.engines.model_engine import Fallback, ModelEngine, open_model_engine  # noqa: E402
from dscsnet.engines.runtimes import RuntimeOptions, choice, open_runtime  # noqa: E402
from dscsnet.engines.runtimes.openvino_runtime import SIZES, OpenVinoRuntime  # noqa: E402
from tests.engines.runtimes.runtime_contract import RuntimeContract  # noqa: E402

MODEL = "csist100k-mlp"
OFF_GRID = [name for name in shipped_models() if "compact" not in name]


def opened(model: Model, numbers: str) -> OpenVinoRuntime:
    return OpenVinoRuntime(
        model.network_path, model.golden().inputs, model.card.outputs, threads=1, numbers=numbers
    )


class TestOpenVino(RuntimeContract):
    """In single precision."""

    kind = "openvino"
    options = RuntimeOptions(threads=1, precision="fp32")
    error = 5e-5  # of scene-compact, whose iterations magnify rounding
    alone = 1e-4  # kernels differ by batch size


def simulated(model: Model) -> OpenVinoRuntime:
    """In bfloat16; where the processor has none the library rounds on its behalf, if it can."""
    compiled = openvino.Core().compile_model(
        str(model.network_path), "CPU", {"INFERENCE_PRECISION_HINT": "bf16"}
    )
    if compiled.get_property("INFERENCE_PRECISION_HINT").to_string() != "bf16":
        pytest.skip("the library has no bfloat16 on this processor")
    return opened(model, "bf16")


@pytest.mark.parametrize("name", OFF_GRID)
def test_bfloat16_is_within_its_own_tolerance(name: str) -> None:
    engine = ModelEngine(load_model(name), simulated(load_model(name)))
    assert 1e-3 < engine.golden_error() < 0.7 * engine.runtime.tolerance
    assert engine.runtime_name.endswith(" bf16 CPU")
    engine.check(batch_sizes=(1, 3))


def test_bfloat16_is_refused_where_a_network_magnifies_it() -> None:
    engine = ModelEngine(load_model("scene-compact"), simulated(load_model("scene-compact")))
    with pytest.raises(GoldenCheckFailed):
        engine.check_golden()


@pytest.mark.parametrize(
    ("precision", "capable", "numbers"),
    [("fp16", True, "bf16"), ("fp16", False, "f32"), ("fp32", True, "f32")],
)
def test_half_precision_is_bfloat16_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, precision: Any, capable: bool, numbers: str
) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr(module, "computes_in_bf16", lambda: capable)
    monkeypatch.setattr(module, "OpenVinoRuntime", lambda *_, **given: told.update(given))
    open_runtime("openvino", load_model(MODEL), RuntimeOptions(threads=3, precision=precision))
    assert told == {"threads": 3, "numbers": numbers}


def test_auto_takes_it_for_bfloat16_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_model(MODEL)
    monkeypatch.setattr(module, "computes_in_bf16", lambda: True)
    order = ((k, o) for k, o in choice.FASTEST_FIRST if k in ("openvino", "onnxruntime"))
    monkeypatch.setattr(choice, "FASTEST_FIRST", tuple(order))
    simulated(model).close()
    assert open_model_engine(MODEL).runtime_name.endswith(" bf16 CPU")
    caplog.set_level(logging.INFO)
    in_single = open_model_engine(MODEL, options=RuntimeOptions(precision="fp32"))
    monkeypatch.setattr(module, "computes_in_bf16", lambda: False)
    without = open_model_engine(MODEL)
    for engine, reason in (
        (in_single, "precision is fp32"),
        (without, "the processor has no bf16"),
    ):
        assert engine.runtime_name.startswith("onnxruntime ")
        assert engine.fallbacks == (Fallback("openvino", "no_bf16", reason),)
    assert {record.levelname for record in caplog.records} == {"INFO"}
    monkeypatch.setattr(module, "computes_in_bf16", lambda: True)
    (refused,) = open_model_engine("scene-compact").fallbacks
    assert (refused.runtime, refused.cause) == ("openvino", "golden_check")


def test_what_the_processor_has_is_what_the_library_says(monkeypatch: pytest.MonkeyPatch) -> None:
    class Core:
        def get_property(self, device: str, name: str) -> list[str]:
            assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
            return capabilities

    monkeypatch.setattr(module.openvino, "Core", Core)
    capabilities = ["FP32", "BF16", "INT8"]
    assert module.computes_in_bf16()
    capabilities = ["WINOGRAD", "FP32", "INT8"]
    assert not module.computes_in_bf16()


def test_the_library_is_told_what_it_may_use() -> None:
    assert module._settings(3, "bf16") == {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16",
        "INFERENCE_NUM_THREADS": 3,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }


def test_only_a_few_sizes_are_executed() -> None:
    model = load_model(MODEL)
    runtime = opened(model, "f32")
    seen: list[int] = []
    execute = runtime._execute

    def watched(inputs: Any) -> Any:
        seen.append(len(inputs["crops"]))
        return execute(inputs)

    runtime._execute = watched  # type: ignore[method-assign]
    golden = model.golden()
    for number in (0, 1, 5, 63, 64, 150):
        rows = np.arange(number) % len(golden.inputs["crops"])
        found = runtime.run({name: value[rows] for name, value in golden.inputs.items()})
        for name, wanted in golden.outputs.items():
            np.testing.assert_allclose(found[name], wanted[rows], rtol=1e-3, atol=1e-3)
    assert seen == [1, 1, 6, 64, 64, 64, 64, 24]
    assert all(b <= 1.5 * a or a < 2 for a, b in itertools.pairwise(SIZES))


def test_an_answer_is_not_overwritten_by_the_next() -> None:
    model = load_model(MODEL)
    runtime, inputs = opened(model, "f32"), model.golden().inputs
    first = runtime.run({name: value[:4] for name, value in inputs.items()})
    kept = {name: value.copy() for name, value in first.items()}
    runtime.run({name: value[4:8] for name, value in inputs.items()})
    for name, value in first.items():
        np.testing.assert_array_equal(value, kept[name])


def test_one_thread_at_a_time_executes() -> None:
    model = load_model(MODEL)
    runtime, inputs = opened(model, "f32"), model.golden().inputs
    execute, busy = runtime._execute, threading.Lock()

    def alone(given: Any) -> Any:
        assert busy.acquire(blocking=False)
        try:
            return execute(given)
        finally:
            busy.release()

    runtime._execute = alone  # type: ignore[method-assign]
    wrong: list[Exception] = []

    def many() -> None:
        try:
            for _ in range(20):
                runtime.run(inputs)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_what_is_no_network_is_a_model_error(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"nonsense")
    golden = load_model(MODEL).golden().inputs
    with pytest.raises(ModelError, match=r"model\.onnx: OpenVINO cannot load it: ") as error:
        OpenVinoRuntime(file, golden, ("count",))
    assert "\n" not in str(error.value)


def test_a_failed_batch_is_an_inference_error() -> None:
    model = load_model(MODEL)
    runtime = opened(model, "f32")

    def fail(inputs: Any) -> Any:
        raise RuntimeError("first line\nsecond")

    runtime._execute = fail  # type: ignore[method-assign]
    with pytest.raises(InferenceError, match=r"^openvino: first line$"):
        runtime.run(model.golden().inputs)


def test_closed_is_closed() -> None:
    model = load_model(MODEL)
    runtime = opened(model, "f32")
    runtime.close()
    with pytest.raises(InferenceError, match="closed"):
        runtime.run(model.golden().inputs)


def test_no_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    model = load_model(MODEL)
    opened(model, "f32").run(model.golden().inputs)
    assert list(tmp_path.iterdir()) == []

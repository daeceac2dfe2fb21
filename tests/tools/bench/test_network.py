"""Operators and times of networks: what is counted, and that models take turns."""

from typing import Any

import numpy as np
import pytest

from dscsnet.engines.model import load_model
from dscsnet.engines.runtimes import Runtime, RuntimeOptions, choice
from dscsnet.tools.bench import network as module

MODEL = "csist100k-mlp"


def test_shares_are_of_the_whole_and_fall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_RUNS", 2)
    monkeypatch.setattr(module, "CROPS", 8)
    shares = module.operator_shares(load_model(MODEL), 4)
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert {"Gemm", "LayerNormalization"} <= set(shares)


def test_a_batch_repeats_the_golden_crops() -> None:
    model = load_model(MODEL)
    golden, batch = model.golden().inputs, module.golden_batch(model, 20)
    for name, values in golden.items():
        np.testing.assert_array_equal(batch[name], np.concatenate([values, values[:4]]))


def test_runtimes_take_turns_and_the_first_batches_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LEAST_RUNS", 4)
    monkeypatch.setattr(module, "CROPS", 8)
    clock, order = [0.0], []

    class Runtime:
        name, tolerance = "some", 1e-4

        def __init__(self, name: str, seconds: list[float]) -> None:
            self.known, self.seconds = name, seconds

        def run(self, inputs: Any) -> dict[str, Any]:
            order.append((self.known, len(inputs["crops"])))
            clock[0] += self.seconds.pop(0)
            return {}

        def close(self) -> None:
            raise AssertionError("nobody asked")

    monkeypatch.setattr(module.time, "process_time", lambda: clock[0])
    runtimes = {
        "a": Runtime("a", [9, 9, 9, 1, 2, 4, 3]),
        "b": Runtime("b", [0, 0, 0, 8, 8, 6, 8]),
    }
    inputs = {name: {"crops": np.zeros((5, 1), np.float32)} for name in runtimes}
    times = module.times_in_turn(runtimes, inputs)
    assert order == [("a", 5), ("b", 5)] * 7
    assert times == {"a": module.Times(2.5, 1), "b": module.Times(8, 6)}


def test_all_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "LEAST_RUNS", 1)
    monkeypatch.setattr(module, "CROPS", 1)
    monkeypatch.setattr(module, "BATCHES", (1, 2))
    monkeypatch.setattr(module, "operator_shares", lambda *_: {"Gemm": 0.992, "Add": 0.008})
    opened = []

    def open_runtime(kind: str, model: Any, options: RuntimeOptions) -> Runtime:
        opened.append((kind, options.threads))
        return choice.open_runtime("onnxruntime", model, options)

    monkeypatch.setattr(module, "open_runtime", open_runtime)
    monkeypatch.setattr("sys.argv", ["network", MODEL, f"{MODEL}@other"])
    module.main()
    _, _, shares, one, _, _, two = capsys.readouterr().out.splitlines()
    assert opened == [("onnxruntime", 1), ("other", 1)]
    assert shares == f"{MODEL}, batch 64, %: Gemm 99.2, others 0.8"
    assert one.startswith(f"{MODEL} (onnxruntime ")
    assert one.endswith(" 1.00 times the first (best 1.00)")
    assert two.startswith(f"{MODEL}@other (onnxruntime ")
    assert " CPU), batch 2: " in two

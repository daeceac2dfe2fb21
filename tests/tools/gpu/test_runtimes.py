"""The report of a GPU machine, made here with the CPU in its place."""

import importlib.util
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dscsnet.engines.errors import ModelError  # noqa: E402
from dscsnet.tools.gpu import runtimes as gpu  # noqa: E402
from dscsnet.tools.gpu.runtimes import (  # noqa: E402
    Measured,
    as_markdown,
    peak_operations,
    report,
)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "SECONDS", 0.01)
    # Compiling takes minutes here; that it is asked for is enough.
    monkeypatch.setattr(torch, "compile", lambda network: network)
    monkeypatch.setattr(gpu, "LATENCY_RUNS", 3)
    monkeypatch.setattr(gpu, "PEAK_SIZE", 64)


@pytest.mark.skipif(torch.cuda.is_available(), reason="would measure the GPU")
def test_the_whole_report_on_a_cpu() -> None:
    lines = list(
        report(
            (1, 2),
            ("csist100k-mlp",),
            (("onnxruntime", "fp32"), ("tensorrt", "fp32"), ("torch", "fp32")),
            "cpu",
        )
    )
    dista, paper, onnx, tensorrt, on_torch, eager, dista_compiled, paper_compiled = lines
    for line in (onnx, on_torch):
        assert line.error is not None
        assert line.error < 1e-5
        assert line.share_of_peak is not None
        assert line.share_of_peak > 0
    assert "no NVIDIA driver" in tensorrt.refused or tensorrt.error is not None
    assert [line.what for line in (eager, dista, paper)] == [
        "torch eager, csist100k-mlp",
        "torch eager, DISTA-Net",
        "torch eager, DSCSNet at the paper's size",
    ]
    for line in (dista_compiled, paper_compiled):
        assert list(line.crops_per_s or {}) == [2]
        assert line.share_of_peak is not None
    for line in (onnx, on_torch, eager, dista, paper):
        assert sorted(line.crops_per_s or {}) == [1, 2]
    columns, _, *rows = as_markdown(lines).splitlines()
    assert columns.count("|") == rows[0].count("|") == rows[-1].count("|")
    assert len(rows) == len(lines)


def test_peak_counts_operations() -> None:
    assert peak_operations("cpu", "fp32", 32) > 1e6


def test_work_of_a_crop_by_hand() -> None:
    """csist100k-mlp: a product with the principal axes, the layer in, blocks, the layer out."""
    model = gpu.load_model("csist100k-mlp")
    network = gpu.load_network(model.folder)
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
    axes = network.features.axes.numel()
    expected = sum(layer.weight.numel() for layer in layers) + axes
    assert gpu.work_of_a_crop(model) == expected


def test_what_is_measured_on_a_visit() -> None:
    assert gpu.BATCHES == (1, 8, 64, 256, 1024)
    assert gpu.LATENCY_BATCH == 64
    assert (
        tuple((kind, precision) for kind in ("tensorrt", "torch") for precision in ("fp16", "fp32"))
        == gpu.RUNTIMES
    )


def test_sizes_are_those_that_a_gpu_needs() -> None:
    unchanged = importlib.util.spec_from_file_location("unchanged", gpu.__file__)
    assert unchanged is not None
    assert unchanged.loader is not None
    module = importlib.util.module_from_spec(unchanged)
    sys.modules["unchanged"] = module  # dataclasses look there
    unchanged.loader.exec_module(module)
    del sys.modules["unchanged"]
    assert (module.LATENCY_RUNS, module.PEAK_SIZE, module.SECONDS) == (200, 8192, 0.1)


class FakeRuntime:
    """Takes a millisecond for a crop; notes the sizes of its batches."""

    name = "fake fp16"

    def __init__(self, clock: SimpleNamespace) -> None:
        self.clock, self.sizes = clock, []

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        size = len(inputs["crops"])
        assert {len(value) for value in inputs.values()} == {size}
        self.sizes.append(size)
        self.clock.now += 0.001 * size
        return {}


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Of the latency; speeds are those of one call."""
    clock = SimpleNamespace(now=5.0, closed=[], rated=[])
    clock.perf_counter = lambda: clock.now

    def rate(run: Callable[[], object], size: int, seconds: float) -> float:
        assert seconds == 0.01
        before = clock.now
        run()
        clock.rated.append(size)
        return size / (clock.now - before) if clock.now > before else 1000.0

    class Engine:
        def __init__(self, model: Any, runtime: Any) -> None:
            assert runtime.name == "fake fp16"

        def check(self, batch_sizes: tuple[int, ...]) -> None:
            clock.closed.append(batch_sizes)

        def golden_error(self) -> float:
            return 0.125

        def close(self) -> None:
            clock.closed.append("closed")

    monkeypatch.setattr(gpu, "time", clock)
    monkeypatch.setattr(gpu, "rate", rate)
    monkeypatch.setattr(gpu, "ModelEngine", Engine)
    return clock


def test_a_runtime_with_a_model(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = FakeRuntime(clock)
    opened: list[Any] = []

    def open_runtime(kind: str, model: Any, options: Any) -> FakeRuntime:
        opened.append((kind, model.card.name, options.precision))
        return runtime

    monkeypatch.setattr(gpu, "open_runtime", open_runtime)
    monkeypatch.setattr(gpu, "work_of_a_crop", lambda model: 50)
    line = gpu.measure("csist100k-mlp", "tensorrt", "fp16", 4e5, (2, 4))
    assert opened == [("tensorrt", "csist100k-mlp", "fp16")]
    assert runtime.sizes == [2, 4, 64, 64, 64]
    assert (line.model, line.what, line.error) == ("csist100k-mlp", "fake fp16", 0.125)
    assert line.crops_per_s == pytest.approx({2: 1000, 4: 1000})
    assert line.latency_ms == pytest.approx((64, 64))
    # A multiplication and an addition for each of 50: 100 operations a crop.
    assert line.share_of_peak == pytest.approx(100 * 1000 / 4e5)
    assert clock.closed == [(1,), "closed"]

    def refuse(*_: Any) -> None:
        raise ModelError("no such GPU")

    monkeypatch.setattr(gpu, "open_runtime", refuse)
    line = gpu.measure("csist100k-mlp", "tensorrt", "fp16", 4e5, (2, 4))
    assert (line.what, line.refused, line.crops_per_s) == ("tensorrt fp16", "no such GPU", None)


def test_latencies_are_their_median_and_99th_percentile(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "LATENCY_RUNS", 101)
    taken = iter(range(101))

    def run() -> None:
        clock.now += next(taken) / 1000

    assert gpu._latency(run) == pytest.approx((50, 99))


def test_a_network_as_it_is_runs_without_gradients_and_its_results_are_fetched(
    clock: SimpleNamespace,
) -> None:
    seen: list[Any] = []

    class Network(torch.nn.Module):
        def forward(self, one: Any, other: Any) -> Any:
            seen.append((self.training, torch.is_inference_mode_enabled(), len(one), len(other)))
            return (one, other) if len(one) == 3 else one

    def inputs(size: int) -> list[Any]:
        return [torch.zeros(size), torch.zeros(size)]

    line = gpu.measure_eager("as it is", Network(), inputs, (3, 5), "cpu")
    assert (line.model, line.what, list(line.crops_per_s or {})) == ("", "as it is", [3, 5])
    assert seen == [(False, True, 3, 3), (False, True, 5, 5)]
    assert clock.rated == [3, 5]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_peak_is_of_a_product_that_was_waited_for(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    made: list[Any] = []
    waited: list[str] = []

    def randn(*size: int, device: str, dtype: Any) -> Any:
        made.append((size, device, dtype))
        return torch.zeros(size)

    monkeypatch.setattr(torch, "randn", randn)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append("waited"))
    assert gpu.peak_operations(device, "fp16", 10) == 2 * 10**3 * 1000
    assert gpu.peak_operations(device, "fp32", 10) == 2 * 10**3 * 1000
    assert made == [
        ((10, 10), device, kind) for kind in (torch.float16,) * 2 + (torch.float32,) * 2
    ]
    assert clock.rated == [1, 1]
    assert len(waited) == (2 if device == "cuda" else 0)


def test_kernels_are_of_half_precision_without_gradients(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(2, 2, 3)

        def forward(self, crops: Any) -> Any:
            weight = self.layer.weight
            seen.append(
                (
                    *(self.training, torch.is_inference_mode_enabled(), len(crops)),
                    torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu"),
                    weight.is_contiguous(memory_format=torch.channels_last),
                )
            )
            return crops

    monkeypatch.setattr(gpu, "multiply_accumulates", lambda network, crops: 30 * len(crops))
    line = gpu.measure_kernels("kernels", Network(), torch.zeros(7, 2, 5, 5), 2e5, "cpu")
    assert seen == [(False, True, 7, torch.bfloat16, True)]
    assert (line.model, line.what, line.crops_per_s) == ("", "kernels", {7: 1000.0})
    assert line.share_of_peak == pytest.approx(2 * 30 * 1000 / 2e5)


def test_a_table_says_what_is_not_known() -> None:
    known = Measured("m", "w", 1.26e-3, {1: 12.4, 64: 12345.6}, (1.0006, 2.5), 0.1234)
    refused = Measured("m", "v", refused="no GPU")
    assert as_markdown([refused, known]).splitlines() == [
        "| model | runtime | error | crops/s at 1 | crops/s at 64 | ms for 64: median | 99 % "
        "| share of peak |",
        "| " + " | ".join(["---"] * 8) + " |",
        "| m | v: no GPU |  |  |  |  |  |  |",
        "| m | w | 1.3e-03 | 12 | 12,346 | 1.001 | 2.500 | 12.3 % |",
    ]
    part = as_markdown([known, Measured("m", "u", crops_per_s={64: 9.0})]).splitlines()[-1]
    assert part == "| m | u |  |  | 9 |  |  |  |"

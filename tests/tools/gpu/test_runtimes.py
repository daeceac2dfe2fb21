"""The report of a GPU machine, made here with the CPU in its place."""

import pytest

torch = pytest.importorskip("torch")

from dscsnet.tools.gpu import runtimes as gpu  # noqa: E402
from dscsnet.tools.gpu.runtimes import as_markdown, peak_operations, report  # noqa: E402


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

"""Our models beside DISTA-Net and the other methods of docs/comparison.md: crops a second."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from dscsnet.engines.engine import CropBatch
from dscsnet.engines.model_engine import ModelEngine, open_model_engine
from dscsnet.engines.runtimes import RuntimeOptions
from dscsnet.tools.bench.engine import bench_batch
from dscsnet.tools.bench.in_turn import speeds_in_turn
from dscsnet.tools.peers.comparison import Comparison, absent, rows

BATCH = 64
MODELS = ("csist100k-mlp", "field-mlp", "field-unfolded")
NETWORK, WHOLE = "network", "whole chain"
#: The like of the peers by its training; then our slowest, alone and with all that follows it.
REFERENCES = (
    f"csist100k-mlp: {NETWORK}",
    f"field-unfolded: {NETWORK}",
    f"field-unfolded: {WHOLE}",
)
NEEDED, GET = ("torch", "onnx", "onnxscript", "safetensors"), "pip install 'dscsnet[train]'"
NOTE = (
    "batches of 64 crops of 11 x 11 px, one thread; ours on ONNX Runtime, the whole chain with "
    "fits and readout; the others are our implementations, networks with random weights, which "
    "change no operation; they answer with cells of a grid, the PSF fit excepted"
)


def compare_unmixing() -> Comparison:
    """Networks and whole chains of ours, and the published methods where PyTorch is installed."""
    missing = absent("DISTA-Net and others", NEEDED, GET)
    engines = {name: _engine(name) for name in MODELS}
    runs: dict[str, Callable[[], object]] = {}
    for name, engine in engines.items():
        batch = bench_batch(engine.grid.crop_size, BATCH)
        runs[f"{name}: {NETWORK}"] = partial(engine.run, batch)
        runs[f"{name}: {WHOLE}"] = partial(_whole, engine, batch)
    with TemporaryDirectory() as folder:
        if not missing:
            from dscsnet.tools.peers.published_methods import published_methods

            runs |= published_methods(BATCH, Path(folder))
        for run in runs.values():
            run()
        speeds = speeds_in_turn(runs, BATCH)
    for engine in engines.values():
        engine.close()
    return Comparison(
        title="Unmixing",
        unit="crops",
        rows=rows(speeds),
        references=REFERENCES,
        missing=missing,
        note=NOTE,
    )


def _engine(name: str) -> ModelEngine:
    return open_model_engine(name, "onnxruntime", options=RuntimeOptions(threads=1))


def _whole(engine: ModelEngine, batch: CropBatch) -> object:
    return engine.read(engine.run(batch), batch)

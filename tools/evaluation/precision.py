"""What half precision costs: every model executed twice, without a GPU, on the same crops.

The fp16 network is the very file that the GPU engine is compiled from. ONNX's own evaluator, which
rounds to half precision wherever the file says so, takes the GPU's place; ONNX Runtime would not
do, since on a CPU it computes half-precision layers in single precision.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from dscsnet.engines.engine import CropBatch
from dscsnet.engines.estimates import Estimates
from dscsnet.engines.files.strict_yaml import decode_yaml
from dscsnet.engines.model import Model, load_model
from dscsnet.engines.model_engine import ModelEngine
from dscsnet.engines.networks.stored import RECIPE
from dscsnet.engines.runtimes import RuntimeOptions, open_runtime
from dscsnet.engines.runtimes.base import Arrays
from dscsnet.engines.runtimes.tensorrt import network_bytes
from dscsnet.tools.export.model_folder import protocol_crops
from dscsnet.tools.measures.average_precision import Points, average_precision
from dscsnet.tools.training.config import stored_train_config

BATCH = 250
SEED = 2024


class HalfEvaluator:
    """A runtime that executes a model's fp16 network in numpy; slow."""

    name, tolerance, on_gpu = "onnx reference fp16", 5e-3, False

    def __init__(self, model: Model) -> None:
        self._network = onnx.load_model_from_string(network_bytes(model, "fp16"))
        self._names = [output.name for output in self._network.graph.output]

    @cached_property
    def _evaluator(self) -> Any:
        return ReferenceEvaluator(self._network)

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        # Its sigmoid takes the exponential of large numbers, too, and then the right branch.
        with np.errstate(over="ignore", invalid="ignore"):
            results = self._evaluator.run(None, dict(inputs))
        return dict(zip(self._names, results, strict=True))

    def close(self) -> None:
        """Nothing to free."""


@dataclass(frozen=True)
class PrecisionCost:
    """One model in both precisions.

    Attributes:
        errors: largest relative L2 error of an output against the float64 reference, on the
            stored golden crops, by precision.
        cso_map: on fresh crops of the model's own protocol, by precision.
        moved: 99th percentile of how far a target moves between the two, px; pairs of targets
            where both find the same number.
    """

    model: str
    crops: int
    errors: dict[str, float]
    cso_map: dict[str, float]
    moved: float


def precision_cost(
    name: str, crops: int, tell: Callable[[int, int], None] = lambda done, total: None
) -> PrecisionCost:
    """Measure a model in both precisions.

    Args:
        tell: takes how many crops of how many are done.

    Raises:
        ModelError: the model has no recipe, or cannot be made fp16.
    """
    model = load_model(name)
    recipe = stored_train_config(decode_yaml((model.folder / RECIPE).read_bytes()))
    batch, true = protocol_crops(recipe, crops, SEED)
    engines = {
        "fp32": ModelEngine(model, open_runtime("onnxruntime", model, RuntimeOptions(threads=1))),
        "fp16": ModelEngine(model, HalfEvaluator(model)),
    }
    found = {kind: _run(engine, batch, tell) for kind, engine in engines.items()}
    return PrecisionCost(
        name,
        crops,
        {kind: engine.golden_error() for kind, engine in engines.items()},
        {kind: _cso_map(estimates, true) for kind, estimates in found.items()},
        _moved(found["fp32"], found["fp16"]),
    )


def _run(engine: ModelEngine, batch: CropBatch, tell: Callable[[int, int], None]) -> Estimates:
    parts = []
    for first in range(0, len(batch), BATCH):
        part = batch.part(first, first + BATCH)
        parts.append(engine.read(engine.run(part), part))
        tell(min(first + BATCH, len(batch)), len(batch))
    return Estimates.join(parts)


def _cso_map(found: Estimates, true: Points) -> float:
    off_grid = not np.isnan(found.sigma_intensity).all()
    rank = found.score if off_grid else found.intensity
    return average_precision(Points(found.crop, found.x, found.y, rank), true).cso_map


def _moved(one: Estimates, other: Estimates) -> float:
    same = one.number == other.number
    here, there = (found.crop for found in (one, other))
    first, second = same[here], same[there]
    # Within a crop both give their targets in the same order, unless one flips: then it is far.
    gap = np.hypot(one.x[first] - other.x[second], one.y[first] - other.y[second])
    return float(np.percentile(gap, 99)) if len(gap) else float("nan")

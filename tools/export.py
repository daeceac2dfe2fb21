"""From a training run to a model folder: ONNX, weights, golden crops, card."""

import logging
import platform
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from engines.card import ModelCard, Training
from engines.model import CARD, GOLDEN, NETWORK, file_sha256
from engines.networks.deployed import Deployed
from tools.checkpoint import TrainedRun
from tools.shipped import RECIPE, WEIGHTS
from tools.simulation import Simulator
from tools.train_config import TrainConfig

log = logging.getLogger(__name__)

GOLDEN_CROPS = 16
GOLDEN_SEED = 4242


def export_model(run: TrainedRun, folder: Path) -> ModelCard:
    """Write the averaged weights of a run as a model folder; its recipe goes with them."""
    folder.mkdir(parents=True, exist_ok=True)
    model = run.model
    save_file({name: v.contiguous() for name, v in model.state_dict().items()}, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # the library leaves it readable for its owner only
    write_onnx(model, folder / NETWORK)
    (folder / RECIPE).write_bytes(msgspec.yaml.encode(run.config))
    _write_golden(model, run.config, folder / GOLDEN)
    card = _card(run, folder)
    write_card(card, folder)
    return card


def write_onnx(model: Deployed, path: Path) -> None:
    """Export with a dynamic batch; one self-contained file."""
    size = model.network.config.crop_size
    example = torch.ones(2, size, size)
    batch = torch.export.Dim("batch", min=1, max=2**16)
    with warnings.catch_warnings():
        # The exporter warns of its own deprecated internals.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            input_names=["crops"],
            output_names=["grid"],
            dynamic_shapes={"crops": {0: batch}},
            verbose=False,
        )
    assert program is not None
    onnx.save(without_origin(program.model_proto), path)


def without_origin(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network without the exporter's notes, which name source files of this machine."""
    parts = [model, model.graph, *model.graph.node, *model.graph.value_info]
    parts += [*model.graph.input, *model.graph.output, *model.graph.initializer]
    for function in model.functions:
        parts += [function, *function.node, *function.value_info]
    for part in parts:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def reference_output(model: Deployed, crops: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the network gives in float64: the answer that every runtime is held to."""
    double = Deployed(model.network, model.normalisation).double()
    with torch.no_grad():
        result: NDArray[np.float64] = double(torch.from_numpy(crops).double()).numpy()
    model.float()
    return result


def write_card(card: ModelCard, folder: Path) -> None:
    """Write `model.yaml`."""
    (folder / CARD).write_bytes(msgspec.yaml.encode(card))


def _write_golden(model: Deployed, config: TrainConfig, path: Path) -> None:
    scenes = Simulator(config.protocol, seed=GOLDEN_SEED, pool=1000).draw(GOLDEN_CROPS)
    crops = scenes.crops.numpy().astype(np.float32)
    grid = reference_output(model, crops).astype(np.float32)
    np.savez_compressed(path, crops=crops, grid=grid)


def _card(run: TrainedRun, folder: Path) -> ModelCard:
    config, network = run.config, run.config.network
    files: dict[str, Any] = {
        name: file_sha256(folder / name) for name in (NETWORK, WEIGHTS, GOLDEN, RECIPE)
    }
    sigma = network.psf_sigma
    low, high = config.protocol.intensity
    return ModelCard(
        name=config.name,
        description=config.description,
        crop_size=network.crop_size,
        upsampling=network.upsampling,
        field_size=network.field_size,
        psf_sigma=sigma,
        psf_sigma_range=(round(0.95 * sigma, 3), round(1.05 * sigma, 3)),
        intensity_range=(float(low), float(high)),
        normalisation=config.normalisation.kind,
        inputs=("crops",),
        outputs=("grid",),
        readout=config.readout,
        files=files,
        training=Training(
            data=f"simulated, protocol in {RECIPE}",
            crops=run.crops,
            seconds=round(run.progress.seconds, 1),
            hardware=f"{platform.machine()} CPU, {torch.get_num_threads()} thread(s), "
            f"torch {torch.__version__}",
            seed=config.optimisation.seed,
            date=datetime.now(UTC).date().isoformat(),
        ),
        measured={},
    )

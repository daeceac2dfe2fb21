"""From a training run to a model folder: ONNX, weights, golden crops, card."""

import copy
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from dscsnet.engines.card import GridlessReadout, ModelCard, Training
from dscsnet.engines.engine import CropBatch
from dscsnet.engines.model import GOLDEN, NETWORK, SELECTION, file_sha256, write_card
from dscsnet.engines.model_engine import ModelEngine, open_model_engine
from dscsnet.engines.networks.offgrid import (
    OUTPUTS,
    OffGridConfig,
    OffGridNetwork,
    UnfoldedTrunk,
)
from dscsnet.engines.networks.offgrid.blocked import BlockedNetwork
from dscsnet.engines.networks.offgrid.head import Distribution
from dscsnet.engines.networks.offgrid.network import INPUTS
from dscsnet.engines.networks.stored import RECIPE, WEIGHTS, AnyModel
from dscsnet.engines.runtimes import RuntimeOptions
from dscsnet.tools.export.operators import VECTORISED
from dscsnet.tools.export.readout_calibration import calibrate_readout
from dscsnet.tools.export.selection_training import train_selection
from dscsnet.tools.measures.average_precision import Points
from dscsnet.tools.simulation.scenes import true_points
from dscsnet.tools.training.checkpoint import TrainedRun
from dscsnet.tools.training.config import TrainConfig

GOLDEN_CROPS = 16
GOLDEN_SEED = 4242
CALIBRATION_CROPS = 20_000
CALIBRATION_SEED = 515
#: PSF width of a crop that says nothing of it, px: that of the paper.
TYPICAL_SIGMA = 0.5

Arrays = dict[str, NDArray[np.float32]]


def export_model(
    run: TrainedRun, folder: Path, tell: Callable[[int, int], None] = lambda done, total: None
) -> ModelCard:
    """Write the averaged weights of a run as a model folder; its recipe goes with them.

    Args:
        tell: takes how many crops of how many the selection has been shown, where there is one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = run.model
    save_file({name: v.contiguous() for name, v in model.state_dict().items()}, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # the library leaves it readable for its owner only
    write_onnx(model, folder / NETWORK)
    (folder / RECIPE).write_bytes(msgspec.yaml.encode(run.config))
    inputs = golden_inputs(run.config)
    outputs = reference_outputs(model, inputs)
    stored = {name: value.astype(np.float32) for name, value in outputs.items()}
    np.savez_compressed(folder / GOLDEN, **inputs, **stored)  # type: ignore[arg-type]
    card = make_card(run, folder, tuple(inputs), tuple(outputs))
    write_card(card, folder)
    if isinstance(card.readout, GridlessReadout):
        card = finish_readout(run.config, card, card.readout, folder, tell)
        write_card(card, folder)
    return card


def finish_readout(
    config: TrainConfig,
    card: ModelCard,
    readout: GridlessReadout,
    folder: Path,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> ModelCard:
    """The card of an off-grid model with all that is fitted after the network's training.

    Writes the selection, where the recipe asks for one.
    """
    files = {name: digest for name, digest in card.files.items() if name != SELECTION}
    if config.selection:
        assert isinstance(config.network, OffGridConfig), "its readout is gridless"
        engine = _engine(folder)
        selection = train_selection(engine, readout, config.selection, config.network.slots, tell)
        arrays = {name: a.astype(np.float32) for name, a in selection._asdict().items()}
        np.savez_compressed(folder / SELECTION, **arrays)
        files[SELECTION] = file_sha256(folder / SELECTION)
    card = replace(card, files=files, readout=readout)
    write_card(card, folder)
    return replace(card, readout=_calibrated(config, readout, folder))


def _engine(folder: Path) -> ModelEngine:
    return open_model_engine(folder, "onnxruntime", options=RuntimeOptions(threads=1))


def _calibrated(config: TrainConfig, readout: GridlessReadout, folder: Path) -> GridlessReadout:
    """The readout with sigmas and scores fitted on crops of the model's own protocol."""
    batch, true = calibration_crops(config)
    engine = _engine(folder)
    parts = [
        engine.run(batch.part(first, first + GOLDEN_CROPS**2))
        for first in range(0, len(batch), GOLDEN_CROPS**2)
    ]
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return calibrate_readout(readout, outputs, batch, true, engine.model.selection())


def calibration_crops(config: TrainConfig) -> tuple[CropBatch, Points]:
    """Crops for the calibration of a readout; see `protocol_crops`."""
    return protocol_crops(config, CALIBRATION_CROPS, CALIBRATION_SEED)


def protocol_crops(config: TrainConfig, crops: int, seed: int) -> tuple[CropBatch, Points]:
    """Crops of a protocol that the network has not seen, as it is given them, and the truth."""
    given = config.source.stream(seed, pool=2000).give(crops)
    return given.batch(), true_points(given)


def golden_inputs(config: TrainConfig, crops: int = GOLDEN_CROPS) -> Arrays:
    """Crops of the model's own protocol, by the names of the model's inputs."""
    batch = config.source.stream(GOLDEN_SEED, pool=1000).give(crops).batch()
    if not isinstance(config.network, OffGridConfig):
        return {"crops": batch.pixels}
    return dict(zip(INPUTS, (batch.pixels, batch.noise, batch.psf), strict=True))


def write_onnx(model: AnyModel, path: Path) -> None:
    """Export with a dynamic batch, laid out for processors; one self-contained file."""
    off_grid = isinstance(model, OffGridNetwork)
    config = model.config if isinstance(model, OffGridNetwork) else model.network.config
    # Three crops, for a batch of 2 could be taken for the two widths of the PSF.
    crops = torch.ones(3, config.crop_size, config.crop_size)
    noise, psf = torch.ones(3), torch.full((3, 2), TYPICAL_SIGMA)
    names = list(INPUTS) if off_grid else ["crops"]
    batch = torch.export.Dim("batch", min=1, max=2**16)
    with warnings.catch_warnings():
        # The exporter warns of its own deprecated internals.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            laid_out(model),
            (crops, noise, psf) if off_grid else (crops,),
            dynamo=True,
            input_names=names,
            output_names=list(OUTPUTS) if off_grid else ["grid"],
            dynamic_shapes=tuple({0: batch} for _ in names),
            custom_translation_table=VECTORISED,
            verbose=False,
        )
    assert program is not None
    onnx.save(without_origin(program.model_proto), path)


def laid_out(model: AnyModel) -> nn.Module:
    """The network as it is exported: the same function, for processors."""
    if isinstance(model, OffGridNetwork) and isinstance(model.config.trunk, UnfoldedTrunk):
        return BlockedNetwork(model).eval()
    return model


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


def reference_outputs(model: AnyModel, inputs: Arrays) -> dict[str, NDArray[np.float64]]:
    """What the network gives in float64: the answer that every runtime is held to."""
    double = copy.deepcopy(model).double()
    with torch.no_grad():
        result = double(*(torch.tensor(value).double() for value in inputs.values()))
    if isinstance(result, Distribution):
        return {name: value.numpy() for name, value in result._asdict().items()}
    return {"grid": result.numpy()}


def make_card(
    run: TrainedRun, folder: Path, inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> ModelCard:
    """The card of a folder whose other files are written."""
    config = run.config
    geometry = _off_grid(config) if isinstance(config.network, OffGridConfig) else _grid(config)
    return ModelCard(
        name=config.name,
        description=config.description,
        inputs=inputs,
        outputs=outputs,
        readout=config.readout,
        files={name: file_sha256(folder / name) for name in (NETWORK, WEIGHTS, GOLDEN, RECIPE)},
        training=Training(
            data=f"simulated, protocol in {RECIPE}"
            + (f"; begun with the weights of {config.start}" if config.start else ""),
            crops=run.crops,
            seconds=round(run.progress.seconds, 1),
            hardware=run.hardware,
            seed=config.optimisation.seed,
            date=datetime.now(UTC).date().isoformat(),
        ),
        measured={},
        **geometry,
    )


def _grid(config: TrainConfig) -> dict[str, Any]:
    """Geometry and units of a grid network, by the names of the card."""
    network = config.network
    assert not isinstance(network, OffGridConfig), "its caller has looked"
    sigma = network.psf_sigma
    return {
        "crop_size": network.crop_size,
        "upsampling": network.upsampling,
        "field_size": network.field_size,
        "psf_sigma": sigma,
        "psf_sigma_range": (round(0.95 * sigma, 3), round(1.05 * sigma, 3)),
        "intensity_range": config.source.intensity_range,
        "normalisation": config.normalisation.kind,
    }


def _off_grid(config: TrainConfig) -> dict[str, Any]:
    network, source = config.network, config.source
    assert isinstance(network, OffGridConfig), "its caller has looked"
    widths, reach = source.psf_sigma_range, source.reach
    return {
        "crop_size": network.crop_size,
        "upsampling": 1,
        # The odd number of pixels nearest to twice the reach.
        "field_size": 2 * round((network.reach if reach is None else reach) - 0.5) + 1,
        "psf_sigma": min(max(TYPICAL_SIGMA, widths[0]), widths[1]),
        "psf_sigma_range": widths,
        "intensity_range": source.intensity_range,
        "normalisation": "fixed" if network.unit else "rms",
    }

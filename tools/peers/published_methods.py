"""The methods of docs/comparison.md, for their speed: networks with random weights, eager or ONNX.

Their weights have no effect on how long they take. Needs the extra `train`.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dscsnet.engines.geometry import Grid
from dscsnet.engines.networks.config import NetworkConfig
from dscsnet.engines.networks.deployed import Normalisation
from dscsnet.engines.networks.dista_net import DISTANetConfig
from dscsnet.engines.networks.ista_net import ISTANetConfig, ISTANetPlusConfig
from dscsnet.engines.networks.one_stage import OneStageConfig
from dscsnet.engines.networks.registry import GridNetworkConfig
from dscsnet.engines.networks.srcnn import SRCNNConfig
from dscsnet.engines.networks.stored import AnyModel, build_model
from dscsnet.engines.runtimes.onnx import OnnxRuntime
from dscsnet.tools.evaluation.comparison import FIT_NAME, ISTA_NAME, fit_settings
from dscsnet.tools.export.model_folder import write_onnx
from dscsnet.tools.references.grid_methods import ista
from dscsnet.tools.references.multistart_fit import fit_crops
from dscsnet.tools.simulation.csist import CropProtocol, Simulator

DISTA_NET = "dista-net"
SEED = 0

_compact = partial(NetworkConfig, field_size=5, width=16, depth=1, stages=6)
#: As in configs/train/compare.
NETWORKS: dict[str, GridNetworkConfig] = {
    DISTA_NET: DISTANetConfig(),
    "admm-csnet": _compact(
        dynamic_convolution=False, reorganization=False, threshold_generator=False
    ),
    "dscsnet-compact": _compact(),
    "dscsnet-without-dcn": _compact(dynamic_convolution=False),
    "dscsnet-without-dir": _compact(reorganization=False),
    "dscsnet-without-dtg": _compact(threshold_generator=False),
    "ista-net": ISTANetConfig(),
    "ista-net-plus": ISTANetPlusConfig(),
    "one-stage": OneStageConfig(),
    "srcnn": SRCNNConfig(),
}


def published_methods(number: int, folder: Path) -> dict[str, Callable[[], object]]:
    """What runs each on so many crops of the CSIST-100K protocol, on one thread.

    Args:
        folder: takes the exported network.
    """
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    protocol = CropProtocol()
    scenes = Simulator(protocol, seed=SEED, exact=True).draw(number)
    models = {name: _model(config) for name, config in NETWORKS.items()}
    grid, pixels = Grid(protocol.crop_size), scenes.crops.double().numpy()
    return {
        f"{DISTA_NET}, ONNX Runtime": _exported(models[DISTA_NET], scenes.crops, folder),
        **{
            f"{name}, eager": partial(_eager, model, scenes.crops) for name, model in models.items()
        },
        ISTA_NAME: lambda: ista(scenes.crops, grid, protocol.psf_sigma),
        FIT_NAME: partial(fit_crops, pixels, **fit_settings(protocol, scenes)),
    }


def _model(config: GridNetworkConfig) -> AnyModel:
    return build_model(config, Normalisation()).eval()


@torch.inference_mode()
def _eager(model: AnyModel, crops: Tensor) -> Tensor:
    return model(crops)


def _exported(model: AnyModel, crops: Tensor, folder: Path) -> Callable[[], object]:
    """The network in our own runtime, exported as a shipped one would be."""
    write_onnx(model, folder / "network.onnx")
    runtime = OnnxRuntime(folder / "network.onnx", threads=1)
    return partial(runtime.run, {"crops": crops.numpy().astype(np.float32)})

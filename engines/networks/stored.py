"""Networks as PyTorch modules: new from their configuration, or stored in model folders."""

from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from dscsnet.engines.errors import ModelError
from dscsnet.engines.files.strict_yaml import YamlError, decode_yaml
from dscsnet.engines.networks.config import NetworkConfig
from dscsnet.engines.networks.deployed import Deployed, Normalisation
from dscsnet.engines.networks.offgrid import OffGridConfig, OffGridNetwork
from dscsnet.engines.networks.registry import AnyNetworkConfig, build

#: What is raised for files that are missing, damaged, or do not belong together.
UNUSABLE = (
    *(OSError, ValueError, KeyError, RuntimeError, MemoryError),
    *(SafetensorError, YamlError, msgspec.ValidationError),
)

#: Beside the ONNX file in a model folder.
WEIGHTS, RECIPE = "weights.safetensors", "train.yaml"

AnyModel = Deployed | OffGridNetwork


class NetworkRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """What of a training recipe says how the network is built."""

    network: AnyNetworkConfig = NetworkConfig()
    normalisation: Normalisation = Normalisation()


def build_model(network: AnyNetworkConfig, normalisation: Normalisation) -> AnyModel:
    """A new network with random weights, on the CPU; counts in, counts or a distribution out."""
    if isinstance(network, OffGridConfig):
        return OffGridNetwork(network)
    return Deployed(build(network), normalisation)


def with_kind(recipe: Any) -> Any:
    """A stored recipe; those of before there was more than one kind of network name none."""
    if isinstance(recipe, dict) and isinstance(recipe.get("network"), dict):
        return {**recipe, "network": {"kind": "dscsnet", **recipe["network"]}}
    return recipe


def load_network(folder: Path) -> AnyModel:
    """The network of a model folder, in evaluation mode.

    Raises:
        ModelError: the folder has no weights, or no recipe to build their network from.
    """
    try:
        plain = with_kind(decode_yaml((folder / RECIPE).read_bytes()))
        recipe = msgspec.convert(plain, NetworkRecipe)
        model = build_model(recipe.network, recipe.normalisation)
        weights: dict[str, torch.Tensor] = load_file(folder / WEIGHTS)
        model.load_state_dict(weights)
    except UNUSABLE as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{folder}: no usable {WEIGHTS} and {RECIPE}: {reason}") from None
    return model.eval()

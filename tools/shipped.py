"""Shipped weights as PyTorch modules."""

import msgspec
from safetensors import SafetensorError
from safetensors.torch import load_file

from engines.errors import ModelError
from engines.model import Model
from engines.strict_yaml import YamlError, decode_yaml
from tools.build_model import AnyModel, build_model
from tools.train_config import stored_train_config

#: What is raised for files that are missing, damaged, or do not belong together.
UNUSABLE = (
    *(OSError, ValueError, KeyError, RuntimeError, MemoryError),
    *(SafetensorError, YamlError, msgspec.ValidationError),
)

WEIGHTS = "weights.safetensors"
RECIPE = "train.yaml"


def load_network(model: Model) -> AnyModel:
    """The network of a model folder, in evaluation mode.

    Raises:
        ModelError: the folder has no weights, or no recipe to build their network from.
    """
    try:
        recipe = stored_train_config(decode_yaml((model.folder / RECIPE).read_bytes()))
        weights = load_file(model.folder / WEIGHTS)
        network = build_model(recipe)
        network.load_state_dict(weights)
    except UNUSABLE as error:
        raise ModelError(f"{model.folder}: no usable {WEIGHTS} and {RECIPE}: {error}") from None
    return network.eval()

"""Shipped weights as PyTorch modules."""

import msgspec
from safetensors.torch import load_file

from engines.errors import ModelError
from engines.model import Model
from tools.build_model import AnyModel, build_model
from tools.train_config import stored_train_config

WEIGHTS = "weights.safetensors"
RECIPE = "train.yaml"


def load_network(model: Model) -> AnyModel:
    """The network of a model folder, in evaluation mode.

    Raises:
        ModelError: the folder has no weights, or no recipe to build their network from.
    """
    try:
        recipe = stored_train_config(msgspec.yaml.decode((model.folder / RECIPE).read_bytes()))
        weights = load_file(model.folder / WEIGHTS)
    except (OSError, msgspec.DecodeError) as error:
        raise ModelError(f"{model.folder}: no usable {WEIGHTS} and {RECIPE}: {error}") from None
    network = build_model(recipe)
    network.load_state_dict(weights)
    return network.eval()

"""Shipped weights as PyTorch modules."""

import msgspec
from safetensors.torch import load_file

from engines.errors import ModelError
from engines.model import Model
from engines.networks.deployed import Deployed
from engines.networks.dscsnet import DSCSNet
from tools.train_config import TrainConfig

WEIGHTS = "weights.safetensors"
RECIPE = "train.yaml"


def load_network(model: Model) -> Deployed:
    """The network of a model folder, in evaluation mode.

    Raises:
        ModelError: the folder has no weights, or no recipe to build their network from.
    """
    try:
        recipe = msgspec.yaml.decode((model.folder / RECIPE).read_bytes(), type=TrainConfig)
        weights = load_file(model.folder / WEIGHTS)
    except (OSError, msgspec.DecodeError) as error:
        raise ModelError(f"{model.folder}: no usable {WEIGHTS} and {RECIPE}: {error}") from None
    network = Deployed(DSCSNet(recipe.network), recipe.normalisation)
    network.load_state_dict(weights)
    return network.eval()

"""The network of a training configuration, as it is trained, stored and exported."""

from engines.networks.deployed import Deployed
from engines.networks.offgrid import OffGridConfig, OffGridNetwork
from engines.networks.registry import build
from tools.train_config import TrainConfig

AnyModel = Deployed | OffGridNetwork


def build_model(config: TrainConfig) -> AnyModel:
    """A new network with random weights, on the CPU."""
    if isinstance(config.network, OffGridConfig):
        return OffGridNetwork(config.network)
    return Deployed(build(config.network), config.normalisation)

"""Every grid network by its configuration; `kind` in a YAML file says which one is meant."""

from collections.abc import Callable
from typing import Any

from dscsnet.engines.networks.base import GridNetwork
from dscsnet.engines.networks.config import NetworkConfig
from dscsnet.engines.networks.dista_net import DISTANet, DISTANetConfig
from dscsnet.engines.networks.dscsnet import DSCSNet
from dscsnet.engines.networks.ista_net import ISTANet, ISTANetConfig, ISTANetPlus, ISTANetPlusConfig
from dscsnet.engines.networks.offgrid import OffGridConfig
from dscsnet.engines.networks.one_stage import OneStageConfig, OneStageNet
from dscsnet.engines.networks.srcnn import SRCNN, SRCNNConfig

GridNetworkConfig = (
    NetworkConfig
    | ISTANetConfig
    | ISTANetPlusConfig
    | DISTANetConfig
    | SRCNNConfig
    | OneStageConfig
)
AnyNetworkConfig = GridNetworkConfig | OffGridConfig

_NETWORKS: dict[type, Callable[[Any], GridNetwork]] = {
    NetworkConfig: DSCSNet,
    ISTANetConfig: ISTANet,
    ISTANetPlusConfig: ISTANetPlus,
    DISTANetConfig: DISTANet,
    SRCNNConfig: SRCNN,
    OneStageConfig: OneStageNet,
}


def build(config: GridNetworkConfig) -> GridNetwork:
    """A new grid network with random weights."""
    return _NETWORKS[type(config)](config)

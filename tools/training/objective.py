"""What a training run optimises: the data it draws, its loss, and what it is measured by."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dscsnet.engines.networks.offgrid import OffGridConfig
from dscsnet.pipeline.errors import ConfigError
from dscsnet.tools.training.config import TrainConfig
from dscsnet.tools.training.grid_objective import GridObjective
from dscsnet.tools.training.offgrid_objective import OffGridObjective


class Objective(Protocol):
    """One kind of network with its data.

    Attributes:
        model: the network that is trained.
    """

    model: nn.Module

    def start(self) -> None:
        """Prepare the network before the first step of a run."""

    def compile(self) -> None:
        """Compile what a step computes."""

    def loss(self, batch: int) -> Tensor:
        """Mean loss of a new batch."""

    def measure(self, model: nn.Module) -> dict[str, float]:
        """Figures of a network on fresh crops, always the same ones."""

    def state(self) -> dict[str, Any]:
        """The state of the data's random draws."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a stored state."""


def make_objective(config: TrainConfig, device: str, data_processes: int = 0) -> Objective:
    """The objective of a training configuration.

    Raises:
        ConfigError: processes that draw data are asked for where none are needed.
    """
    if data_processes and not config.field:
        raise ConfigError(
            f"{config.name}: data processes are for field crops; others are drawn on the device"
        )
    torch.manual_seed(config.optimisation.seed)
    if isinstance(config.network, OffGridConfig):
        return OffGridObjective(config, config.network, device, data_processes)
    return GridObjective(config, config.network, device)

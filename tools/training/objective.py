"""What a training run optimises: the data it draws, its loss, and what it is measured by."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dscsnet.engines.networks.offgrid import OffGridConfig
from dscsnet.pipeline.errors import ConfigError
from dscsnet.tools.simulation.source import TrainingCrops
from dscsnet.tools.training.config import TrainConfig
from dscsnet.tools.training.grid_objective import GridObjective
from dscsnet.tools.training.offgrid_objective import OffGridObjective

#: Positions that a simulator keeps for each number of targets.
GRID_POOL, OFF_GRID_POOL = 5000, 20000


class Objective(Protocol):
    """One kind of network with its data.

    Attributes:
        model: the network that is trained.
        crops: what it is trained with.
        precision: context of the network's own arithmetic; drawing and loss are not in it.
    """

    model: nn.Module
    crops: TrainingCrops
    precision: Callable[[], AbstractContextManager[Any]]

    def start(self) -> None:
        """Prepare the network before the first step of a run."""

    def compile(self) -> None:
        """Compile what a step computes."""

    def loss(self, batch: int) -> Tensor:
        """Mean loss of a new batch."""

    def measure(self, model: nn.Module) -> dict[str, float]:
        """Figures of a network on fresh crops, always the same ones."""


def make_objective(config: TrainConfig, device: str, data_processes: int = 0) -> Objective:
    """The objective of a training configuration.

    Raises:
        ConfigError: processes that draw data are asked for where none are needed.
    """
    seed, off_grid = config.optimisation.seed, isinstance(config.network, OffGridConfig)
    try:
        crops = config.source.training(
            seed,
            device=device,
            pool=OFF_GRID_POOL if off_grid else GRID_POOL,
            processes=data_processes,
        )
    except ConfigError as error:
        raise ConfigError(f"{config.name}: {error}") from None
    torch.manual_seed(seed)
    if isinstance(config.network, OffGridConfig):
        return OffGridObjective(config, config.network, crops, device)
    return GridObjective(config, config.network, crops, device)

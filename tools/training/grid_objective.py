"""Training of the grid networks: the squared error of the cells' counts (eq. 23 of the paper)."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from dscsnet.engines.card import GridReadout
from dscsnet.engines.networks.base import StartedNetwork
from dscsnet.engines.networks.deployed import Deployed
from dscsnet.engines.networks.registry import GridNetworkConfig
from dscsnet.engines.networks.stored import build_model
from dscsnet.engines.readouts.grid import limits
from dscsnet.tools.measures.average_precision import Points, average_precision
from dscsnet.tools.simulation.scenes import Truth, render_grid, true_points
from dscsnet.tools.simulation.source import VALIDATION_SEED, GivenCrops, TrainingCrops
from dscsnet.tools.training.config import TrainConfig

VALIDATION_CROPS = 1000


class GridObjective:
    """Crops of a protocol, and the grids that hold their targets."""

    def __init__(
        self,
        config: TrainConfig,
        network: GridNetworkConfig,
        crops: TrainingCrops,
        device: str,
    ) -> None:
        assert isinstance(config.readout, GridReadout), "checked by the configuration"
        self.config, self.network, self.readout = config, network, config.readout
        self.crops, self.device = crops, device
        model = build_model(config.network, config.normalisation)
        assert isinstance(model, Deployed), "a grid network is one"
        self.model = model.to(device)
        self._loss_of: Callable[..., Tensor] = self._loss
        self.precision: Callable[[], AbstractContextManager[Any]] = nullcontext

    def start(self) -> None:
        # Drawn for every network, for it fills the simulator's pools outside any time budget.
        given = self.crops.give(20000 if self.device == "cpu" else 100000)
        if not isinstance(self.model.network, StartedNetwork):
            return
        scale = self.model.scale(given.crops)
        normalise = self.model.normalise
        self.model.network.fit_start(
            normalise(given.crops, scale), normalise(self._labels(given), scale)
        )

    def compile(self) -> None:
        self._loss_of = torch.compile(self._loss)
        self.crops.compile()

    def loss(self, batch: int) -> Tensor:
        given = self.crops.give(batch)
        scale = self.model.scale(given.crops)
        crops = self.model.inputs(given.crops, scale)
        return self._loss_of(crops, self.model.normalise(self._labels(given), scale))

    def _loss(self, crops: Tensor, labels: Tensor) -> Tensor:
        # Summed over cells, so that its size does not depend on the grid (eq. 23 up to a factor).
        with self.precision():
            grids, auxiliary = self.model.network.with_auxiliary_loss(crops)
        return (grids - labels).square().sum((1, 2)).mean() + auxiliary

    def measure(self, model: nn.Module) -> dict[str, float]:
        """CSO-mAP by the paper's ranking."""
        given = self._validation
        result = average_precision(self._read(model, given), true_points(given))
        return {"cso_map": result.cso_map}

    @cached_property
    def _validation(self) -> GivenCrops:
        stream = self.config.source.stream(VALIDATION_SEED, pool=None, device=self.device)
        return stream.give(VALIDATION_CROPS)

    def _labels(self, truth: Truth) -> Tensor:
        return render_grid(truth, self.network.crop_size, self.network.upsampling)

    @torch.no_grad()
    def _read(self, model: nn.Module, given: GivenCrops, batch: int = 500) -> Points:
        """Targets by the model's own readout, ranked by intensity."""
        grids = torch.cat([model(part) for part in given.crops.split(batch)]).cpu().numpy()
        noise = given.noise.cpu().numpy()
        limit = limits(self.readout, grids, noise, self.network.psf_sigma)
        return Points.from_grids(grids, limit, self.network.grid)

"""Training of the grid networks: the squared error of the cells' counts (eq. 23 of the paper)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dscsnet.engines.card import GridReadout
from dscsnet.engines.networks.base import StartedNetwork
from dscsnet.engines.networks.deployed import Deployed
from dscsnet.engines.networks.registry import GridNetworkConfig
from dscsnet.engines.networks.stored import build_model
from dscsnet.engines.readouts.grid import limits
from dscsnet.tools.measures.average_precision import Points, average_precision
from dscsnet.tools.simulation.csist import ROUNDING, Scenes, Simulator, render_grid, true_points
from dscsnet.tools.training.config import TrainConfig

VALIDATION_CROPS = 1000
VALIDATION_SEED = 77


class GridObjective:
    """Crops of a protocol, and the grids that hold their targets."""

    def __init__(self, config: TrainConfig, network: GridNetworkConfig, device: str) -> None:
        assert isinstance(config.readout, GridReadout), "checked by the configuration"
        self.config, self.network, self.readout = config, network, config.readout
        self.device = device
        model = build_model(config.network, config.normalisation)
        assert isinstance(model, Deployed), "a grid network is one"
        self.model = model.to(device)
        self.predict = self.model.network.with_auxiliary_loss
        self.simulator = Simulator(
            config.protocol, seed=config.optimisation.seed + 1, device=device, pool=5000
        )

    def start(self) -> None:
        # Drawn for every network, for it fills the simulator's pools outside any time budget.
        scenes = self.simulator.draw(20000 if self.device == "cpu" else 100000)
        if not isinstance(self.model.network, StartedNetwork):
            return
        scale = self.model.scale(scenes.crops)
        normalise = self.model.normalise
        self.model.network.fit_start(
            normalise(scenes.crops, scale), normalise(self._labels(scenes), scale)
        )

    def compile(self) -> None:
        self.predict = torch.compile(self.predict)

    def loss(self, batch: int) -> Tensor:
        scenes = self.simulator.draw(batch)
        scale = self.model.scale(scenes.crops)
        crops = self.model.inputs(scenes.crops, scale)
        labels = self.model.normalise(self._labels(scenes), scale)
        # Summed over cells, so that its size does not depend on the grid (eq. 23 up to a factor).
        grids, auxiliary = self.predict(crops)
        return (grids - labels).square().sum((1, 2)).mean() + auxiliary

    def measure(self, model: nn.Module) -> dict[str, float]:
        """CSO-mAP by the paper's ranking."""
        scenes = Simulator(
            self.config.protocol, seed=VALIDATION_SEED, device=self.device, exact=True
        ).draw(VALIDATION_CROPS)
        result = average_precision(self._read(model, scenes), true_points(scenes))
        return {"cso_map": result.cso_map}

    def state(self) -> dict[str, Any]:
        return {
            "generator": self.simulator.generator.get_state(),
            "pools": self.simulator.pools,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.simulator.generator.set_state(state["generator"].cpu())
        self.simulator.pools = state["pools"]

    def _labels(self, scenes: Scenes) -> Tensor:
        return render_grid(scenes, self.network.crop_size, self.network.upsampling)

    @torch.no_grad()
    def _read(self, model: nn.Module, scenes: Scenes, batch: int = 500) -> Points:
        """Targets by the model's own readout, ranked by intensity."""
        grids = torch.cat([model(part) for part in scenes.crops.split(batch)]).cpu().numpy()
        noise = np.hypot(scenes.noise.cpu().numpy(), ROUNDING)
        limit = limits(self.readout, grids, noise, self.network.psf_sigma)
        return Points.from_grids(grids, limit, self.network.grid)

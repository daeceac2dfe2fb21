"""Training of the off-grid networks: the likelihood of the true targets."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from dscsnet.engines.networks.offgrid import OffGridConfig, OffGridNetwork
from dscsnet.engines.networks.offgrid.head import Distribution
from dscsnet.engines.networks.stored import build_model
from dscsnet.tools.measures.average_precision import DISTANCES, Points, average_precision
from dscsnet.tools.simulation.scenes import true_points
from dscsnet.tools.simulation.source import GivenCrops, TrainingCrops
from dscsnet.tools.training.config import TrainConfig
from dscsnet.tools.training.set_loss import assignments, set_loss

VALIDATION_CROPS = 1000
START_CROPS = 20000


class OffGridObjective:
    """Crops with their noise and PSF, and the targets in them."""

    def __init__(
        self, config: TrainConfig, network: OffGridConfig, crops: TrainingCrops, device: str
    ) -> None:
        self.config, self.network = config, network
        self.crops, self.device = crops, device
        model = build_model(config.network, config.normalisation)
        assert isinstance(model, OffGridNetwork), "an off-grid network is one"
        self.model = model.to(device)
        self._loss_of: Callable[..., Tensor] = self._loss
        self.precision: Callable[[], AbstractContextManager[Any]] = nullcontext
        self.matrices = assignments(network.slots, torch.device(device))

    def start(self) -> None:
        start = self.crops.start_crops(START_CROPS)
        self.model.fit_start(*(values.to(self.device) for values in start))

    def compile(self) -> None:
        self._loss_of = torch.compile(self._loss)
        self.crops.compile()

    def loss(self, batch: int) -> Tensor:
        given = self.crops.give(batch, estimate_noise=True).to(self.device)
        return self._loss_of(given)

    def _loss(self, given: GivenCrops) -> Tensor:
        with self.precision():
            distribution: Distribution = self.model(given.crops, given.noise, given.psf)
        log_intensity = torch.log(given.intensity.clamp_min(1e-6))
        truth = (given.x, given.y, log_intensity, given.present)
        return set_loss(distribution, *truth, self.matrices)

    def measure(self, model: nn.Module) -> dict[str, float]:
        """CSO-mAP of the network's own means, ranked by the probability of a hit."""
        return {f"cso_map{name}": self._measure(model, it) for name, it in self._validation.items()}

    @cached_property
    def _validation(self) -> dict[str, GivenCrops]:
        sets = self.config.source.validation(VALIDATION_CROPS, device=self.device)
        return {name: given.to(self.device) for name, given in sets.items()}

    @torch.no_grad()
    def _measure(self, model: nn.Module, given: GivenCrops) -> float:
        parts = zip(*(v.split(500) for v in given[:3]), strict=True)
        columns = zip(*(model(*part) for part in parts), strict=True)
        found = likeliest_points(Distribution(*(torch.cat(column) for column in columns)))
        return average_precision(found, true_points(given)).cso_map


def likeliest_points(distribution: Distribution) -> Points:
    """The likeliest number of slots, ranked by the mean probability of being within DISTANCES."""
    slots = distribution.existence.shape[1]
    count = distribution.count.argmax(1).clamp_max(slots)
    rank = distribution.existence.argsort(1, descending=True).argsort(1)
    variance = torch.exp(2 * distribution.log_sigma[..., :2]).mean(-1)
    distance = torch.tensor(DISTANCES, device=variance.device)
    hit = -torch.expm1(-distance.square() / (2 * variance[..., None])).mean(-1)
    score = torch.sigmoid(distribution.existence) * hit
    x, y = distribution.position.unbind(-1)
    columns = [v.double().cpu().numpy() for v in (x, y, score)]
    there = (rank < count[:, None]).cpu().numpy()
    return Points.from_padded(columns[0], columns[1], columns[2], there)

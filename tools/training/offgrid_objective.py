"""Training of the off-grid networks: the likelihood of the true targets."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from msgspec.structs import replace
from torch import Tensor, nn

from dscsnet.engines.networks.offgrid import OffGridConfig, OffGridNetwork
from dscsnet.engines.networks.offgrid.head import Distribution
from dscsnet.engines.networks.stored import build_model
from dscsnet.tools.measures.average_precision import DISTANCES, Points, average_precision
from dscsnet.tools.simulation.csist import ROUNDING, Scenes, Simulator, render, true_points
from dscsnet.tools.simulation.feed import Columns, field_feed
from dscsnet.tools.simulation.field import FieldScenes, FieldSimulator
from dscsnet.tools.training.config import TrainConfig
from dscsnet.tools.training.set_loss import assignments, set_loss

#: Relative error of a noise estimate from the 72 pixels of a crop's border.
NOISE_ERROR = 1 / 12

VALIDATION_CROPS = 1000
VALIDATION_SEED = 77
#: Noise sigmas at which the published protocol is validated, counts.
VALIDATION_NOISE = (0.0, 1.0, 5.0)
START_CROPS = 20000


class Batch(NamedTuple):
    """What a network is given, and the truth; shapes as in `FieldScenes`."""

    crops: Tensor
    noise: Tensor
    psf: Tensor
    x: Tensor
    y: Tensor
    intensity: Tensor
    present: Tensor


class OffGridObjective:
    """Crops of the published protocol or of the field, and the targets in them.

    Args:
        data_processes: that draw field crops beside this one; 0: it draws its own. With some, a
            run that goes on draws other crops than one that was not interrupted.
    """

    def __init__(
        self, config: TrainConfig, network: OffGridConfig, device: str, data_processes: int = 0
    ) -> None:
        self.config, self.network, self.device = config, network, device
        self.data_processes = data_processes
        self._feed: Iterator[Columns] | None = None
        self._drawn = 0  # batches taken from a feed
        model = build_model(config.network, config.normalisation)
        assert isinstance(model, OffGridNetwork), "an off-grid network is one"
        self.model = model.to(device)
        self.predict: Callable[..., Distribution] = self.model
        seed = config.optimisation.seed + 1
        self.simulator: Simulator | FieldSimulator = (
            FieldSimulator(config.field, seed=seed)
            if config.field
            else Simulator(config.protocol, seed=seed, device=device, pool=20000)
        )
        self.matrices = assignments(network.slots, torch.device(device))

    def start(self) -> None:
        clean, noise, psf = self._clean()
        self.model.fit_start(*(v.to(self.device) for v in (clean, noise, psf)))

    def compile(self) -> None:
        self.predict = torch.compile(self.model)

    def loss(self, batch: int) -> Tensor:
        data = self._fed(batch) if self.data_processes else self._draw(self.simulator, batch)
        distribution = self.predict(data.crops, data.noise, data.psf)
        log_intensity = torch.log(data.intensity.clamp_min(1e-6))
        return set_loss(distribution, data.x, data.y, log_intensity, data.present, self.matrices)

    def measure(self, model: nn.Module) -> dict[str, float]:
        """CSO-mAP of the network's own means, ranked by the probability of a hit."""
        if self.config.field:
            simulator = FieldSimulator(self.config.field, seed=VALIDATION_SEED)
            return {"cso_map": self._measure(model, self._draw(simulator, 2 * VALIDATION_CROPS))}
        return {
            f"cso_map_noise{noise:g}": self._measure(model, self._exact(noise))
            for noise in VALIDATION_NOISE
        }

    def state(self) -> dict[str, Any]:
        generator = self.simulator.generator.get_state()
        return {"generator": generator, "pools": self.simulator.pools, "drawn": self._drawn}

    def restore(self, state: dict[str, Any]) -> None:
        self._drawn = state.get("drawn", 0)  # runs of before had no feed
        self.simulator.generator.set_state(state["generator"].cpu())
        self.simulator.pools = state["pools"]

    def _fed(self, batch: int) -> Batch:
        """The next batch of the processes beside this one."""
        if self._feed is None:
            assert self.config.field, "only field crops are drawn beside the training"
            seed = (self.config.optimisation.seed, self._drawn)
            pinned = torch.device(self.device).type == "cuda"
            self._feed = field_feed(
                self.config.field, batch, seed, self.data_processes, pinned=pinned
            )
        self._drawn += 1
        return Batch(*(v.to(self.device, non_blocking=True) for v in next(self._feed)))

    def _draw(self, simulator: Simulator | FieldSimulator, batch: int) -> Batch:
        scenes = simulator.draw(batch)
        crops, noise, psf = network_inputs(scenes, self.config)
        if isinstance(scenes, Scenes):
            error = NOISE_ERROR * torch.randn(
                batch, generator=simulator.generator, device=self.device
            )
            noise = noise * torch.where(scenes.noise > 0, 1 + error, 1.0)
        truth = (scenes.x, scenes.y, scenes.intensity, scenes.present)
        return Batch(*(v.to(self.device) for v in (crops, noise, psf, *truth)))

    def _exact(self, noise: float) -> Batch:
        """Crops of the published protocol at one noise sigma, counts."""
        protocol = replace(self.config.protocol, noise=(noise, noise), noise_free=0.0)
        simulator = Simulator(protocol, seed=VALIDATION_SEED, device=self.device, exact=True)
        return self._draw(simulator, VALIDATION_CROPS)

    def _clean(self) -> tuple[Tensor, Tensor, Tensor]:
        """Crops, noise and PSF without noise, to fit the start of a network to."""
        if self.config.field:
            return FieldSimulator(self.config.field, seed=VALIDATION_SEED).draw_clean(START_CROPS)
        protocol = self.config.protocol
        # From the run's own simulator, whose pools are then filled outside any time budget.
        assert isinstance(self.simulator, Simulator)
        scenes = self.simulator.draw(START_CROPS)
        clean = render(scenes.x, scenes.y, scenes.intensity, protocol.crop_size, protocol.psf_sigma)
        psf = clean.new_full((len(clean), 2), protocol.psf_sigma)
        return clean, clean.new_full((len(clean),), ROUNDING), psf

    @torch.no_grad()
    def _measure(self, model: nn.Module, data: Batch) -> float:
        parts = zip(*(v.split(500) for v in data[:3]), strict=True)
        columns = zip(*(model(*part) for part in parts), strict=True)
        found = likeliest_points(Distribution(*(torch.cat(column) for column in columns)))
        return average_precision(found, true_points(data)).cso_map


def network_inputs(
    scenes: Scenes | FieldScenes, config: TrainConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """What an off-grid network is given: (B, n, n) crops, (B,) noise and (B, 2) PSF sigma."""
    if isinstance(scenes, FieldScenes):
        return scenes.crops, scenes.noise, scenes.psf
    noise = torch.hypot(scenes.noise, torch.tensor(ROUNDING, device=scenes.noise.device))
    return scenes.crops, noise, noise.new_full((len(noise), 2), config.protocol.psf_sigma)


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

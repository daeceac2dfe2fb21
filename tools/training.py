"""Training of the networks, resumable from its checkpoint at any moment."""

import csv
import logging
import math
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from engines.networks.base import StartedNetwork
from engines.networks.deployed import Deployed
from engines.networks.registry import build
from engines.readouts.grid import limits
from pipeline.errors import ConfigError
from tools.checkpoint import (
    CHECKPOINT,
    WITHOUT_EFFECT,
    Progress,
    check_same_network,
    load_state,
)
from tools.metrics import Points, average_precision
from tools.simulation import Scenes, Simulator, render_grid, true_points
from tools.train_config import TrainConfig, stored_train_config

log = logging.getLogger(__name__)

#: Noise of rounding to whole counts.
QUANTISATION = 12**-0.5

VALIDATION_CROPS = 1000
VALIDATION_SEED = 77


class Trainer:
    """Trains one model as its configuration says.

    Args:
        folder: holds `checkpoint.pt` and `curve.csv`; an existing checkpoint is resumed.
        device: where to train.
        compiled: compile the network first; takes minutes and about doubles the speed.
    """

    def __init__(
        self, config: TrainConfig, folder: Path, device: str = "cpu", *, compiled: bool = False
    ) -> None:
        self.config, self.folder, self.device = config, folder, device
        folder.mkdir(parents=True, exist_ok=True)
        settings = config.optimisation
        torch.manual_seed(settings.seed)
        self.model = Deployed(build(config.network), config.normalisation).to(device)
        predict = self.model.network.with_auxiliary_loss
        self.predict = torch.compile(predict) if compiled else predict
        self.progress = Progress()
        decayed = [p for p in self.model.parameters() if p.dim() > 1]
        others = [p for p in self.model.parameters() if p.dim() <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            betas=(0.9, 0.98),
        )
        self.simulator = Simulator(
            config.protocol, seed=settings.seed + 1, device=device, pool=5000
        )
        if self.checkpoint.exists():
            self._restore()
        else:
            self._fit_start()
            self.average = {k: v.clone() for k, v in self.model.state_dict().items()}

    @property
    def checkpoint(self) -> Path:
        """File from which an interrupted run goes on."""
        return self.folder / CHECKPOINT

    @property
    def steps(self) -> int:
        """Steps of the whole run, unless its time budget ends before."""
        return math.ceil(self.config.optimisation.crops / self.config.optimisation.batch)

    @property
    def fraction(self) -> float:
        """How much of the schedule is done, 0 to 1."""
        return self.progress.fraction(self.config.optimisation)

    @property
    def finished(self) -> bool:
        """Trained to the end and measured."""
        curve = self.progress.curve
        return self.fraction == 1 and bool(curve) and curve[-1]["step"] == self.progress.step

    def run(self, *, save_every_s: float = 60.0, validate_every: int = 1000) -> None:
        """Train to the end, saving as it goes; nothing is done for a run that is finished."""
        if self.finished:
            log.info("%s: finished before", self.config.name)
            return
        log.info("%s: training, %.0f %% done", self.config.name, 100 * self.fraction)
        saved = time.monotonic()
        running = 0.0
        while self.fraction < 1:
            before = self._clock()
            loss = self._step()
            self.progress.seconds += self._clock() - before
            running = loss if running == 0 else 0.99 * running + 0.01 * loss
            if self.progress.step % validate_every == 0:
                self._validate(running)
            if time.monotonic() - saved > save_every_s:
                self.save()
                saved = time.monotonic()
        if not self.finished:
            self._validate(running)
        self.save()

    def _clock(self) -> float:
        """Seconds.

        On a CPU those that this process worked, for each of its threads: other work on the
        machine, or a pause, then takes nothing from a time budget.
        """
        if self.device == "cpu":
            return time.process_time() / torch.get_num_threads()
        return time.monotonic()

    def average_model(self) -> Deployed:
        """The network with the averaged weights, in evaluation mode."""
        model = Deployed(build(self.config.network), self.config.normalisation)
        model.load_state_dict(self.average)
        return model.to(self.device).eval()

    def save(self) -> None:
        """Write the checkpoint whole or not at all."""
        state: dict[str, Any] = {
            "config": msgspec.to_builtins(self.config),
            "model": self.model.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "generator": self.simulator.generator.get_state(),
            "pools": self.simulator.pools,
            "progress": vars(self.progress),
        }
        part = self.checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.checkpoint)

    def _restore(self) -> None:
        state = load_state(self.checkpoint, self.device)
        check_same_network(self.checkpoint, stored_train_config(state["config"]), self.config)
        if WITHOUT_EFFECT in state["model"]:
            raise ConfigError(
                f"{self.checkpoint}: of an earlier version; it can be exported but not go on"
            )
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.simulator.generator.set_state(state["generator"].cpu())
        self.simulator.pools = state["pools"]
        self.progress = Progress(**state["progress"])

    def _fit_start(self) -> None:
        # Drawn for every network, for it fills the simulator's pools outside any time budget.
        scenes = self.simulator.draw(20000 if self.device == "cpu" else 100000)
        if not isinstance(self.model.network, StartedNetwork):
            return
        scale = self.model.scale(scenes.crops)
        normalise = self.model.normalise
        self.model.network.fit_start(
            normalise(scenes.crops, scale), normalise(self._labels(scenes), scale)
        )

    def _labels(self, scenes: Scenes) -> Tensor:
        network = self.config.network
        return render_grid(scenes, network.crop_size, network.upsampling)

    def _learning_rate(self) -> float:
        settings = self.config.optimisation
        warm = min(1.0, (self.progress.step + 1) / max(1, settings.warm_up))
        return settings.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * self.fraction))

    def _step(self) -> float:
        settings = self.config.optimisation
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate()
        scenes = self.simulator.draw(settings.batch)
        scale = self.model.scale(scenes.crops)
        crops = self.model.inputs(scenes.crops, scale)
        labels = self.model.normalise(self._labels(scenes), scale)
        # Summed over cells, so that its size does not depend on the grid (eq. 23 up to a factor).
        grids, auxiliary = self.predict(crops)
        loss = (grids - labels).square().sum((1, 2)).mean() + auxiliary
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        self.optimiser.step()
        self.progress.step += 1
        self._update_average()
        return float(loss.detach())

    @torch.no_grad()
    def _update_average(self) -> None:
        # A short memory at first, so that the random start is forgotten.
        step = self.progress.step
        decay = min(self.config.optimisation.averaging, step / (step + 10))
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)

    def _validate(self, loss: float) -> None:
        """One row of the curve: CSO-mAP on fresh crops with the averaged weights."""
        scenes = Simulator(
            self.config.protocol, seed=VALIDATION_SEED, device=self.device, exact=True
        ).draw(VALIDATION_CROPS)
        result = average_precision(self._read(scenes), true_points(scenes))
        row = {
            "step": self.progress.step,
            "crops": self.progress.step * self.config.optimisation.batch,
            "seconds": round(self.progress.seconds, 1),
            "loss": loss,
            "cso_map": result.cso_map,
        }
        self.progress.curve.append(row)
        with (self.folder / "curve.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, row)
            writer.writeheader()
            writer.writerows(self.progress.curve)
        log.info("crops %(crops)d  loss %(loss).4f  CSO-mAP %(cso_map).2f  %(seconds).0f s", row)

    @torch.no_grad()
    def _read(self, scenes: Scenes, batch: int = 500) -> Points:
        """Targets by the model's own readout, ranked by intensity."""
        model = self.average_model()
        grids = torch.cat([model(part) for part in scenes.crops.split(batch)]).cpu().numpy()
        noise = np.hypot(scenes.noise.cpu().numpy(), QUANTISATION)
        limit = limits(self.config.readout, grids, noise, self.config.network.psf_sigma)
        return Points.from_grids(grids, limit, self.config.network.grid)

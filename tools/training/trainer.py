"""Training of the networks, resumable from its checkpoint at any moment."""

import csv
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from dscsnet.engines.errors import ModelError
from dscsnet.engines.model import load_model
from dscsnet.engines.networks.stored import build_model, load_network
from dscsnet.pipeline.errors import ConfigError
from dscsnet.tools.training.checkpoint import (
    CHECKPOINT,
    WITHOUT_EFFECT,
    Progress,
    check_same_network,
    describe_hardware,
    load_state,
)
from dscsnet.tools.training.config import TrainConfig, stored_train_config
from dscsnet.tools.training.curves import draw_run
from dscsnet.tools.training.objective import make_objective
from dscsnet.tools.training.step import GraphedStep, Step

log = logging.getLogger(__name__)

#: On a GPU a thousand steps take seconds, and a validation about one.
VALIDATE_EVERY_S = 60.0
#: First steps of a process, which compile and record: no time budget pays for them.
STARTING = 5
#: Steps after which a GPU is waited for, so that the time budget counts what was done.
WAIT_EVERY = 50


class Trainer:
    """Trains one model as its configuration says.

    Args:
        folder: holds `checkpoint.pt` and `curve.csv`; an existing checkpoint is resumed.
        device: where to train.
        compiled: compile the network first; takes minutes and about doubles the speed.
        mixed_precision: compute what stands it in bfloat16; weights and their averages, drawing
            and loss stay float32. For GPUs: a CPU without such units gets slower.
        data_processes: that draw field crops; 0: they are drawn on the device.
        graphed: on a GPU that draws its own crops, replay each step as one CUDA graph.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        device: str = "cpu",
        *,
        compiled: bool = False,
        mixed_precision: bool = False,
        data_processes: int = 0,
        graphed: bool = True,
    ) -> None:
        self.config, self.folder, self.device = config, folder, device
        folder.mkdir(parents=True, exist_ok=True)
        self.objective = make_objective(config, device, data_processes)
        self.model = self.objective.model
        on_gpu = torch.device(device).type == "cuda"
        if on_gpu:
            self.model.to(memory_format=torch.channels_last)
        if compiled:
            self.objective.compile()
        if mixed_precision:
            kind = torch.device(device).type
            self.objective.precision = lambda: torch.autocast(kind, torch.bfloat16)
        self.validate_every_s = VALIDATE_EVERY_S if on_gpu else 0.0
        self.starting = STARTING if on_gpu or compiled else 0
        self.progress = Progress()
        resumes = self.checkpoint.exists()
        if not resumes:
            self._begin()
        self.average = {k: v.clone() for k, v in self.model.state_dict().items()}
        kind_of_step = GraphedStep if on_gpu and graphed and self.objective.crops.at_once else Step
        self.step = kind_of_step(self.objective, config.optimisation, self.average)
        if resumes:
            self._restore()

    def _begin(self) -> None:
        """Weights of the model that the configuration starts from, or new ones."""
        if self.config.start is None:
            self.objective.start()
            return
        try:
            weights = load_network(load_model(self.config.start).folder).state_dict()
        except ModelError as error:
            raise ConfigError(f"start: {error}") from None
        try:
            self.model.load_state_dict(weights)
        except RuntimeError:
            raise ConfigError(f"start: {self.config.start} has another network") from None

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

    def run(
        self,
        *,
        save_every_s: float = 60.0,
        validate_every: int = 1000,
        stop_at: float = math.inf,
        tell: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Train to the end, saving as it goes; nothing is done for a run that is finished.

        Args:
            stop_at: by `time.monotonic`: save and return then, to go on another time.
            tell: takes how far the schedule has come, in crops of so many.
        """
        if self.finished:
            log.info("%s: finished before", self.config.name)
            return
        log.info("%s: training, %.0f %% done", self.config.name, 100 * self.fraction)
        saved, validated, steps = time.monotonic(), time.monotonic(), 0
        while self.fraction < 1 and time.monotonic() < stop_at:
            before = self._clock()
            self.advance()
            steps += 1
            if steps > self.starting:
                self.progress.seconds += self._clock() - before
            total = self.config.optimisation.crops
            tell(int(self.fraction * total), total)
            if (
                self.progress.step % validate_every == 0
                and time.monotonic() - validated >= self.validate_every_s
            ):
                self._validate()
                validated = time.monotonic()
            if time.monotonic() - saved > save_every_s:
                self.save()
                saved = time.monotonic()
        if self.fraction == 1 and not self.finished:
            self._validate()
        self.save()
        if self.progress.curve:
            draw_run(self.folder)

    def _clock(self) -> float:
        """Seconds.

        On a CPU those that this process worked, for each of its threads: other work on the
        machine, or a pause, then takes nothing from a time budget.
        """
        if self.device == "cpu":
            return time.process_time() / torch.get_num_threads()
        return time.monotonic()

    def average_model(self) -> nn.Module:
        """The network with the averaged weights, in evaluation mode."""
        model: nn.Module = build_model(self.config.network, self.config.normalisation)
        model.load_state_dict(self.average)
        return model.to(self.device).eval()

    def save(self) -> None:
        """Write the checkpoint whole or not at all."""
        state: dict[str, Any] = {
            "config": msgspec.to_builtins(self.config),
            "model": self.model.state_dict(),
            "average": self.average,
            "optimiser": self.step.optimiser.state_dict(),
            **self.objective.crops.state(),
            "progress": vars(self.progress),
            "hardware": describe_hardware(self.device),
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
        for name, values in self.average.items():
            values.copy_(state["average"][name])
        self.step.restore(state["optimiser"])
        self.objective.crops.restore(state)
        self.progress = Progress(**state["progress"])

    def _learning_rate(self) -> float:
        settings = self.config.optimisation
        warm = min(1.0, (self.progress.step + 1) / max(1, settings.warm_up))
        return settings.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * self.fraction))

    def advance(self) -> None:
        """One step."""
        # A short memory at first, so that the random start is forgotten.
        step = self.progress.step + 1
        decay = min(self.config.optimisation.averaging, step / (step + 10))
        self.step.run(self._learning_rate(), decay)
        self.progress.step = step
        if step % WAIT_EVERY == 0:
            self.step.wait()

    def _validate(self) -> None:
        """One row of the curve: figures on fresh crops with the averaged weights."""
        loss = float(self.step.running)
        figures = self.objective.measure(self.average_model())
        row = {
            "step": self.progress.step,
            "crops": self.progress.step * self.config.optimisation.batch,
            "seconds": round(self.progress.seconds, 1),
            "loss": loss,
            **figures,
        }
        self.progress.curve.append(row)
        with (self.folder / "curve.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, row)
            writer.writeheader()
            writer.writerows(self.progress.curve)
        measured = "  ".join(f"{name} {value:.2f}" for name, value in figures.items())
        log.info("crops %d  loss %.4f  %s  %.0f s", row["crops"], loss, measured, row["seconds"])

"""What a training run leaves behind, read without the machinery that made it."""

import math
import pickle
import platform
import struct
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from dscsnet.engines.networks.stored import AnyModel, build_model
from dscsnet.pipeline.errors import ConfigError
from dscsnet.tools.training.config import Optimisation, TrainConfig, stored_train_config

CHECKPOINT = "checkpoint.pt"

#: A weight of early checkpoints that never had an effect: it multiplied z = 0.
WITHOUT_EFFECT = "network.stages.0.keep"

#: What torch, zipfile and the unpickler raise for files that are no checkpoints of ours.
DAMAGED = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, EOFError),
    *(
        AssertionError,
        MemoryError,
        OverflowError,
        struct.error,
        pickle.UnpicklingError,
        msgspec.ValidationError,
    ),
)


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        seconds: of training; validation and saving are not in it.
        curve: the rows of `curve.csv`.
    """

    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)

    def fraction(self, settings: Optimisation) -> float:
        """How much of the schedule is done, by crops or by time, whichever is further: 0 to 1."""
        by_crops = self.step / math.ceil(settings.crops / settings.batch)
        by_time = self.seconds / settings.seconds if settings.seconds else 0.0
        return min(1.0, max(by_crops, by_time))


@dataclass(frozen=True)
class TrainedRun:
    """A run's averaged weights and how they came to be.

    Attributes:
        model: in evaluation mode, on the CPU.
        hardware: on which it was trained last.
    """

    config: TrainConfig
    model: AnyModel
    progress: Progress
    hardware: str

    @property
    def crops(self) -> int:
        """Crops seen."""
        return self.progress.step * self.config.optimisation.batch


def describe_hardware(device: str) -> str:
    """What a network is trained on, for its card."""
    if torch.device(device).type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    threads = torch.get_num_threads()
    return f"{platform.machine()} CPU, {threads} thread(s), torch {torch.__version__}"


def read_run(folder: Path, config: TrainConfig | None = None) -> TrainedRun:
    """Read the checkpoint of a run.

    Args:
        config: stands in for the stored one, of which only the network must be the same.

    Raises:
        ConfigError: there is no checkpoint, it is damaged, or it is of another network.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise ConfigError(f"{path}: no such checkpoint; train the network first")
    state = load_state(path)
    try:
        stored = stored_train_config(state["config"])
        if config is not None:
            check_same_network(path, stored, config)
        config = config or stored
        model = build_model(config.network, config.normalisation)
        weights: dict[str, Tensor] = state["average"]
        model.load_state_dict({k: v for k, v in weights.items() if k != WITHOUT_EFFECT})
        # Runs of before did not say; they were trained on a CPU.
        hardware = state.get("hardware") or describe_hardware("cpu")
        return TrainedRun(config, model.eval(), Progress(**state["progress"]), hardware)
    except DAMAGED as error:
        raise _unusable(path, error) from None


def load_state(path: Path, device: str = "cpu") -> dict[str, Any]:
    """The checkpoint's contents; only tensors and plain values are accepted.

    Raises:
        ConfigError: the file is no checkpoint.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats that are refused or read all the same
            state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except DAMAGED as error:
        raise _unusable(path, error) from None
    if not isinstance(state, dict):
        raise ConfigError(f"{path}: not a checkpoint: expected a map, got {type(state).__name__}")
    return state


def _unusable(path: Path, error: Exception) -> ConfigError:
    first = (str(error).splitlines() or [""])[0]
    return ConfigError(f"{path}: not a usable checkpoint: {type(error).__name__}: {first}")


def check_same_network(path: Path, stored: TrainConfig, given: TrainConfig) -> None:
    """Raise a `ConfigError` unless both configurations build the same network."""
    if stored.network != given.network:
        raise ConfigError(
            f"{path}: a run of another configuration; give another folder with --runs"
        )

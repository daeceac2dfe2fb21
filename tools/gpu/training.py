"""How fast networks are trained on a device, one way of stepping beside another."""

import gc
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from msgspec.structs import replace
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from dscsnet.engines.errors import first_line
from dscsnet.engines.runtimes.torch_precision import no_hidden_rounding
from dscsnet.tools.training.config import TrainConfig, load_train_config
from dscsnet.tools.training.trainer import Trainer

#: What the host has to do for a kernel, and what makes it wait, as the profiler names them.
LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cudaMemcpyAsync")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
#: Steps that a profile covers.
PROFILED = 3


@dataclass(frozen=True)
class Way:
    """One way to train.

    Attributes:
        config: file of the training configuration.
        batch: crops a step, in place of the configuration's.
    """

    config: str
    batch: int
    graphed: bool = True
    mixed_precision: bool = False
    compiled: bool = False

    @property
    def name(self) -> str:
        """In words."""
        kind = "one graph a step" if self.graphed else "kernel by kernel"
        precision = "bf16" if self.mixed_precision else "fp32"
        return f"{kind}, {precision}{', compiled' if self.compiled else ''}"


@dataclass(frozen=True)
class Stepped:
    """What came of it.

    Attributes:
        start_s: until the first steps were done: pools, compilation, recording.
        launches, waits: of the host in a step; None: not profiled.
        refused: why there are no figures.
    """

    model: str
    way: str
    batch: int
    crops_per_s: float = 0.0
    start_s: float = 0.0
    loss: float = 0.0
    memory_gib: float = 0.0
    launches: float | None = None
    waits: float | None = None
    refused: str = ""


#: The field model, then the network of the paper's size; what is slow to start comes last.
FIELD, PAPER = "configs/train/field-unfolded.yaml", "configs/train/csist100k-paper.yaml"
WAYS = (
    Way(FIELD, 256, graphed=False),
    Way(FIELD, 4096),
    Way(FIELD, 4096, mixed_precision=True),
    Way(PAPER, 64, graphed=False),
    Way(PAPER, 512, mixed_precision=True),
    Way(PAPER, 512, mixed_precision=True, compiled=True),
    Way(FIELD, 4096, compiled=True),
    Way(FIELD, 4096, mixed_precision=True, compiled=True),
    Way(PAPER, 512),
)


def step_speeds(
    ways: tuple[Way, ...], device: str, steps: int, deadline: float
) -> Iterator[Stepped]:
    """Each way for some steps.

    Args:
        deadline: by `time.monotonic`; ways that would begin after it are left out.
    """
    for way in ways:
        name = Path(way.config).stem
        if time.monotonic() > deadline:
            yield Stepped(name, way.name, way.batch, refused="no time was left")
            continue
        try:
            yield _step_speed(way, device, steps)
        except Exception as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
            yield Stepped(name, way.name, way.batch, refused=reason)
        gc.collect()
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def _step_speed(way: Way, device: str, steps: int) -> Stepped:
    config = with_batch(load_train_config(Path(way.config)), way.batch)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            config,
            Path(folder),
            device,
            compiled=way.compiled,
            mixed_precision=way.mixed_precision,
            graphed=way.graphed,
        )
        for _ in range(5):
            trainer.advance()
        trainer.step.wait()
        begun = time.monotonic()
        for _ in range(steps):
            trainer.advance()
        trainer.step.wait()
        taken = time.monotonic() - begun
        launches, waits = _calls(trainer) if device.startswith("cuda") else (None, None)
        memory = torch.cuda.max_memory_allocated() / 2**30 if device.startswith("cuda") else 0.0
        return Stepped(
            config.name,
            way.name,
            way.batch,
            crops_per_s=steps * way.batch / taken,
            start_s=begun - started,
            loss=float(trainer.step.running),
            memory_gib=memory,
            launches=launches,
            waits=waits,
        )


def with_batch(config: TrainConfig, batch: int) -> TrainConfig:
    """The configuration with another number of crops a step."""
    return replace(config, optimisation=replace(config.optimisation, batch=batch))


def _calls(trainer: Trainer) -> tuple[float | None, float | None]:
    """Launches and waits of the host in a step; none where the driver lets nobody look."""
    try:
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
            for _ in range(PROFILED):
                trainer.advance()
    except RuntimeError:
        return None, None
    counts = {event.key: event.count for event in profiled.key_averages()}

    def total(names: tuple[str, ...]) -> float:
        return sum(count for key, count in counts.items() if key.startswith(names)) / PROFILED

    return total(LAUNCHES), total(WAITS)


def gradient_agreement(config_path: str, device: str, crops: int) -> dict[str, float]:
    """Cosine of a batch's gradient in each precision with that in plain float32."""
    config = with_batch(load_train_config(Path(config_path)), crops)
    with tempfile.TemporaryDirectory() as folder:
        objective = Trainer(config, Path(folder), device, graphed=False).objective
    given = objective.crops.give(crops, estimate_noise=True)
    objective.crops.give = lambda *_, **__: given  # type: ignore[method-assign]
    kind = torch.device(device).type

    def gradient() -> Tensor:
        objective.model.zero_grad()
        objective.loss(crops).backward()
        parts = [p.grad.flatten() for p in objective.model.parameters() if p.grad is not None]
        return torch.cat(parts).double()

    with no_hidden_rounding():
        plain = gradient()
    usual = gradient()
    objective.precision = lambda: torch.autocast(kind, torch.bfloat16)
    rounded = {"fp32, as PyTorch has it": usual, "bf16": gradient()}
    return {
        name: float(torch.cosine_similarity(plain, other, dim=0)) for name, other in rounded.items()
    }

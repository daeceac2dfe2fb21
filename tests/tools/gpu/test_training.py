"""Speeds of training on a GPU that is made up: what is stepped, timed, counted and compared."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from dscsnet.engines.errors import ModelError  # noqa: E402
from dscsnet.tools.gpu import training as module  # noqa: E402
from dscsnet.tools.gpu.training import FIELD, PAPER, WAYS, Stepped, Way, step_speeds  # noqa: E402

SMALL = "configs/train/csist100k-compact.yaml"


class FakeTrainer:
    """A step takes 2 s, a wait 1 s, making it 10 s; all of it is noted."""

    made: list["FakeTrainer"]
    clock: SimpleNamespace

    def __init__(self, config: Any, folder: Path, device: str, **given: Any) -> None:
        assert folder.is_dir()
        self.given = (config.name, config.optimisation.batch, device, given)
        self.deeds: list[str] = []
        self.step = SimpleNamespace(running=torch.tensor(0.25), wait=self.wait)
        self.made.append(self)
        self.clock.now += 10

    def advance(self) -> None:
        self.deeds.append("step")
        self.clock.now += 2

    def wait(self) -> None:
        self.deeds.append("wait")
        self.clock.now += 1


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Moved by the trainer alone; `cleared` counts what is cleared away after a way."""
    clock = SimpleNamespace(now=100.0, cleared=[])
    clock.monotonic = lambda: clock.now
    FakeTrainer.made, FakeTrainer.clock = [], clock
    monkeypatch.setattr(module, "Trainer", FakeTrainer)
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(gc, "collect", lambda: clock.cleared.append("garbage"))
    for name in ("empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda what=name: clock.cleared.append(what))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 * 2**29)
    return clock


def test_ways_in_words() -> None:
    assert (Way("a", 8).graphed, Way("a", 8).mixed_precision, Way("a", 8).compiled) == (
        *(True, False, False),
    )
    assert Way("a", 8).name == "one graph a step, fp32"
    assert Way("a", 8, graphed=False, mixed_precision=True).name == "kernel by kernel, bf16"
    assert Way("a", 8, compiled=True).name == "one graph a step, fp32, compiled"


def test_ways_are_the_documented_ones_and_what_is_slow_to_start_is_late() -> None:
    assert {(way.config, way.batch) for way in WAYS} == {
        *((FIELD, 256), (FIELD, 4096), (PAPER, 64), (PAPER, 512)),
    }
    assert [(Path(way.config).stem, way.batch, way.name) for way in WAYS] == [
        ("field-unfolded", 256, "kernel by kernel, fp32"),
        ("field-unfolded", 4096, "one graph a step, fp32"),
        ("field-unfolded", 4096, "one graph a step, bf16"),
        ("csist100k-paper", 64, "kernel by kernel, fp32"),
        ("csist100k-paper", 512, "one graph a step, bf16"),
        ("csist100k-paper", 512, "one graph a step, bf16, compiled"),
        ("field-unfolded", 4096, "one graph a step, fp32, compiled"),
        ("field-unfolded", 4096, "one graph a step, bf16, compiled"),
        ("csist100k-paper", 512, "one graph a step, fp32"),
    ]


def test_steps_are_timed_after_the_first_five(clock: SimpleNamespace) -> None:
    (line,) = step_speeds((Way(SMALL, 12, graphed=False),), "cpu", 7, clock.now)
    (trainer,) = FakeTrainer.made
    usual = {"compiled": False, "mixed_precision": False, "graphed": False}
    assert trainer.given == ("csist100k-compact", 12, "cpu", usual)
    assert trainer.deeds == [*["step"] * 5, "wait", *["step"] * 7, "wait"]
    assert line == Stepped(
        *("csist100k-compact", "kernel by kernel, fp32", 12),
        crops_per_s=7 * 12 / 15,
        start_s=21.0,
        loss=0.25,
    )
    assert (line.memory_gib, line.launches, line.waits, line.refused) == (0.0, None, None, "")
    assert clock.cleared == ["garbage"]


def test_on_a_gpu_memory_and_calls_are_told_and_all_is_cleared_away(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_calls", lambda trainer: (9.0, 2.0))
    ways = (Way(SMALL, 12, mixed_precision=True, compiled=True), Way(SMALL, 4))
    lines = list(step_speeds(ways, "cuda:1", 1, clock.now + 1000))
    given = [trainer.given[1:] for trainer in FakeTrainer.made]
    assert given == [
        (12, "cuda:1", {"compiled": True, "mixed_precision": True, "graphed": True}),
        (4, "cuda:1", {"compiled": False, "mixed_precision": False, "graphed": True}),
    ]
    assert [(line.memory_gib, line.launches, line.waits) for line in lines] == [(1.5, 9, 2)] * 2
    assert clock.cleared == ["garbage", "empty_cache", "reset_peak_memory_stats"] * 2


def test_no_way_is_begun_after_the_deadline(clock: SimpleNamespace) -> None:
    lines = list(step_speeds((Way(SMALL, 4),) * 3, "cpu", 1, clock.now + 30))
    # Each takes 24 s: the second begins before the deadline.
    assert [line.refused for line in lines] == ["", "", "no time was left"]
    assert len(FakeTrainer.made) == 2


def test_a_way_that_fails_leaves_the_others(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ModelError("too large")

    monkeypatch.setattr(module, "Trainer", fail)
    lines = list(step_speeds((Way(SMALL, 4), Way(SMALL, 8)), "cuda", 1, clock.now))
    assert [(line.batch, line.refused) for line in lines] == [
        (4, "ModelError: too large"),
        (8, "ModelError: too large"),
    ]
    assert len(clock.cleared) == 6


@contextmanager
def profiled(activities: list[Any]) -> Iterator[Any]:
    assert [each.name for each in activities] == ["CPU", "CUDA"]
    events = {
        **{"cudaLaunchKernel": 30, "cudaLaunchKernelExC": 3, "cuLaunchKernel": 6},
        **{"cudaGraphLaunch": 9, "cudaMemcpyAsync": 12, "cudaStreamSynchronize": 3},
        **{"cudaDeviceSynchronize": 6, "cudaEventSynchronize": 9, "aten::add": 1000},
    }
    rows = [SimpleNamespace(key=key, count=count) for key, count in events.items()]
    yield SimpleNamespace(key_averages=lambda: rows)


def test_calls_of_the_host_are_counted_over_three_steps(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer: Any = FakeTrainer(
        SimpleNamespace(name="a", optimisation=SimpleNamespace(batch=1)), Path(), "cuda"
    )
    monkeypatch.setattr(module, "profile", profiled)
    assert module._calls(trainer) == (20.0, 6.0)
    assert trainer.deeds == ["step"] * 3

    def nobody_may_look(**_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(module, "profile", nobody_may_look)
    assert module._calls(trainer) == (None, None)


def test_a_gradient_is_that_of_its_own_precision_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients (1, 0), (1, 1) and (0, 1): 45 degrees, and a right angle."""
    weights = torch.nn.Parameter(torch.zeros(2))
    unused = torch.nn.Parameter(torch.zeros(3))
    turns = iter(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    asked: list[Any] = []

    class Objective:
        model = torch.nn.Module()
        precision: Any = staticmethod(lambda: None)

        def __init__(self) -> None:
            self.model.register_parameter("weights", weights)
            self.model.register_parameter("unused", unused)
            self.crops = SimpleNamespace(give=lambda number, **given: asked.append((number, given)))

        def loss(self, crops: int) -> Any:
            assert crops == 40
            self.crops.give(crops)
            return (weights * next(turns)).sum()

    def make(config: Any, folder: Path, device: str, *, graphed: bool) -> Any:
        assert (config.optimisation.batch, device, graphed) == (40, "cpu", False)
        return SimpleNamespace(objective=objective)

    objective = Objective()
    monkeypatch.setattr(module, "Trainer", make)
    cosines = module.gradient_agreement(SMALL, "cpu", 40)
    assert list(cosines) == ["fp32, as PyTorch has it", "bf16"]
    assert list(cosines.values()) == pytest.approx([0.5**0.5, 0.0])
    assert asked == [(40, {"estimate_noise": True})]  # the same crops for all
    with objective.precision():
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16

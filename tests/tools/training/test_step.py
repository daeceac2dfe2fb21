"""Steps of a training, and the recorded ones with a made-up graph in the place of CUDA's."""

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from msgspec.structs import replace  # noqa: E402

from dscsnet.engines.networks.layers import full_precision  # noqa: E402
from dscsnet.tools.training.config import TrainConfig, load_train_config  # noqa: E402
from dscsnet.tools.training.objective import Objective, make_objective  # noqa: E402
from dscsnet.tools.training.step import WARM_UP, GraphedStep, Step  # noqa: E402


def make_config() -> TrainConfig:
    config = load_train_config(Path("configs/train/csist100k-compact.yaml"))
    # Five targets that keep their distance are rare: drawing them would take seconds.
    protocol = replace(config.protocol, targets=(1, 2))
    return replace(config, protocol=protocol, optimisation=replace(config.optimisation, batch=8))


def make(kind: type[Step]) -> tuple[Objective, dict[str, Any], Step]:
    config = make_config()
    objective = make_objective(config, "cpu")
    average = {name: value.clone() for name, value in objective.model.state_dict().items()}
    return objective, average, kind(objective, config.optimisation, average)


def test_averages_and_the_running_loss_follow() -> None:
    objective, average, step = make(Step)
    before = {name: value.clone() for name, value in average.items()}
    step.run(1e-2, 0.75)
    first = float(step.loss)
    assert float(step.running) == first
    values = objective.model.state_dict()
    for name, value in values.items():
        expected = 0.75 * before[name] + 0.25 * value
        torch.testing.assert_close(average[name], expected, rtol=1e-5, atol=1e-7, msg=name)
    step.run(1e-2, 0.75)
    assert float(step.running) == pytest.approx(0.99 * first + 0.01 * float(step.loss), rel=1e-12)


class MadeUp:
    """Runs what was recorded again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.registered: list[Any] = []
        self.replays, self.recording = 0, False
        self.step: GraphedStep | None = None
        stream = SimpleNamespace(wait_stream=lambda other: None)
        for name, value in {
            "CUDAGraph": lambda: self,
            "graph": self.record,
            "synchronize": lambda device: None,
            "Stream": lambda device: stream,
            "current_stream": lambda device: stream,
            "stream": lambda stream: contextlib.nullcontext(),
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)

    def register_generator_state(self, generator: Any) -> None:
        self.registered.append(generator)

    @contextlib.contextmanager
    def record(self, graph: Any, capture_error_mode: str) -> Any:
        assert graph is self
        assert capture_error_mode == "thread_local"
        assert self.step is not None
        # Gradients of before would lie outside the graph's memory.
        assert all(weight.grad is None for weight in self.step.weights)
        # Recording executes nothing.
        compute, self.step._compute = self.step._compute, lambda: None  # type: ignore[method-assign]
        yield
        self.step._compute = compute  # type: ignore[method-assign]

    def replay(self) -> None:
        assert self.step is not None
        self.replays += 1
        self.step._compute()


def test_a_recorded_step_is_replayed_with_the_same_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = MadeUp(monkeypatch)
    _, usual_average, usual = make(Step)
    objective, average, recorded = make(GraphedStep)
    assert isinstance(recorded, GraphedStep)
    gpu.step = recorded
    for number in range(WARM_UP + 4):
        for step in (usual, recorded):
            step.run(1e-3 * (number + 1), 0.9)
    assert gpu.registered == [objective.crops.generator]
    # Recording was no step, and its first replay was the one that was asked for.
    assert gpu.replays == 4
    for name, value in usual_average.items():
        torch.testing.assert_close(average[name], value, rtol=0, atol=0, msg=name)


def test_an_optimiser_of_a_gpu_goes_on_on_a_cpu() -> None:
    _, _, step = make(Step)
    step.run(1e-3, 0.9)
    state = step.optimiser.state_dict()
    for group in state["param_groups"]:
        group.update(fused=True, capturable=True, lr=torch.tensor(1e-3))
    _, _, other = make(Step)
    other.restore(state)
    other.run(1e-3, 0.9)
    for group in other.optimiser.param_groups:
        assert not group["capturable"]
        assert not group["fused"]
        assert group["lr"] == 1e-3


def test_full_precision_within_mixed_precision() -> None:
    seen = []

    def product(left: Any, right: Any) -> Any:
        seen.append((left.dtype, right.dtype))
        return left @ right

    left, right = torch.randn(4, 4), torch.randn(4, 4)
    plain = left @ right
    assert torch.equal(full_precision(product, left, right), plain)
    with torch.autocast("cpu", torch.bfloat16):
        assert (left @ right).dtype == torch.bfloat16
        exact = full_precision(product, left, right)
        full_precision(product, left.bfloat16(), right)
        assert torch.is_autocast_enabled("cpu")
    assert torch.equal(exact, plain)
    assert seen == [(torch.float32, torch.float32)] * 3


def test_the_optimiser_is_adamw_that_remembers_50_squares_and_decays_matrices_alone() -> None:
    """Two steps by hand: Loshchilov and Hutter's update with decays 0.9 and 0.98."""
    objective, _, step = make(Step)
    named = dict(objective.model.named_parameters())
    matrix = next(p for p in named.values() if p.dim() > 1)
    vector = next(p for p in named.values() if p.dim() == 1)
    decay, rate = step.settings.weight_decay, 1e-2
    wanted = {id(p): p.detach().double() for p in (matrix, vector)}
    first = {key: torch.zeros_like(value) for key, value in wanted.items()}
    second = {key: torch.zeros_like(value) for key, value in wanted.items()}
    for number in (1, 2):
        step.run(rate, 0.9)
        for weights, share in ((matrix, decay), (vector, 0.0)):
            gradient, key = weights.grad.double(), id(weights)
            first[key] = 0.9 * first[key] + 0.1 * gradient
            second[key] = 0.98 * second[key] + 0.02 * gradient**2
            unit = first[key] / (1 - 0.9**number)
            size = (second[key] / (1 - 0.98**number)).sqrt() + 1e-8
            wanted[key] = wanted[key] * (1 - rate * share) - rate * unit / size
            error = (weights - wanted[key]).abs().max()
            assert error < 1e-6, (number, weights.shape)

"""How far a run has come, at the ends of its budgets."""

import pytest

torch = pytest.importorskip("torch")

from dscsnet.tools.training.checkpoint import Progress, describe_hardware  # noqa: E402
from dscsnet.tools.training.config import Optimisation  # noqa: E402


@pytest.mark.parametrize(
    ("step", "seconds", "budget", "fraction"),
    [
        (0, 0.0, None, 0.0),
        (2, 900.0, None, 0.5),  # 100 crops in batches of 32 are 4 steps
        (4, 0.0, None, 1.0),
        (5, 0.0, None, 1.0),
        (1, 30.0, 40.0, 0.75),
        (3, 10.0, 40.0, 0.75),
        (1, 50.0, 40.0, 1.0),
    ],
)
def test_the_budget_that_is_nearer_to_its_end_counts(
    step: int, seconds: float, budget: float | None, fraction: float
) -> None:
    settings = Optimisation(crops=100, batch=32, seconds=budget)
    assert Progress(step, seconds).fraction(settings) == fraction


def test_the_hardware_of_a_run_is_the_one_that_it_was_trained_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Card {device}")
    assert describe_hardware("cuda:1") == f"Card cuda:1, torch {torch.__version__}"
    here = describe_hardware("cpu")
    assert here.endswith(f"{torch.get_num_threads()} thread(s), torch {torch.__version__}")

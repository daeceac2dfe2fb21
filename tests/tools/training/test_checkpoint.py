"""How far a run has come, at the ends of its budgets."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch")

from dscsnet.engines.networks.srcnn import SRCNNConfig  # noqa: E402
from dscsnet.engines.networks.stored import build_model  # noqa: E402
from dscsnet.pipeline.errors import ConfigError  # noqa: E402
from dscsnet.tools.training import checkpoint as module  # noqa: E402
from dscsnet.tools.training.checkpoint import (  # noqa: E402
    CHECKPOINT,
    Progress,
    describe_hardware,
    load_state,
    read_run,
)
from dscsnet.tools.training.config import Optimisation, TrainConfig  # noqa: E402


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


def stored_run(folder: Path, **changes: Any) -> Path:
    """A checkpoint as a trainer writes it, with changes; None leaves a part out."""
    config = TrainConfig(name="tiny", description="", network=SRCNNConfig(field_size=3))
    model = build_model(config.network, config.normalisation)
    state: dict[str, Any] = {
        "config": msgspec.to_builtins(config),
        "average": model.state_dict(),
        "progress": vars(Progress(7, 2.5)),
        "hardware": "an abacus",
        **changes,
    }
    path = folder / CHECKPOINT
    torch.save({name: value for name, value in state.items() if value is not None}, path)
    return path


def test_a_run_is_read_as_it_was_stored(tmp_path: Path) -> None:
    stored_run(tmp_path)
    run = read_run(tmp_path)
    assert (run.config.name, run.progress, run.hardware) == ("tiny", Progress(7, 2.5), "an abacus")
    assert not run.model.training
    assert run.crops == 7 * run.config.optimisation.batch
    other = msgspec.structs.replace(run.config, name="renamed")
    assert read_run(tmp_path, other).config is other


def test_a_run_of_before_was_on_a_cpu(tmp_path: Path) -> None:
    stored_run(tmp_path, hardware=None)
    assert read_run(tmp_path).hardware == describe_hardware("cpu")


def test_a_run_of_another_network_is_refused(tmp_path: Path) -> None:
    stored_run(tmp_path)
    other = TrainConfig(name="tiny", description="", network=SRCNNConfig(field_size=5))
    with pytest.raises(ConfigError, match=r"checkpoint\.pt: a run of another configuration"):
        read_run(tmp_path, other)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"average": None}, "not a usable checkpoint: KeyError"),
        ({"config": {"name": 3}}, "not a usable checkpoint: ValidationError"),
        ({"progress": {"pace": 1}}, "not a usable checkpoint: TypeError"),
        ({"average": {}}, "not a usable checkpoint: RuntimeError"),
    ],
)
def test_what_a_run_lacks_is_told_in_a_line(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    path = stored_run(tmp_path, **changes)
    with pytest.raises(ConfigError, match=words) as caught:
        read_run(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_checkpoints_are_named(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT
    path.write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"checkpoint\.pt: not a usable checkpoint: "):
        load_state(path)
    torch.save([1, 2], path)
    with pytest.raises(ConfigError, match="not a checkpoint: expected a map, got list"):
        load_state(path)
    assert str(module._unusable(path, ValueError())).endswith(
        "not a usable checkpoint: ValueError: "
    )

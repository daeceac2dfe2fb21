"""Training: learns, resumes where it stopped, exports what the runtime reproduces."""

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from engines.engine import open_engine  # noqa: E402
from engines.errors import ModelError  # noqa: E402
from engines.model import load_model  # noqa: E402
from engines.networks.config import NetworkConfig  # noqa: E402
from pipeline.errors import ConfigError  # noqa: E402
from tools.evaluation import evaluate  # noqa: E402
from tools.export import export_model, reference_output  # noqa: E402
from tools.shipped import load_network  # noqa: E402
from tools.simulation import Protocol  # noqa: E402
from tools.train_config import Optimisation, TrainConfig, load_train_config  # noqa: E402
from tools.training import Trainer  # noqa: E402

ROOT = Path(__file__).parents[2]

CONFIG = TrainConfig(
    name="tiny",
    description="for tests",
    network=NetworkConfig(field_size=3, width=4, depth=0, stages=2, fused_stages=2),
    protocol=Protocol(targets=(1, 2)),
    optimisation=Optimisation(crops=32 * 60, batch=32, warm_up=5, learning_rate=5e-3),
)


@pytest.fixture(scope="module", name="trained")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    trainer = Trainer(CONFIG, tmp_path_factory.mktemp("run"))
    trainer.run(validate_every=30)
    return trainer


def test_it_learns_and_writes_its_curve(trained: Trainer) -> None:
    rows = (trained.folder / "curve.csv").read_text().splitlines()
    assert rows[0] == "step,crops,seconds,loss,cso_map"
    last = rows[-1].split(",")
    assert last[:2] == ["60", "1920"]
    assert float(last[4]) > 10


def test_a_resumed_run_gives_the_same_weights(trained: Trainer, tmp_path: Path) -> None:
    trainer = Trainer(CONFIG, tmp_path)
    for _ in range(25):
        trainer._step()
    trainer.save()
    resumed = Trainer(CONFIG, tmp_path)
    assert resumed.progress.step == 25
    resumed.run(validate_every=30)
    for name, value in trained.average.items():
        torch.testing.assert_close(resumed.average[name], value, rtol=0, atol=0, msg=name)


def test_a_checkpoint_of_another_network_is_refused(trained: Trainer) -> None:
    other = msgspec.structs.replace(
        CONFIG, network=msgspec.structs.replace(CONFIG.network, width=8)
    )
    with pytest.raises(ConfigError, match="another configuration"):
        Trainer(other, trained.folder)


def test_learning_rate_warms_up_and_decays(tmp_path: Path) -> None:
    trainer = Trainer(CONFIG, tmp_path)
    rates = []
    for trainer.progress.step in range(trainer.steps):
        rates.append(trainer._learning_rate())
    assert rates[0] == pytest.approx(5e-3 / 5, rel=1e-3)
    assert max(rates) == pytest.approx(5e-3, rel=0.02)
    assert rates[30] == pytest.approx(5e-3 * 0.5 * (1 + math.cos(math.pi / 2)))
    assert rates[-1] < 1e-5


def test_an_exported_model_is_the_network(trained: Trainer, tmp_path: Path) -> None:
    card = export_model(trained, tmp_path)
    engine = open_engine(tmp_path)
    engine.check(batch_sizes=(1, 3))
    assert card == load_model(tmp_path).card
    assert card.training.crops == 1920
    crops = np.random.default_rng(0).uniform(0, 300, (5, 11, 11)).astype(np.float32)
    reference = reference_output(load_network(engine.model), crops)
    for number in (1, 5):
        result = engine.runtime.run({"crops": crops[:number]})["grid"]
        error = np.linalg.norm(result - reference[:number]) / np.linalg.norm(reference[:number])
        assert error < 1e-6
    report = evaluate(engine, CONFIG.protocol, crops=100, seed=1)
    assert sum(row.crops for row in report.by_count.values()) == 100
    assert 0 < report.precision.cso_map < 47.5


def test_an_altered_export_fails(trained: Trainer, tmp_path: Path) -> None:
    export_model(trained, tmp_path)
    path = tmp_path / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(ModelError, match="altered"):
        open_engine(tmp_path)


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "train").glob("*.yaml")))
def test_shipped_configurations_are_valid(path: Path) -> None:
    config = load_train_config(path)
    assert config.name == path.stem
    assert config.network.field_size == config.protocol.field_size or not config.protocol.neighbour

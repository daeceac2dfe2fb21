"""Training: learns, resumes where it stopped, exports what the runtime reproduces."""

import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dscsnet.engines.errors import ModelError  # noqa: E402
from dscsnet.engines.model import load_model  # noqa: E402
from dscsnet.engines.model_engine import ModelEngine, open_model_engine  # noqa: E402
from dscsnet.engines.networks.config import NetworkConfig  # noqa: E402
from dscsnet.engines.networks.dista_net import DISTANetConfig  # noqa: E402
from dscsnet.engines.networks.ista_net import ISTANetPlusConfig  # noqa: E402
from dscsnet.engines.networks.offgrid import OffGridConfig  # noqa: E402
from dscsnet.engines.networks.one_stage import OneStageConfig  # noqa: E402
from dscsnet.engines.networks.registry import AnyNetworkConfig  # noqa: E402
from dscsnet.engines.networks.srcnn import SRCNNConfig  # noqa: E402
from dscsnet.engines.networks.stored import load_network  # noqa: E402
from dscsnet.engines.runtimes import RuntimeOptions  # noqa: E402
from dscsnet.pipeline.errors import ConfigError  # noqa: E402
from dscsnet.tools.evaluation.simulated_crops import evaluate  # noqa: E402
from dscsnet.tools.export.model_folder import export_model, reference_outputs  # noqa: E402
from dscsnet.tools.simulation.csist import CropProtocol  # noqa: E402
from dscsnet.tools.training import trainer as module  # noqa: E402
from dscsnet.tools.training.checkpoint import read_run  # noqa: E402
from dscsnet.tools.training.config import (  # noqa: E402
    Optimisation,
    TrainConfig,
    find_train_configs,
    load_train_config,
    stored_train_config,
)
from dscsnet.tools.training.trainer import Trainer  # noqa: E402

ROOT = Path(__file__).parents[3]

CONFIG = TrainConfig(
    name="tiny",
    description="for tests",
    network=NetworkConfig(field_size=3, width=4, depth=0, stages=2, fused_stages=2),
    protocol=CropProtocol(targets=(1, 2)),
    optimisation=Optimisation(crops=32 * 60, batch=32, warm_up=5, learning_rate=5e-3),
)


def opened(folder: Path) -> ModelEngine:
    return open_model_engine(folder, "auto", options=RuntimeOptions(threads=1))


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
        trainer.advance()
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
    for step in range(trainer.steps):
        trainer.progress.step = step
        rates.append(trainer._learning_rate())
    assert rates[0] == pytest.approx(5e-3 / 5, rel=1e-3)
    assert max(rates) == pytest.approx(5e-3, rel=0.02)
    assert rates[30] == pytest.approx(5e-3 * 0.5 * (1 + math.cos(math.pi / 2)))
    assert rates[-1] < 1e-5


@pytest.fixture(scope="module")
def exported(trained: Trainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    card = export_model(read_run(trained.folder), folder)
    assert card == load_model(folder).card
    return folder


def test_an_exported_model_is_the_network(exported: Path) -> None:
    engine = opened(exported)
    engine.check(batch_sizes=(1, 3))
    assert load_model(exported).card.training.crops == 1920
    for file in exported.iterdir():
        assert str(ROOT).encode() not in file.read_bytes(), f"{file.name} names a source file"
    crops = np.random.default_rng(0).uniform(0, 300, (5, 11, 11)).astype(np.float32)
    reference = reference_outputs(load_network(engine.model.folder), {"crops": crops})["grid"]
    for number in (1, 5):
        result = engine.runtime.run({"crops": crops[:number]})["grid"]
        error = np.linalg.norm(result - reference[:number]) / np.linalg.norm(reference[:number])
        assert error < 1e-6
    report = evaluate(engine, CONFIG.protocol, crops=100, seed=1)
    assert sum(row.crops for row in report.by_count.values()) == 100
    assert 0 < report.precision.cso_map < 47.5


def test_an_altered_export_fails(exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "altered")
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(ModelError, match="altered"):
        opened(folder)


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "train").rglob("*.yaml")))
def test_shipped_configurations_are_valid(path: Path) -> None:
    config = load_train_config(path)
    assert config.name == path.stem
    if not isinstance(config.network, OffGridConfig) and config.protocol.neighbour:
        assert config.network.field_size == config.protocol.field_size


def test_folders_stand_for_the_files_in_them(tmp_path: Path) -> None:
    compared = ROOT / "configs" / "train" / "compare"
    alone = ROOT / "configs" / "train" / "csist100k-compact.yaml"
    found = find_train_configs([alone, compared])
    assert found == [alone, *sorted(compared.iterdir())]
    with pytest.raises(ConfigError, match="no training configuration"):
        find_train_configs([tmp_path])


def test_all_of_the_comparison_are_trained_alike() -> None:
    configs = [
        load_train_config(path)
        for path in find_train_configs([ROOT / "configs" / "train" / "compare"])
    ]
    assert len(configs) == 10
    for config in configs:
        assert config.optimisation == configs[0].optimisation
        assert config.protocol == configs[0].protocol == CropProtocol()
        assert config.normalisation == configs[0].normalisation
    assert configs[0].optimisation.seconds == 240


def test_a_time_budget_sets_the_schedule_and_ends_the_run(tmp_path: Path) -> None:
    settings = Optimisation(crops=32 * 100, batch=32, warm_up=1, learning_rate=1.0, seconds=50.0)
    trainer = Trainer(msgspec.structs.replace(CONFIG, optimisation=settings), tmp_path)
    trainer.progress.step, trainer.progress.seconds = 10, 25.0
    assert trainer.fraction == 0.5
    assert trainer._learning_rate() == pytest.approx(0.5)
    trainer.progress.step = 75
    assert trainer.fraction == 0.75
    trainer.progress.step, trainer.progress.seconds = 10, 51.0
    assert trainer.fraction == 1
    trainer.run()
    assert trainer.progress.step == 10
    assert trainer.finished


def test_time_goes_on_where_an_interrupted_run_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each look at the clock is half a second after the one before: a step takes half a second.
    ticks = iter(range(1000))
    monkeypatch.setattr(Trainer, "_clock", lambda _: 0.5 * next(ticks))
    settings = Optimisation(crops=10**6, batch=32, warm_up=1, seconds=4.0)
    config = msgspec.structs.replace(CONFIG, optimisation=settings)
    trainer = Trainer(config, tmp_path)
    trainer.progress.seconds = 2.5
    trainer.save()
    resumed = Trainer(config, tmp_path)
    resumed.run()
    assert resumed.progress.step == 3
    assert resumed.progress.seconds == 4.0


def test_a_finished_run_is_left_as_it_is(trained: Trainer) -> None:
    before = trained.checkpoint.read_bytes()
    again = Trainer(CONFIG, trained.folder)
    again.run()
    assert trained.checkpoint.read_bytes() == before


def test_the_default_kind_of_old_checkpoints_is_dscsnet() -> None:
    values = msgspec.to_builtins(CONFIG)
    del values["network"]["kind"]
    assert stored_train_config(values) == CONFIG


def test_an_early_checkpoint_can_be_exported_but_not_resumed(
    trained: Trainer, tmp_path: Path
) -> None:
    state = torch.load(trained.checkpoint, weights_only=True)
    del state["config"]["network"]["kind"]
    for weights in ("model", "average"):
        state[weights]["network.stages.0.keep"] = torch.tensor(0.3)
    torch.save(state, tmp_path / "checkpoint.pt")
    run = read_run(tmp_path, CONFIG)
    torch.testing.assert_close(run.model.state_dict(), trained.average_model().state_dict())
    assert run.crops == 1920
    with pytest.raises(ConfigError, match="earlier version"):
        Trainer(CONFIG, tmp_path)


def test_no_checkpoint_no_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"checkpoint.pt: no such checkpoint"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    "network",
    [
        ISTANetPlusConfig(field_size=3, stages=2, width=4),
        DISTANetConfig(field_size=3, stages=1, width=4),
        SRCNNConfig(field_size=3, patch_width=4, mapping_width=4),
        OneStageConfig(field_size=3, width=4),
    ],
    ids=lambda network: type(network).__name__,
)
def test_every_network_trains_and_exports(network: AnyNetworkConfig, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(CONFIG.optimisation, crops=32 * 4)
    config = msgspec.structs.replace(CONFIG, network=network, optimisation=settings)
    trainer = Trainer(config, tmp_path / "run")
    first = [parameter.clone() for parameter in trainer.model.parameters()]
    trainer.run()
    for before, after in zip(first, trainer.model.parameters(), strict=True):
        assert not torch.equal(before, after)
    export_model(read_run(tmp_path / "run"), tmp_path / "model")
    engine = opened(tmp_path / "model")
    engine.check(batch_sizes=(1, 3))


def test_mixed_precision_learns_as_well(tmp_path: Path) -> None:
    config = msgspec.structs.replace(
        CONFIG, optimisation=msgspec.structs.replace(CONFIG.optimisation, crops=32 * 12)
    )
    told: list[tuple[int, int]] = []
    losses = []
    for mixed in (False, True):
        trainer = Trainer(config, tmp_path / str(mixed), mixed_precision=mixed)
        trainer.run(tell=lambda done, total: told.append((done, total)))
        losses.append(trainer.progress.curve[-1]["loss"])
        assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[1] != losses[0]
    assert told[-1] == (32 * 12, 32 * 12)


class FakeStep:
    """Takes no step; notes the rate and the memory of the average of each, and the waits."""

    def __init__(self, objective: object, settings: object, average: object) -> None:
        self.running, self.taken, self.waits = 0.5, [], []
        self.optimiser = SimpleNamespace(state_dict=dict)

    def run(self, rate: float, decay: float) -> None:
        self.taken.append((rate, decay))

    def wait(self) -> None:
        self.waits.append(len(self.taken))


class FakeGraphedStep(FakeStep):
    """On a GPU."""


@pytest.fixture(name="stubbed")
def _stubbed(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Trainers train nothing; the clock goes on by a second with each look, the drawings count."""
    seen = SimpleNamespace(now=0.0, started=0, compiled=0, drawn=[], at_once=True, models=[])

    def make_objective(config: object, device: str, processes: int) -> SimpleNamespace:
        model = torch.nn.Conv2d(2, 2, 3)
        seen.models.append(model)
        return SimpleNamespace(
            model=model,
            crops=SimpleNamespace(at_once=seen.at_once, state=dict),
            start=lambda: setattr(seen, "started", seen.started + 1),
            compile=lambda: setattr(seen, "compiled", seen.compiled + 1),
            measure=lambda model: {"cso_map": 1.0},
            precision=None,
        )

    def monotonic() -> float:
        seen.now += 1.0
        return seen.now

    monkeypatch.setattr(module, "make_objective", make_objective)
    monkeypatch.setattr(module, "Step", FakeStep)
    monkeypatch.setattr(module, "GraphedStep", FakeGraphedStep)
    monkeypatch.setattr(module, "draw_run", seen.drawn.append)
    monkeypatch.setattr(module, "describe_hardware", lambda device: device)
    monkeypatch.setattr(
        module, "time", SimpleNamespace(monotonic=monotonic, process_time=lambda: seen.now)
    )
    monkeypatch.setattr(Trainer, "average_model", lambda self: None)
    return seen


def stubbed_trainer(folder: Path, **given: object) -> Trainer:
    return Trainer(CONFIG, folder, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_what_differs_on_a_gpu(stubbed: SimpleNamespace, tmp_path: Path, device: str) -> None:
    on_gpu = device != "cpu"
    trainer = stubbed_trainer(tmp_path / "a", device=device)
    assert trainer.validate_every_s == (60 if on_gpu else 0)
    assert trainer.starting == (5 if on_gpu else 0)
    assert type(trainer.step) is (FakeGraphedStep if on_gpu else FakeStep)
    weight = stubbed.models[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last) == on_gpu
    assert type(stubbed_trainer(tmp_path / "b", device=device, graphed=False).step) is FakeStep
    stubbed.at_once = False
    assert type(stubbed_trainer(tmp_path / "c", device=device).step) is FakeStep
    assert (stubbed.started, stubbed.compiled) == (3, 0)
    assert stubbed_trainer(tmp_path / "d", device=device, compiled=True).starting == 5
    assert stubbed.compiled == 1


@pytest.mark.parametrize("mixed", [False, True])
def test_half_the_precision_where_told(
    stubbed: SimpleNamespace, tmp_path: Path, mixed: bool
) -> None:
    precision = stubbed_trainer(tmp_path, mixed_precision=mixed).objective.precision
    if not mixed:
        assert precision is None
        return
    with precision():
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16


@pytest.mark.parametrize(("device", "paid"), [("cpu", 60), ("cuda", 55)])
def test_first_steps_of_a_gpu_are_not_paid_for(
    stubbed: SimpleNamespace, tmp_path: Path, device: str, paid: int
) -> None:
    trainer = stubbed_trainer(tmp_path, device=device)
    ticks = iter(range(1000))
    trainer._clock = lambda: 1.0 * next(ticks)  # type: ignore[method-assign]
    trainer.run()
    assert trainer.progress.step == trainer.steps == 60
    assert trainer.progress.seconds == paid
    assert trainer.step.waits == [50]  # type: ignore[attr-defined]
    assert stubbed.drawn == [tmp_path]


def test_each_clock_is_that_of_the_device(stubbed: SimpleNamespace, tmp_path: Path) -> None:
    stubbed.now = 7.0
    assert stubbed_trainer(tmp_path, device="cuda")._clock() == 8.0
    trainer = stubbed_trainer(tmp_path)
    assert trainer._clock() == 8.0 / torch.get_num_threads()
    assert stubbed.now == 8.0


def test_it_is_measured_as_often_as_told_and_once_at_the_end(
    stubbed: SimpleNamespace, tmp_path: Path
) -> None:
    for every, steps in ((20, [20, 40, 60]), (25, [25, 50, 60]), (1000, [60])):
        trainer = stubbed_trainer(tmp_path / str(every))
        trainer.run(validate_every=every)
        assert [row["step"] for row in trainer.progress.curve] == steps
        assert [row["crops"] for row in trainer.progress.curve] == [32 * step for step in steps]
    # On a GPU only after a minute: five looks at the clock a step.
    trainer = stubbed_trainer(tmp_path / "gpu", device="cuda")
    trainer.run(validate_every=1)
    steps = [row["step"] for row in trainer.progress.curve]
    assert steps[-1] == 60
    assert 3 <= len(steps) <= 8
    assert set(np.diff(steps[:-1])) <= set(range(10, 16))


def test_it_is_saved_after_so_many_seconds(
    stubbed: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    monkeypatch.setattr(Trainer, "save", lambda self: saved.append(self.progress.step))
    # The clock is looked at once before the first step, and twice a step.
    for given, steps in (({}, [30, 60]), ({"save_every_s": 61.0}, [31, 60])):
        stubbed_trainer(tmp_path / str(len(given))).run(validate_every=1000, **given)
        assert saved == steps
        saved.clear()


def test_it_ends_where_it_is_to_stop(stubbed: SimpleNamespace, tmp_path: Path) -> None:
    stubbed.now = 100.0
    trainer = stubbed_trainer(tmp_path)
    trainer.run(stop_at=101.5)
    assert trainer.progress.step == 0
    assert stubbed.drawn == []
    assert trainer.checkpoint.exists()
    trainer.run(stop_at=stubbed.now + 10)
    assert 0 < trainer.progress.step < 10
    assert not trainer.progress.curve


def test_the_average_forgets_the_start(stubbed: SimpleNamespace, tmp_path: Path) -> None:
    trainer = stubbed_trainer(tmp_path)
    trainer.run()
    decays = [decay for _, decay in trainer.step.taken]  # type: ignore[attr-defined]
    expected = [min(CONFIG.optimisation.averaging, k / (k + 10)) for k in range(1, 61)]
    assert decays == pytest.approx(expected)
    assert decays[0] == pytest.approx(1 / 11)
    late = msgspec.structs.replace(
        CONFIG, optimisation=msgspec.structs.replace(CONFIG.optimisation, averaging=0.5)
    )
    trainer = Trainer(late, tmp_path / "late")
    trainer.run()
    assert trainer.step.taken[-1][1] == 0.5  # type: ignore[attr-defined]


def test_without_a_warm_up_the_first_rate_is_the_highest(
    stubbed: SimpleNamespace, tmp_path: Path
) -> None:
    settings = msgspec.structs.replace(CONFIG.optimisation, warm_up=0)
    trainer = Trainer(msgspec.structs.replace(CONFIG, optimisation=settings), tmp_path)
    assert trainer._learning_rate() == 5e-3


def test_what_was_measured_on_its_way_is_not_finished(
    stubbed: SimpleNamespace, tmp_path: Path
) -> None:
    trainer = stubbed_trainer(tmp_path)
    assert not trainer.finished
    trainer.progress.step, trainer.progress.curve = 20, [{"step": 20}]
    assert not trainer.finished
    trainer.progress.step = 60
    assert not trainer.finished
    trainer.run()
    assert trainer.finished
    assert [row["step"] for row in trainer.progress.curve] == [20, 60]
    trainer.progress.curve.clear()
    assert not trainer.finished

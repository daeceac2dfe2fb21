"""Training of the off-grid networks, from the first step to a model: both trunks and protocols."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from msgspec.structs import replace  # noqa: E402

import dscsnet.tools.export.model_folder  # noqa: E402
import dscsnet.tools.simulation.field  # noqa: E402
import dscsnet.tools.training.offgrid_objective  # noqa: E402
from dscsnet.engines.card import GridlessReadout, GridReadout  # noqa: E402
from dscsnet.engines.engine import finite_crops, make_batch  # noqa: E402
from dscsnet.engines.model import SHIPPED, load_model  # noqa: E402
from dscsnet.engines.model_engine import open_model_engine  # noqa: E402
from dscsnet.engines.networks.offgrid import (  # noqa: E402
    OUTPUTS,
    MlpTrunk,
    OffGridConfig,
    OffGridNetwork,
    UnfoldedTrunk,
)
from dscsnet.engines.networks.offgrid.head import Distribution  # noqa: E402
from dscsnet.engines.networks.offgrid.network import INPUTS  # noqa: E402
from dscsnet.engines.networks.stored import load_network  # noqa: E402
from dscsnet.engines.runtimes import RuntimeOptions  # noqa: E402
from dscsnet.pipeline.errors import ConfigError  # noqa: E402
from dscsnet.tools.export.model_folder import calibration_crops, export_model, reference_outputs  # noqa: E402
from dscsnet.tools.simulation.csist import CropProtocol  # noqa: E402
from dscsnet.tools.simulation.feed import FieldStream, field_feed  # noqa: E402
from dscsnet.tools.simulation.field import FieldProtocol  # noqa: E402
from dscsnet.tools.training.checkpoint import read_run  # noqa: E402
from dscsnet.tools.training.config import Optimisation, TrainConfig  # noqa: E402
from dscsnet.tools.training.set_loss import assignments, set_loss  # noqa: E402
from dscsnet.tools.training.trainer import Trainer  # noqa: E402

STEPS, BATCH = 40, 16

#: The published protocol with few targets: the central pixel is all that is unmixed.
PUBLISHED = OffGridConfig(
    window=5,
    slots=2,
    unit=235.0,
    psf_sigma=(0.5, 0.5),
    reach=0.5,
    position_step=0.25,
    intensity_step=0.037,
    position_sigma=0.08,
    intensity_sigma=0.02,
)
#: With more slots than there are targets.
FIELD = OffGridConfig(slots=3)
TRUNKS = {
    "mlp": MlpTrunk(width=16, depth=1),
    "unfolded": UnfoldedTrunk(stages=2, channels=4, cells=8, reduced=4, width=16, depth=1),
}


def make_config(trunk: str, protocol: str) -> TrainConfig:
    field = FieldProtocol(crowded=0, most=2) if protocol == "field" else None
    network = FIELD if field else PUBLISHED
    return TrainConfig(
        name=f"tiny-{protocol}-{trunk}",
        description="for tests",
        network=replace(network, trunk=TRUNKS[trunk]),
        protocol=CropProtocol(targets=(1, 2), noise=(0.3, 6.0), noise_free=0.25),
        field=field,
        optimisation=Optimisation(
            crops=STEPS * BATCH, batch=BATCH, warm_up=5, learning_rate=5e-3, clip=5.0
        ),
        readout=GridlessReadout(),
    )


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made before and after the steps is made of few crops."""
    monkeypatch.setattr(dscsnet.tools.export.model_folder, "CALIBRATION_CROPS", 400)
    monkeypatch.setattr(dscsnet.tools.simulation.field, "POOL", 2000)
    monkeypatch.setattr(dscsnet.tools.training.offgrid_objective, "START_CROPS", 1000)
    monkeypatch.setattr(dscsnet.tools.training.offgrid_objective, "VALIDATION_CROPS", 50)


CASES = [(trunk, protocol) for trunk in TRUNKS for protocol in ("published", "field")]


@pytest.mark.parametrize(("trunk", "protocol"), CASES)
def test_it_learns_and_a_resumed_run_gives_the_same_weights(
    trunk: str, protocol: str, tmp_path: Path
) -> None:
    config = make_config(trunk, protocol)
    torch.manual_seed(0)
    whole = Trainer(config, tmp_path / "whole")
    start = {name: value.clone() for name, value in whole.model.state_dict().items()}
    losses = []
    for _ in range(STEPS):
        whole.advance()
        losses.append(float(whole.step.loss))
    assert np.isfinite(losses).all()
    assert np.mean(losses[-10:]) < np.mean(losses[:5]) - 0.3

    torch.manual_seed(0)
    first = Trainer(config, tmp_path / "parts")
    for name, value in start.items():
        torch.testing.assert_close(first.model.state_dict()[name], value, rtol=0, atol=0)
    for _ in range(15):
        first.advance()
    first.save()
    torch.manual_seed(1)
    resumed = Trainer(config, tmp_path / "parts")
    assert resumed.progress.step == 15
    resumed.run(validate_every=1000)
    assert resumed.finished
    for name, value in whole.average.items():
        torch.testing.assert_close(resumed.average[name], value, rtol=0, atol=0, msg=name)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=0, atol=0)
    header, row = (tmp_path / "parts" / "curve.csv").read_text().splitlines()
    figures = ["cso_map"] if protocol == "field" else [f"cso_map_noise{n}" for n in (0, 1, 5)]
    assert header.split(",") == ["step", "crops", "seconds", "loss", *figures]
    assert row.split(",")[:2] == [str(STEPS), str(STEPS * BATCH)]


@pytest.mark.parametrize(("trunk", "protocol"), CASES)
def test_an_exported_model_is_the_network(trunk: str, protocol: str, tmp_path: Path) -> None:
    config = make_config(trunk, protocol)
    trainer = Trainer(config, tmp_path / "run")
    for _ in range(5):
        trainer.advance()
    trainer.save()
    folder = tmp_path / "model"
    card = export_model(read_run(trainer.folder), folder)
    engine = open_model_engine(folder, "onnxruntime", options=RuntimeOptions(threads=1))
    engine.check(batch_sizes=(1, 5))
    assert card == load_model(folder).card
    assert (card.inputs, card.outputs) == (INPUTS, OUTPUTS)
    assert isinstance(card.readout, GridlessReadout)
    assert card.readout != config.readout, "not calibrated"
    assert card.readout.refine == GridlessReadout().refine
    assert card.normalisation == ("rms" if protocol == "field" else "fixed")
    assert card.training.crops == 5 * BATCH

    golden = engine.model.golden()
    assert golden.inputs["crops"].shape == (16, 11, 11)
    network = load_network(engine.model.folder)
    assert isinstance(network, OffGridNetwork)
    for number in (1, 5):
        inputs = {name: value[-number:] for name, value in golden.inputs.items()}
        expected = reference_outputs(network, inputs)
        found = engine.runtime.run(inputs)
        for name in OUTPUTS:
            error = np.linalg.norm(found[name] - expected[name])
            assert error < engine.runtime.tolerance * np.linalg.norm(expected[name]), name
    batch = make_batch(
        engine,
        golden.inputs["crops"],
        np.ones(golden.inputs["crops"].shape, bool),
        golden.inputs["noise"],
    )
    outputs = engine.run(batch)
    assert finite_crops(outputs).all()
    estimates = engine.read(outputs, batch)
    assert estimates.crops == 16
    assert ((estimates.score >= 0) & (estimates.score <= 1)).all()


def test_a_run_begins_with_the_weights_of_a_model(tmp_path: Path) -> None:
    shipped = load_network(SHIPPED / "field-mlp").state_dict()
    config = replace(make_config("mlp", "field"), network=OffGridConfig(), start="field-mlp")
    begun = Trainer(config, tmp_path / "run")
    for name, value in begun.model.state_dict().items():
        torch.testing.assert_close(value, shipped[name], rtol=0, atol=0)
        torch.testing.assert_close(begun.average[name], value, rtol=0, atol=0)
    begun.advance()
    begun.save()
    resumed = Trainer(config, tmp_path / "run")
    assert resumed.progress.step == 1
    assert any(
        not torch.equal(value, shipped[name]) for name, value in resumed.model.state_dict().items()
    )


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("nothing", 'start: no model "nothing"'),
        ("csist100k-mlp", "start: csist100k-mlp has another network"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(start: str, message: str, tmp_path: Path) -> None:
    config = replace(make_config("mlp", "field"), start=start)
    with pytest.raises(ConfigError, match=message):
        Trainer(config, tmp_path)


@pytest.mark.parametrize("protocol", ["published", "field"])
def test_calibration_crops_are_new_and_always_the_same(protocol: str) -> None:
    config = make_config("mlp", protocol)
    batch, true = calibration_crops(config)
    again, _ = calibration_crops(config)
    np.testing.assert_array_equal(batch.pixels, again.pixels)
    assert batch.pixels.shape == (400, 11, 11)
    assert (batch.noise > 0).all()
    count = np.bincount(true.image, minlength=400)
    assert set(count) == ({0, 1, 2} if protocol == "field" else {1, 2})
    if protocol == "published":
        np.testing.assert_array_equal(batch.psf, 0.5)
        assert (np.hypot(true.x - 5, true.y - 5) < 0.71).all()
    else:
        assert 0.4 < batch.psf.min() < batch.psf.max() < 1.1


#: As PyTorch says where this process may use one core only.
one_core = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@one_core
def test_processes_draw_field_crops_and_a_resumed_run_draws_others(tmp_path: Path) -> None:
    config = make_config("mlp", "field")
    trainer = Trainer(config, tmp_path, data_processes=2)
    trainer.run(validate_every=1000)
    assert trainer.progress.step == STEPS
    assert np.isfinite(trainer.progress.curve[-1]["loss"])
    crops = Trainer(config, tmp_path, data_processes=2).objective.crops
    assert crops.state()["drawn"] == STEPS
    seeds = [(config.optimisation.seed, start) for start in (0, 0, STEPS)]
    first, same, later = (next(iter(FieldStream(config.field, 8, seed)))[0] for seed in seeds)
    assert torch.equal(first, same)
    assert not torch.equal(first, later)


@one_core
def test_every_process_draws_crops_of_its_own() -> None:
    feed = field_feed(FieldProtocol(), 4, (1, 0), 2, pinned=False)
    one, other = next(feed), next(feed)
    assert [tuple(column.shape[:1]) for column in one] == [(4,)] * 7
    assert not torch.equal(one[0], other[0])


def test_what_the_network_learns_from_is_what_was_drawn() -> None:
    protocol = FieldProtocol()
    found = next(iter(FieldStream(protocol, 6, (5, 7))))
    seed = int(np.random.SeedSequence((5, 7, 0)).generate_state(1)[0])
    drawn = dscsnet.tools.simulation.field.FieldSimulator(protocol, seed=seed).draw(6)
    names = ("crops", "noise", "psf", "x", "y", "intensity", "present")
    for column, name in zip(found, names, strict=True):
        torch.testing.assert_close(column, getattr(drawn, name), rtol=0, atol=0, msg=name)


def test_data_processes_are_for_field_crops(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="data processes are for field crops"):
        Trainer(make_config("mlp", "published"), tmp_path, data_processes=1)


def test_slots_beyond_the_greatest_number_of_targets_are_absent_targets() -> None:
    torch.manual_seed(2)
    shapes = Distribution((6, 5), (6, 3), (6, 3, 2), (6, 3), (6, 3, 3))
    distribution = Distribution(*(torch.randn(shape) for shape in shapes))
    x, y, log_intensity = torch.randn(3, 6, 2)
    present = torch.tensor([[False, False], [True, False], [True, True]] * 2)
    matrices = assignments(3, torch.device("cpu"))
    few = set_loss(distribution, x, y, log_intensity, present, matrices)
    absent = torch.full((6, 2), 7.0), torch.zeros(6, 2, dtype=torch.bool)
    x, y, log_intensity = (torch.cat([v, absent[0]], 1) for v in (x, y, log_intensity))
    many = set_loss(distribution, x, y, log_intensity, torch.cat([present, absent[1]], 1), matrices)
    assert float(few) == pytest.approx(float(many), rel=1e-6)


def test_readout_and_network_belong_together() -> None:
    config = make_config("mlp", "published")
    with pytest.raises(ValueError, match="gridless"):
        replace(config, readout=GridReadout())


def test_the_likeliest_points_are_those_of_the_likeliest_number() -> None:
    """Of two crops, one and two targets: x before y, scored by existence and nearness."""
    sigma = torch.tensor([[[0.1, 0.1, 0.5], [0.2, 0.4, 0.5]]]).repeat(2, 1, 1)
    stated = Distribution(
        count=torch.tensor([[0.0, 3.0, 1.0, 0.0], [0.0, 1.0, 3.0, 0.0]]),
        existence=torch.tensor([[-1.0, 2.0], [0.0, 1.0]]),
        position=torch.tensor([[[1.0, 2.0], [3.0, 4.5]], [[5.0, 6.5], [7.0, 8.0]]]),
        log_intensity=torch.zeros(2, 2),
        log_sigma=sigma.log(),
    )
    found = dscsnet.tools.training.offgrid_objective.likeliest_points(stated)
    assert found.image.tolist() == [0, 1, 1]
    order = np.lexsort((found.x, found.image))
    np.testing.assert_allclose(found.x[order], [3.0, 5.0, 7.0])
    np.testing.assert_allclose(found.y[order], [4.5, 6.5, 8.0])
    distances = np.array(dscsnet.tools.training.offgrid_objective.DISTANCES)
    wide = 0.5 * (0.2**2 + 0.4**2)
    hit = (1 - np.exp(-(distances**2) / (2 * np.array([[wide], [0.01], [wide]])))).mean(1)
    existence = 1 / (1 + np.exp(-np.array([2.0, 0.0, 1.0])))
    np.testing.assert_allclose(found.score[order], existence * hit, rtol=1e-5)

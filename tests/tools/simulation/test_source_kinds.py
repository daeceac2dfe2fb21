"""What training and export get of either protocol, against the simulators themselves."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dscsnet.pipeline.errors import ConfigError  # noqa: E402
from dscsnet.tools.simulation.csist import CropProtocol, Simulator  # noqa: E402
from dscsnet.tools.simulation.field import FieldProtocol, FieldSimulator  # noqa: E402
from dscsnet.tools.simulation.source import CropSource, GivenCrops, TrainingCrops  # noqa: E402
from dscsnet.tools.simulation.source_kinds import CsistSource, FieldSource  # noqa: E402

CSIST = CsistSource(CropProtocol(targets=(1, 2), noise=(0.3, 6.0), noise_free=0.25, psf_sigma=0.6))
FIELD = FieldSource(FieldProtocol(most=2, crowded=0, psf_told_error=0.1))
SOURCES = pytest.mark.parametrize("source", [CSIST, FIELD], ids=["csist", "field"])


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dscsnet.tools.simulation.field.POOL", 500)


def run_of(source: CropSource, seed: int = 4) -> TrainingCrops:
    return source.training(seed, device="cpu", pool=200)


def assert_same(first: GivenCrops, second: GivenCrops) -> None:
    for name, value in first._asdict().items():
        assert torch.equal(value, getattr(second, name)), name


def test_csist_crops_are_given_with_the_noise_of_rounding_and_their_psf() -> None:
    given = CSIST.stream(3, pool=200).give(400)
    scenes = Simulator(CSIST.protocol, seed=3, pool=200).draw(400)
    for name in ("crops", "x", "y", "intensity", "present"):
        assert torch.equal(getattr(given, name), getattr(scenes, name)), name
    expected = (scenes.noise.double() ** 2 + 1 / 12).sqrt()
    np.testing.assert_allclose(given.noise, expected, rtol=1e-6)
    np.testing.assert_array_equal(given.psf, np.full((400, 2), np.float32(0.6)))


def test_in_training_noise_is_an_estimate_unless_there_is_none() -> None:
    given = CSIST.stream(3, pool=200).give(4000, estimate_noise=True)
    scenes = Simulator(CSIST.protocol, seed=3, pool=200).draw(4000)
    ratio = given.noise.double().numpy() / np.sqrt(scenes.noise.double().numpy() ** 2 + 1 / 12)
    free = scenes.noise.numpy() == 0
    assert 0.2 < free.mean() < 0.3
    np.testing.assert_allclose(ratio[free], 1, rtol=1e-6)
    assert ratio[~free].std() == pytest.approx(1 / 12, rel=0.06)


def test_field_crops_are_given_as_the_node_sees_them() -> None:
    given = FIELD.stream(3, pool=200).give(50)
    scenes = FieldSimulator(FIELD.protocol, seed=3).draw(50)
    for name, value in given._asdict().items():
        assert torch.equal(value, getattr(scenes, name)), name
    assert not torch.equal(given.psf, scenes.true_psf)


@SOURCES
def test_an_engine_is_given_the_same(source: CropSource) -> None:
    given = source.stream(3, pool=200).give(20)
    batch = given.batch()
    assert batch.usable.all()
    for name, array in (("crops", batch.pixels), ("noise", batch.noise), ("psf", batch.psf)):
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, getattr(given, name))


@SOURCES
def test_a_run_goes_on_where_it_was_kept(source: CropSource) -> None:
    run, other = run_of(source), run_of(source)
    run.give(30, estimate_noise=True)
    state = copy.deepcopy(run.state())
    expected = run.give(30, estimate_noise=True)
    other.restore(state)
    assert_same(other.give(30, estimate_noise=True), expected)


def test_the_seed_of_a_run_is_one_less_than_that_of_its_crops() -> None:
    """As in all runs so far, whose recipes must go on to give the same weights."""
    assert_same(run_of(CSIST, 6).give(20), CSIST.stream(7, pool=200).give(20))
    assert_same(run_of(FIELD, 6).give(20), FIELD.stream(7, pool=200).give(20))


@SOURCES
def test_a_start_is_fitted_to_light_alone(source: CropSource) -> None:
    light, noise, psf = run_of(source).start_crops(60)
    assert len(light) == len(noise) == len(psf) > 30
    assert psf.shape == (len(light), 2)
    assert (noise > 0.28).all()
    peak = light.flatten(1).amax(1)
    assert (peak > 3 * light[:, 0, 0].abs()).all()
    assert float(light.amin()) >= 0


def test_the_start_of_a_field_run_takes_none_of_its_crops() -> None:
    run = run_of(FIELD)
    run.start_crops(10)
    assert_same(run.give(20), run_of(FIELD).give(20))


@SOURCES
def test_networks_are_measured_by_the_same_crops_each_time(source: CropSource) -> None:
    first, again = (source.validation(10, device="cpu") for _ in range(2))
    assert list(first) == ([""] if source is FIELD else ["_noise0", "_noise1", "_noise5"])
    for name, given in first.items():
        assert_same(given, again[name])
        assert len(given.x) == (20 if source is FIELD else 10)


def test_what_a_card_says_of_the_crops() -> None:
    assert CSIST.psf_sigma_range == (0.57, 0.63)
    assert CSIST.intensity_range == (220.0, 250.0)
    assert CSIST.reach is None
    assert FIELD.psf_sigma_range == (0.45, 0.9)
    assert FIELD.intensity_range is None
    assert FIELD.reach == pytest.approx(3.3)


def test_processes_draw_field_crops_alone() -> None:
    with pytest.raises(ConfigError, match="data processes are for field crops"):
        CSIST.training(0, device="cpu", pool=10, processes=1)

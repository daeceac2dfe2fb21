"""The blind fit with SciPy against known truth, finite differences and the compiled fit."""

import sys

import numpy as np
import pytest

from dscsnet.engines.array_types import Float
from dscsnet.engines.engine import CropBatch, Engine, make_batch
from dscsnet.engines.errors import ModelError
from dscsnet.engines.estimates import Doubt, Estimates
from dscsnet.engines.imaging import render
from dscsnet.engines.psf_fit import PsfFitEngine
from dscsnet.tools.commands import field
from dscsnet.tools.references.scipy_fit import ScipyFitEngine
from dscsnet.tools.references.scipy_model import CropModel

SIZE, CENTER, PSF = 11, 5, (0.6, 0.7)


def draw(targets: Float) -> Float:
    return render(*targets.T, (SIZE, SIZE), *PSF)


def batch_of(pixels: Float, noise: float = 1.0) -> CropBatch:
    psf = np.broadcast_to(np.array(PSF, np.float32), (len(pixels), 2))
    known = np.full(len(pixels), noise, np.float32)
    return CropBatch(pixels.astype(np.float32), np.ones(pixels.shape, bool), known, psf)


def fit(engine: Engine, batch: CropBatch) -> Estimates:
    return engine.read(engine.run(batch), batch)


def pairs(number: int, seed: int) -> tuple[Float, Float]:
    """Noisy crops, and (number, 2, 3) targets 2 to 3 px apart."""
    rng = np.random.default_rng(seed)
    angle, half = rng.uniform(0, np.pi, number), rng.uniform(1, 1.5, number)
    shift = np.stack([half * np.cos(angle), half * np.sin(angle)], -1)[:, None] * [[1], [-1]]
    targets = np.empty((number, 2, 3))
    targets[..., :2] = CENTER + rng.uniform(-0.5, 0.5, (number, 1, 2)) + shift
    targets[..., 2] = rng.uniform(200, 500, (number, 2))
    return np.array([draw(each) for each in targets]) + rng.normal(
        size=(number, SIZE, SIZE)
    ), targets


def by_x(found: Estimates, crop: int) -> Float:
    """(k, 6) x, y, intensity and their sigmas of one crop, from left to right."""
    columns = (found.x, found.y, found.intensity)
    columns += (found.sigma_x, found.sigma_y, found.sigma_intensity)
    rows = np.stack(columns, -1)[found.crop == crop]
    return rows[rows[:, 0].argsort()]


def test_a_lone_target_without_noise_is_found_exactly() -> None:
    slope = 4 - 0.5 * np.arange(SIZE)  # a slope is none of the target's business
    pixels = draw(np.array([[5.3, 4.6, 300.0]]))[None] + slope
    found = fit(ScipyFitEngine(), batch_of(pixels, noise=2.5))
    np.testing.assert_allclose(by_x(found, 0)[:, :3], [[5.3, 4.6, 300]], rtol=1e-3)
    assert found.occupied[0] > 0.99
    assert found.doubt[0] == 0


def test_pairs_are_found_within_their_sigmas() -> None:
    pixels, targets = pairs(40, seed=1)
    found = fit(ScipyFitEngine(), batch_of(pixels))
    right = np.flatnonzero(found.number == 2)
    assert len(right) >= 36
    rows = np.stack([by_x(found, crop) for crop in right])
    true = np.stack([each[each[:, 0].argsort()] for each in targets[right]])
    deviation = (rows[..., :3] - true) / rows[..., 3:]
    assert (np.abs(deviation) < 1).mean() == pytest.approx(0.683, abs=0.1)
    assert np.abs(deviation).max() < 5
    assert np.median(found.chi2) == pytest.approx(1, abs=0.1)


def test_bright_pairs_are_those_of_the_compiled_fit() -> None:
    pixels, _ = pairs(20, seed=2)
    batch = batch_of(pixels)
    row, column = np.indices((SIZE, SIZE)) - CENTER
    batch.usable[:] = row**2 + column**2 <= 4.5**2  # all that the compiled fit looks at
    ours, peers = fit(ScipyFitEngine(), batch), fit(PsfFitEngine(), batch)
    np.testing.assert_array_equal(ours.number, peers.number)
    assert (ours.number == 2).sum() >= 17
    np.testing.assert_allclose(ours.chi2, peers.chi2, rtol=0.01)
    for crop in range(len(pixels)):
        mine, theirs = by_x(ours, crop), by_x(peers, crop)
        assert (np.abs(mine - theirs)[:, :3] < 0.1 * theirs[:, 3:]).all()
        np.testing.assert_allclose(mine[:, 3:], theirs[:, 3:], rtol=0.03)
    np.testing.assert_allclose(ours.score, peers.score, atol=0.02)


def test_close_pairs_are_told_apart() -> None:
    targets = np.array([[4.6, 4.8, 800.0], [5.4, 5.3, 600.0]])
    pixels = draw(targets) + np.random.default_rng(3).normal(size=(SIZE, SIZE))
    found = fit(ScipyFitEngine(), batch_of(pixels[None]))
    np.testing.assert_allclose(by_x(found, 0)[:, :2], targets[:, :2], atol=0.05)


def test_nothing_is_found_in_noise() -> None:
    pixels = np.random.default_rng(0).normal(size=(40, SIZE, SIZE))
    found = fit(ScipyFitEngine(), batch_of(pixels))
    assert len(found.x) <= 2
    assert (found.occupied < 0.5).mean() >= 0.95


def test_structure_in_the_background_counts_as_noise() -> None:
    pixels = 5 * np.random.default_rng(4).normal(size=(10, SIZE, SIZE))
    found = fit(ScipyFitEngine(), batch_of(pixels))
    assert len(found.x) <= 1
    assert (found.chi2[found.number == 0] > 15).all()


def test_jacobian_agrees_with_finite_differences() -> None:
    rng = np.random.default_rng(5)
    usable = rng.random((SIZE, SIZE)) < 0.8
    model = CropModel(rng.normal(10, 3, (SIZE, SIZE)), usable, 2.0, np.array(PSF))
    values = np.array([1.0, -0.5, 0.3, 4.7, 5.2, 4.0, 8.8, 1.1, 2.0])
    step = 1e-6
    expected = np.stack(
        [
            (model.residual(values + d) - model.residual(values - d)) / (2 * step)
            for d in step * np.eye(9)
        ],
        1,
    )
    jacobian = model.jacobian(values)
    assert jacobian.shape == (usable.sum(), 9)
    np.testing.assert_allclose(jacobian, expected, rtol=1e-6, atol=1e-6)


def test_residual_is_that_of_the_imaging_model() -> None:
    targets = np.array([[4.7, 5.2, 60.0], [6.0, 3.3, 30.0]])
    pixels = np.random.default_rng(6).normal(size=(SIZE, SIZE))
    model = CropModel(pixels, np.ones((SIZE, SIZE), bool), 2.0, np.array(PSF))
    logs = np.column_stack([targets[:, :2], np.log(targets[:, 2] / 2.0)])
    residual = model.residual(np.append([1.5, 0, 0], logs))
    np.testing.assert_allclose(2 * residual, (3 + draw(targets) - pixels).ravel(), atol=1e-6)


def test_a_crop_that_cannot_be_fitted_is_left_alone() -> None:
    pixels = np.repeat(draw(np.array([[5.0, 5.0, 300.0]]))[None], 5, 0)
    batch = batch_of(pixels)
    batch.usable[0] = False
    batch.pixels[1] = np.nan
    batch.usable[2].flat[3:] = False
    batch = CropBatch(batch.pixels, batch.usable, batch.noise, batch.psf.copy())
    batch.psf[3, 0] = np.nan
    found = fit(ScipyFitEngine(), batch)
    assert found.number.tolist() == [0, 0, 0, 0, 1]
    assert found.doubt.tolist() == [Doubt.NO_RESULT] * 4 + [0]
    assert np.isnan(found.chi2[:4]).all()


def test_bad_pixels_do_not_count_and_unknown_noise_is_no_obstacle() -> None:
    pixels = draw(np.array([[5.3, 4.6, 300.0]]))[None].repeat(2, 0)
    batch = batch_of(pixels)
    batch.pixels[:, 4, 6], batch.usable[0, 4, 6] = (1e4, np.nan), False
    batch.noise[1] = np.nan
    found = fit(ScipyFitEngine(), batch)
    np.testing.assert_allclose(found.x, 5.3, atol=1e-2)
    np.testing.assert_allclose(found.y, 4.6, atol=1e-2)


def test_few_pixels_limit_the_number_of_targets() -> None:
    batch = batch_of(np.random.default_rng(7).normal(0, 30, (1, SIZE, SIZE)))
    batch.usable[0] = False
    batch.usable[0, 4:6, 3:7] = True  # 8 pixels hold a plane and one target, with 2 to spare
    outputs = ScipyFitEngine().run(batch)
    assert (outputs["probability"][0, :2] > 0).all()
    assert (outputs["probability"][0, 2:] == 0).all()


def test_a_batch_gives_what_its_members_give() -> None:
    pixels, _ = pairs(3, seed=8)
    batch, engine = batch_of(pixels), ScipyFitEngine()
    whole = engine.run(batch)
    alone = engine.run(batch.part(2, 3))
    np.testing.assert_array_equal(whole["slots"][:, 2], alone["slots"][:, 0])


def test_the_check_passes_and_notices_a_fit_that_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ScipyFitEngine()
    engine.check((1, 2))
    monkeypatch.setattr(
        engine, "run", lambda batch: ScipyFitEngine().run(make_empty(engine, batch))
    )
    with pytest.raises(ModelError, match="misses a bright target"):
        engine.check((1,))


def make_empty(engine: Engine, batch: CropBatch) -> CropBatch:
    return make_batch(engine, 0 * batch.pixels, batch.usable, batch.noise)


def test_the_command_knows_the_reference_by_its_name() -> None:
    engine = field._open_reference(field.SCIPY_FIT, 1)
    assert isinstance(engine, ScipyFitEngine)
    assert engine.name == field.SCIPY_FIT
    assert isinstance(field._open_reference("psf-fit", 1), PsfFitEngine)


def test_without_scipy_the_error_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "dscsnet.tools.references.scipy_fit")
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        field._open_reference(field.SCIPY_FIT, 1)
    assert caught.value.name == "scipy"

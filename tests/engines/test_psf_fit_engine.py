"""The engine without weights: fits of every number of targets."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.engine import CropBatch, Engine, make_batch
from dscsnet.engines.errors import ModelError
from dscsnet.engines.estimates import Doubt, Estimates
from dscsnet.engines.fitting.psf import sampled_table
from dscsnet.engines.imaging import render
from dscsnet.engines.opening import open_engine
from dscsnet.engines.psf_fit import PsfFitEngine, PsfFitSettings
from dscsnet.engines.sensor import Sensor

Draw = Callable[[Float, Float, Float], Float]

SIZE, CENTER = 11, 5
GAUSSIAN = PsfFitSettings(sigma_x=0.6)


def batch_of(engine: Engine, pixels: Float, noise: float = 1.0) -> CropBatch:
    usable = np.ones(pixels.shape, bool)
    return make_batch(
        engine, pixels.astype(np.float32), usable, np.full(len(pixels), noise, np.float32)
    )


def fit(engine: Engine, batch: CropBatch) -> Estimates:
    return engine.read(engine.run(batch), batch)


def gaussian(x: Float, y: Float, intensity: Float) -> Float:
    return render(x, y, intensity, (SIZE, SIZE), 0.6)


def turned(x: Float, y: Float, intensity: Float) -> Float:
    """An ellipse of 0.5 by 0.8 px, turned by 30 degrees, summed over 16 x 16 points of a pixel."""
    steps = (np.arange(16 * SIZE) + 0.5) / 16 - 0.5
    image = np.zeros((16 * SIZE, 16 * SIZE))
    for x1, y1, light in zip(x, y, intensity, strict=True):
        right, down = steps - x1, (steps - y1)[:, None]
        cosine, sine = math.cos(math.pi / 6), math.sin(math.pi / 6)
        along, across = cosine * right + sine * down, cosine * down - sine * right
        density = np.exp(-0.5 * ((along / 0.5) ** 2 + (across / 0.8) ** 2)) / (0.8 * math.pi)
        image += light * density
    return image.reshape(SIZE, 16, SIZE, 16).mean((1, 3))


def scenes(
    number: int, targets: int, seed: int, draw: Draw = gaussian, apart: float = 1.5
) -> tuple[Float, Float, Float]:
    """Noisy crops of well separated targets; x and y of shape (number, targets)."""
    rng = np.random.default_rng(seed)
    x, y = np.empty((2, number, targets))
    pixels = rng.normal(size=(number, SIZE, SIZE))
    for i in range(number):
        while True:
            x[i], y[i] = CENTER + rng.uniform(-2, 2, (2, targets))
            distance = np.hypot(x[i] - x[i][:, None], y[i] - y[i][:, None])
            if distance[~np.eye(targets, dtype=bool)].min(initial=9) > apart:
                break
        pixels[i] += draw(x[i], y[i], rng.uniform(100, 400, targets))
    return pixels, x, y


def errors(found: Estimates, x: Float, y: Float) -> tuple[Float, NDArray[np.int64]]:
    """Distance of each target to the nearest true one of its crop, and which that is."""
    distance = np.hypot(found.x[:, None] - x[found.crop], found.y[:, None] - y[found.crop])
    return distance.min(1), distance.argmin(1)


@pytest.mark.parametrize("targets", [1, 2, 3])
def test_finds_number_places_and_intensities(targets: int) -> None:
    pixels, x, y = scenes(150, targets, seed=targets)
    pixels += 4 - 0.5 * np.arange(SIZE)  # a slope is none of the targets' business
    found = fit(PsfFitEngine(GAUSSIAN), batch_of(PsfFitEngine(GAUSSIAN), pixels))
    right = np.bincount(found.crop, minlength=150) == targets
    assert right.mean() > 0.9
    error, nearest = errors(found, x, y)
    assert np.median(error) < 0.03
    for axis, truth in ((found.x, x), (found.y, y)):
        sigma = found.sigma_x if axis is found.x else found.sigma_y
        deviation = (axis - truth[found.crop, nearest]) / sigma
        assert (np.abs(deviation) < 1).mean() == pytest.approx(0.683, abs=0.09)
    assert np.median(found.chi2) == pytest.approx(1, abs=0.06)
    assert (found.occupied > 0.99).all()
    order = np.lexsort((-found.score, found.crop))
    np.testing.assert_array_equal(order, np.arange(len(order)))


def test_nothing_is_found_in_noise() -> None:
    pixels = np.random.default_rng(0).normal(size=(300, SIZE, SIZE))
    engine = PsfFitEngine(GAUSSIAN)
    found = fit(engine, batch_of(engine, pixels))
    assert len(found.x) < 10
    assert (found.occupied < 0.5).mean() > 0.97
    assert (found.doubt == 0).all()


def test_score_is_the_probability_of_a_hit() -> None:
    rng = np.random.default_rng(7)
    number, engine = 400, PsfFitEngine(GAUSSIAN)
    x, y = CENTER + rng.uniform(-1, 1, (2, number, 3))
    light = np.exp(rng.uniform(np.log(15), np.log(500), (number, 3)))
    pixels = rng.normal(size=(number, SIZE, SIZE))
    pixels += [gaussian(*each) for each in zip(x, y, light, strict=True)]
    found = fit(engine, batch_of(engine, pixels))
    hit = errors(found, x, y)[0] < 0.25
    assert hit.mean() == pytest.approx(found.score.mean(), abs=0.08)
    for low, high in ((0.0, 0.6), (0.6, 0.85), (0.85, 1.0)):
        these = (found.score >= low) & (found.score < high)
        assert these.sum() > 50
        assert hit[these].mean() == pytest.approx(found.score[these].mean(), abs=0.17)


def test_a_turned_ellipse_is_fitted_as_one() -> None:
    pixels, x, y = scenes(40, 2, seed=3, draw=turned, apart=2.2)
    told = PsfFitEngine(PsfFitSettings(sigma_x=0.5, sigma_y=0.8, angle=30))
    found = fit(told, batch_of(told, pixels))
    assert (np.bincount(found.crop, minlength=40) == 2).mean() > 0.9
    assert np.median(errors(found, x, y)[0]) < 0.03
    assert np.median(found.chi2) == pytest.approx(1, abs=0.1)
    assert told.psf == pytest.approx((math.hypot(0.4330, 0.4), math.hypot(0.25, 0.6928)), abs=1e-3)
    straight = PsfFitEngine(PsfFitSettings(sigma_x=told.psf[0], sigma_y=told.psf[1], most=2))
    assert np.median(fit(straight, batch_of(straight, pixels)).chi2) > 1.3


def gaussian_samples(oversampling: int = 4) -> Float:
    half = 4 * oversampling
    y, x = np.mgrid[-half : half + 1, -half : half + 1] / oversampling
    return 240 * np.exp(-0.5 * (x**2 + y**2) / 0.6**2)


@pytest.mark.parametrize(("suffix", "kind"), [("npy", "f4"), ("png", "u1"), ("tiff", "u2")])
def test_a_psf_from_a_file_gives_what_its_gaussian_does(
    tmp_path: Path, suffix: str, kind: str
) -> None:
    path = tmp_path / f"psf.{suffix}"
    samples = gaussian_samples()
    if suffix == "npy":
        np.save(path, samples.astype(kind))
    else:
        scale = 256 if kind == "u2" else 1
        cv2.imwrite(str(path), np.round(scale * samples).astype(kind))
    sampled = PsfFitEngine(PsfFitSettings(file=str(path), oversampling=4))
    pixels, _, _ = scenes(30, 2, seed=4)
    expected, found = (
        fit(engine, batch_of(engine, pixels)) for engine in (PsfFitEngine(GAUSSIAN), sampled)
    )
    coarse = 30 if kind == "u1" else 1  # 8 bit leave out the wings
    assert sampled.psf == pytest.approx((0.6, 0.6), abs=0.005)
    np.testing.assert_array_equal(found.crop, expected.crop)
    np.testing.assert_allclose(found.x, expected.x, atol=1e-3 * coarse)
    np.testing.assert_allclose(found.sigma_x, expected.sigma_x, rtol=3e-3 * coarse)
    np.testing.assert_allclose(found.intensity, expected.intensity, rtol=1e-3 * coarse)


def lopsided(x: Float, y: Float, intensity: Float) -> Float:
    """A PSF with a second, fainter core 0.8 px to the right."""
    return (gaussian(x, y, intensity) + 0.4 * gaussian(x + 0.8, y, intensity)) / 1.4


def test_a_lopsided_psf_is_not_mirrored(tmp_path: Path) -> None:
    y, x = np.mgrid[-40:41, -40:41] / 8
    core, second = (np.exp(-0.5 * ((x - shift) ** 2 + y**2) / 0.6**2) for shift in (0, 0.8))
    np.save(tmp_path / "psf.npy", core + 0.4 * second)
    engine = PsfFitEngine(PsfFitSettings(file=str(tmp_path / "psf.npy"), oversampling=8))
    pixels, true_x, true_y = scenes(20, 2, seed=11, draw=lopsided, apart=2.2)
    found = fit(engine, batch_of(engine, pixels))
    assert (np.bincount(found.crop, minlength=20) == 2).mean() > 0.9
    assert np.median(errors(found, true_x, true_y)[0]) < 0.03
    assert np.median(found.chi2) == pytest.approx(1, abs=0.15)


def test_a_table_holds_all_light_wherever_the_target_is() -> None:
    table = sampled_table(gaussian_samples(), 4)
    for shift in range(0, table.density, 3):
        light = table.coefficients[shift :: table.density, shift :: table.density, 4].sum()
        assert light == pytest.approx(1, abs=1e-6)


def test_a_batch_gives_what_its_members_give() -> None:
    engine = PsfFitEngine(GAUSSIAN)
    pixels, _, _ = scenes(10, 3, seed=5, apart=0.6)
    batch = batch_of(engine, pixels)
    together = engine.run(batch)
    for i in range(10):
        alone = engine.run(batch.part(i, i + 1))
        np.testing.assert_array_equal(alone["targets"][0], together["targets"][i])
        np.testing.assert_array_equal(alone["slots"][:, 0], together["slots"][:, i])
        np.testing.assert_array_equal(alone["probability"][0], together["probability"][i])


def test_unusable_pixels_have_no_influence() -> None:
    engine = PsfFitEngine(GAUSSIAN)
    pixels, _, _ = scenes(10, 2, seed=6)
    usable = np.random.default_rng(6).random(pixels.shape) > 0.1
    results = []
    for rubbish in (0.0, 1e20, np.nan):
        spoilt = np.where(usable, pixels, rubbish).astype(np.float32)
        results.append(
            engine.run(make_batch(engine, spoilt, usable, np.ones(10, np.float32)))["slots"]
        )
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


def test_what_cannot_be_trusted_is_said() -> None:
    engine = PsfFitEngine(PsfFitSettings(sigma_x=0.6, most=2))
    y, x = np.mgrid[:SIZE, :SIZE]
    disc = 300.0 * (np.hypot(x - CENTER, y - CENTER) < 3.7)
    crowd = gaussian(np.array([3.0, 7.0, 5.0]), np.array([4.0, 4.0, 7.0]), np.full(3, 300.0))
    fine = gaussian(np.array([5.2]), np.array([4.9]), np.array([300.0]))
    nothing = np.full((SIZE, SIZE), np.nan)
    pixels = np.stack([disc, crowd, fine, nothing])
    pixels += np.random.default_rng(8).normal(size=pixels.shape)
    found = fit(engine, batch_of(engine, pixels))
    assert found.doubt[0] & Doubt.MISFIT
    assert found.doubt[1] & Doubt.CROWDED
    assert found.doubt[2:].tolist() == [0, Doubt.NO_RESULT]
    assert np.isnan(found.occupied[3])
    assert not (found.crop == 3).any()


def test_a_free_width_tells_a_wrong_one() -> None:
    settings = PsfFitSettings(sigma_x=0.45, width_prior=0.2, most=1)
    engine = PsfFitEngine(settings)
    pixels, _, _ = scenes(40, 1, seed=9)
    found = fit(engine, batch_of(engine, pixels))
    assert np.median(found.psf_scale) == pytest.approx(0.6 / 0.45, abs=0.03)
    assert (found.doubt & Doubt.PSF > 0).mean() > 0.9
    held = PsfFitEngine(GAUSSIAN)
    assert np.isnan(fit(held, batch_of(held, pixels)).psf_scale).all()


@pytest.mark.parametrize("noise", [0.0, np.nan, 1e30])
def test_rubbish_is_survived(noise: float) -> None:
    engine = PsfFitEngine(GAUSSIAN)
    pixels, _, _ = scenes(3, 2, seed=10)
    found = fit(engine, batch_of(engine, pixels * 1e6, noise))
    assert found.crops == 3
    for column in (found.x, found.y, found.intensity, found.score, found.sigma_x):
        assert np.isfinite(column).all()
    unknown = CropBatch(
        pixels.astype(np.float32),
        np.ones(pixels.shape, bool),
        np.ones(3, np.float32),
        np.full((3, 2), np.nan, np.float32),
    )
    assert (fit(engine, unknown).doubt == Doubt.NO_RESULT).all()


def test_is_opened_by_name_and_checks_itself() -> None:
    engine = open_engine("psf-fit", sensor=Sensor.gaussian(0.6, 0.7))
    assert engine.name == "psf-fit"
    assert engine.psf == (0.6, 0.7)
    assert engine.grid.crop_size == SIZE
    engine.check((1, 4))
    engine.close()


def write_bad(folder: Path, case: str) -> Path:
    path = folder / "psf.npy"
    arrays: dict[str, Any] = {
        "small": np.ones((2, 2)),
        "cube": np.ones((5, 5, 5)),
        "nan": np.full((5, 5), np.nan),
        "dark": np.zeros((5, 5)),
    }
    if case in arrays:
        np.save(path, arrays[case])
    elif case == "text":
        path.write_text("no array")
    elif case == "colour":
        path = folder / "psf.png"
        cv2.imwrite(str(path), np.ones((5, 5, 3), np.uint8))
    elif case == "no image":
        path = folder / "psf.png"
        path.write_text("no image")
    return path


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("missing", "does not exist"),
        ("small", "at least 3 x 3"),
        ("cube", "2-D"),
        ("nan", "finite"),
        ("dark", "more than 0"),
        ("text", "not a readable"),
        ("colour", "grey"),
        ("no image", "neither"),
    ],
)
def test_a_bad_psf_file_is_refused(tmp_path: Path, case: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        PsfFitEngine(PsfFitSettings(file=str(write_bad(tmp_path, case))))


@pytest.mark.parametrize(
    ("name", "value"),
    [("most", 0), ("sigma_x", 0.0), ("sigma_y", -1.0), ("angle", math.inf), ("starts", -1)],
)
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        PsfFitSettings(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "bounds", "beyond"),
    [
        ("crop_size", (3, 127), (1, 129)),
        ("oversampling", (1, 1000), (0, 1001)),
        ("most", (1, 32), (0, 33)),
        ("starts", (0, 1000), (-1, 1001)),
        ("seed", (0, 10**9), (-1,)),
        ("steps", (1, 1000), (0, 1001)),
        ("sigma_x", (0.01, 100.0), (0.0099, 100.1)),
        ("sigma_y", (0.01, 100.0), (0.0099, 100.1)),
        ("reach", (1e-9, 1e9), (0.0, math.inf)),
        ("background_prior", (1e-9, 1e9), (0.0, math.inf)),
        ("max_chi2", (1e-9, 1e9), (0.0, math.inf)),
        ("width_prior", (0.0, 1e9), (-1e-9, math.inf)),
        ("target_penalty", (0.0, 1e9), (-1e-9, math.inf)),
        ("angle", (-720.0, 720.0), (math.nan, math.inf)),
    ],
)
def test_settings_are_taken_up_to_their_bounds(
    name: str, bounds: tuple[float, ...], beyond: tuple[float, ...]
) -> None:
    for value in bounds:
        assert getattr(PsfFitSettings(**{name: value}), name) == value  # type: ignore[arg-type]
    for value in beyond:
        with pytest.raises(ValueError, match=f"^{name} must be"):
            PsfFitSettings(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("angle", [0, 180, -180, 360])
def test_half_a_turn_is_no_turn(angle: float) -> None:
    """A Gaussian along the axes needs no table, whose fits differ in the last digits."""
    pixels, _, _ = scenes(10, 2, seed=12)
    straight, turned_back = (
        PsfFitEngine(PsfFitSettings(sigma_x=0.5, sigma_y=0.7, angle=a)) for a in (0, angle)
    )
    expected, found = (fit(e, batch_of(e, pixels)) for e in (straight, turned_back))
    np.testing.assert_array_equal(found.x, expected.x)
    assert turned_back.psf == straight.psf == (0.5, 0.7)


@pytest.mark.parametrize("turn", [90.0, 30.0])
def test_the_angle_is_from_x_towards_y(turn: float) -> None:
    engine = PsfFitEngine(PsfFitSettings(sigma_x=0.9, sigma_y=0.5, angle=turn))
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    assert engine.psf == pytest.approx(
        (math.hypot(0.9 * cosine, 0.5 * sine), math.hypot(0.9 * sine, 0.5 * cosine))
    )


def test_a_check_needs_every_batch_size_to_find_the_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, sizes = PsfFitEngine(GAUSSIAN), []
    run = engine.run
    monkeypatch.setattr(engine, "run", lambda batch: sizes.append(len(batch)) or run(batch))
    engine.check()
    assert sizes == [1, 8, 64]
    missing = run(batch_of(engine, np.zeros((1, SIZE, SIZE))))
    monkeypatch.setattr(engine, "run", lambda batch: missing)
    with pytest.raises(ModelError, match=r"psf-fit on numba .* misses a bright target"):
        engine.check((1,))

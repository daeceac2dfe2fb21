"""Calibration against recordings whose PSF, gain and noise are known."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer
from scipy.integrate import dblquad, quad
from scipy.stats import norm
from typer.testing import CliRunner, Result

from dscsnet.engines.errors import DscsnetError
from dscsnet.engines.imaging import gaussian_profile
from dscsnet.pipeline.cli import new_app
from dscsnet.pipeline.config import load_config
from dscsnet.pipeline.sources import SourceFrame, open_source
from dscsnet.tools.calibration import mixture
from dscsnet.tools.calibration.calibration import calibrate
from dscsnet.tools.calibration.fit import (
    ALL,
    INTENSITY,
    LEVEL,
    SHAPE,
    fit_spots,
    shape_information,
    spot_images,
)
from dscsnet.tools.calibration.mixture import narrow_mode
from dscsnet.tools.calibration.noise import Noise, measure_noise
from dscsnet.tools.calibration.picture import HEAD, MARGIN, SIDE, draw_calibration
from dscsnet.tools.calibration.psf import (
    covariance_jacobians,
    covariances,
    ellipse,
    fill_spot,
    shape_of,
)
from dscsnet.tools.calibration.result import Calibration, CalibrationSettings, Psf
from dscsnet.tools.commands.calibrate import calibrate as command
from dscsnet.tools.drawing.axes import ticks
from dscsnet.tools.drawing.canvas import BACKGROUND

Array = np.ndarray
NODES, WEIGHTS = np.polynomial.legendre.leggauss(5)


def covariance(long: float, short: float, angle: float = 0.0) -> Array:
    """Elements xx, yy, xy of an ellipse; the angle in degrees, from x towards y."""
    turn = math.radians(angle)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    matrix = rotation @ np.diag([long**2, short**2]) @ rotation.T
    return np.array([matrix[0, 0], matrix[1, 1], matrix[0, 1]])


ROUND, TURNED = covariance(0.5, 0.5), covariance(0.8, 0.55, 30)


def add_spot(image: Array, x: float, y: float, light: float, shape: Array) -> None:
    """Add a Gaussian, averaged over 5x5 nodes in each pixel."""
    left, top, half = round(x), round(y), 12
    rows, columns = np.mgrid[top - half : top + half + 1, left - half : left + half + 1]
    matrix = np.array([[shape[0], shape[2]], [shape[2], shape[1]]])
    inverse, norm = np.linalg.inv(matrix), 1 / (2 * math.pi * math.sqrt(np.linalg.det(matrix)))
    for node_y, weight_y in zip(NODES / 2, WEIGHTS / 2, strict=True):
        for node_x, weight_x in zip(NODES / 2, WEIGHTS / 2, strict=True):
            dx, dy = columns + node_x - x, rows + node_y - y
            form = inverse[0, 0] * dx**2 + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy**2
            image[rows, columns] += light * weight_x * weight_y * norm * np.exp(-0.5 * form)


def places(random: np.random.Generator, number: int, side: int = 320) -> Array:
    """Positions at least 30 px apart, (number, 2)."""
    grid = np.stack(np.meshgrid(*2 * [np.arange(22, side - 22, 38)]), axis=-1).reshape(-1, 2)
    chosen = grid[random.permutation(len(grid))[:number]]
    return chosen + random.uniform(-4, 4, chosen.shape)


def sky(
    seed: int,
    shape: Array,
    *,
    spots: int = 40,
    pairs: int = 0,
    extended: int = 0,
    noise: float = 5.0,
    level: float = 1000.0,
) -> Array:
    """Noise-free image of point targets, close pairs and extended objects."""
    random = np.random.default_rng(seed)
    image = np.full((320, 320), level)
    light = noise * np.exp(random.uniform(math.log(60), math.log(600), 64))
    for number, (x, y) in enumerate(places(random, spots + pairs + extended)):
        if number < spots:
            add_spot(image, x, y, light[number], shape)
        elif number < spots + pairs:
            apart, turn = random.uniform(0.5, 1.4) / 2, random.uniform(0, 2 * math.pi)
            share = random.uniform(0.3, 0.7)
            for sign, part in ((1, share), (-1, 1 - share)):
                dx, dy = sign * apart * math.cos(turn), sign * apart * math.sin(turn)
                add_spot(image, x + dx, y + dy, light[number] * part, shape)
        else:
            size = random.uniform(0.8, 2.0)
            own = covariance(size, size * random.uniform(0.6, 1), random.uniform(0, 180))
            add_spot(image, x, y, 4 * light[number], shape + own)
    return image


def record(
    path: Path,
    images: Sequence[Array],
    seed: int,
    noise: float = 5.0,
    gain: float | None = None,
    dtype: type = np.uint16,
) -> Path:
    """Write images with noise, rounded, as a recording."""
    random = np.random.default_rng(seed + 10_000)
    frames = []
    for image in images:
        sigma = np.sqrt(noise**2 + (0 if gain is None else image / gain))
        frames.append(image + sigma * random.standard_normal(image.shape))
    full = np.iinfo(dtype).max
    np.save(path, np.clip(np.rint(frames), 0, full).astype(dtype))
    return path


def measure(path: Path, **settings: Any) -> Calibration:
    with open_source(path) as source:
        return calibrate(source, CalibrationSettings(**settings))


def told(result: Calibration) -> Psf:
    assert result.psf is not None, result.problem
    return result.psf


# The compiled PSF.


@pytest.mark.parametrize(
    ("long", "short", "angle"),
    [(0.9, 0.6, 30), (0.5, 0.35, 60), (0.35, 0.3, 45), (1.5, 0.7, -70), (0.6, 0.6, 0)],
)
def test_a_pixel_is_the_integral_of_a_turned_gaussian(
    long: float, short: float, angle: float
) -> None:
    shape = covariance(long, short, angle)
    matrix = np.array([[shape[0], shape[2]], [shape[2], shape[1]]])
    inverse, norm = np.linalg.inv(matrix), 1 / (2 * math.pi * math.sqrt(np.linalg.det(matrix)))
    x, y = 2.3, 1.8
    filled = np.empty((6, 5, 5))
    fill_spot(x, y, *shape_of(shape), filled)

    def density(row: float, column: float) -> float:
        away = np.array([column - x, row - y])
        return norm * math.exp(-0.5 * away @ inverse @ away)

    for row, column in ((2, 2), (1, 3), (4, 1)):
        edges = (column - 0.5, column + 0.5, row - 0.5, row + 0.5)
        expected = dblquad(density, *edges, epsabs=1e-11)[0]
        assert filled[0, row, column] == pytest.approx(expected, abs=1e-8)


def test_an_upright_gaussian_is_that_of_the_imaging_model() -> None:
    filled = np.empty((6, 9, 9))
    fill_spot(4.2, 3.7, *shape_of(np.array([0.36, 0.25, 0.0])), filled)
    expected = gaussian_profile(3.7, 9, 0.5)[:, None] * gaussian_profile(4.2, 9, 0.6)
    np.testing.assert_allclose(filled[0], expected, atol=1e-10)


@pytest.mark.parametrize("number", range(5))
def test_derivatives_are_those_of_the_pixels(number: int) -> None:
    at = np.array([4.2, 3.7, *shape_of(TURNED)])
    filled, above, below = np.empty((3, 6, 9, 9))
    step = np.zeros(5)
    step[number] = 1e-5
    fill_spot(*at, filled)
    fill_spot(*(at + step), above)
    fill_spot(*(at - step), below)
    np.testing.assert_allclose(filled[number + 1], (above[0] - below[0]) / 2e-5, atol=1e-8)


def test_shape_covariance_and_ellipse_agree() -> None:
    shape = shape_of(TURNED)
    np.testing.assert_allclose(covariances(shape[None])[0], TURNED)
    assert ellipse(TURNED) == pytest.approx((0.8, 0.55, 30))
    assert ellipse(covariance(0.8, 0.55, 110)).angle == pytest.approx(-70)
    jacobian = covariance_jacobians(shape[None])[0]
    for number in range(3):
        step = np.eye(3)[number] * 1e-6
        moved = covariances((shape + step)[None]) - covariances((shape - step)[None])
        np.testing.assert_allclose(jacobian[:, number], moved[0] / 2e-6, rtol=1e-5, atol=1e-9)


# Fits of single spots.


def fitted_spots(number: int, noise: float) -> tuple[Array, Array, Array, Array]:
    random = np.random.default_rng(5)
    truth = np.zeros((number, ALL))
    truth[:, :2] = random.uniform(-0.5, 0.5, (number, 2))
    truth[:, INTENSITY], truth[:, LEVEL], truth[:, LEVEL + 1] = 800, 3, 0.5
    truth[:, SHAPE] = shape_of(TURNED)
    column = np.arange(13) - 6
    pixels = spot_images(truth, 13) + 3 + 0.5 * column
    pixels = pixels + noise * random.standard_normal(pixels.shape)
    start = np.zeros((number, ALL))
    start[:, INTENSITY], start[:, ALL - 3 : ALL - 1] = 500, math.log(0.7)
    return truth, pixels, np.full(pixels.shape, 1 / max(noise, 1e-3) ** 2), start


def test_a_fit_recovers_a_spot_without_noise() -> None:
    truth, pixels, weights, start = fitted_spots(8, 0.0)
    fits = fit_spots(pixels, weights, start, free_shape=True)
    assert fits.converged.all()
    np.testing.assert_allclose(fits.parameters, truth, atol=1e-6, rtol=1e-6)


def test_errors_of_fits_are_those_seen() -> None:
    truth, pixels, weights, start = fitted_spots(400, 4.0)
    fits = fit_spots(pixels, weights, start, free_shape=True)
    errors = np.sqrt(np.einsum("nii->ni", np.linalg.inv(fits.normal)))
    pulls = (fits.parameters - truth) / errors
    assert np.abs(pulls.mean(axis=0)).max() < 0.25
    np.testing.assert_allclose(pulls.std(axis=0), 1, atol=0.15)
    assert fits.chi2.mean() == pytest.approx(13 * 13 - ALL, rel=0.03)


def test_spots_fitted_with_a_common_shape_ask_for_the_true_one() -> None:
    truth, pixels, weights, start = fitted_spots(200, 4.0)
    start[:, SHAPE] = shape_of(TURNED * 1.03)
    fits = fit_spots(pixels, weights, start, free_shape=False)
    np.testing.assert_array_equal(fits.parameters[:, SHAPE], start[:, SHAPE])
    asked, information = shape_information(fits)
    total = information.sum(axis=0)
    mean = np.linalg.solve(total, np.einsum("nij,nj->i", information, asked))
    errors = np.sqrt(np.diag(np.linalg.inv(total)))
    assert (np.abs(mean - truth[0, SHAPE]) < 3.5 * errors).all()
    assert np.abs(mean - start[0, SHAPE])[:2].min() > 4 * errors[:2].max()


# The narrow mode.


def test_densities_are_the_convolutions_they_stand_for() -> None:
    center, scatter, share, excess = -0.7, 0.02, 0.4, 0.2
    errors = np.array([0.03, 0.01, 0.05])
    widths = np.array([-0.75, -0.4, 0.6])
    _, wide, _ = mixture._densities(widths, errors, center, scatter, share, excess)
    for width, error, density in zip(widths, errors, wide, strict=True):
        sigma = math.hypot(error, scatter)

        def product(away: float, width: float = width, sigma: float = sigma) -> float:
            narrow = norm.pdf(width, center + away, sigma)
            return float(narrow) * math.exp(-away / excess) / excess

        peak = max(width - center, 0.0)
        expected = quad(product, 0, 4, points=[peak], epsabs=1e-12, limit=200)[0]
        usual = 1 - mixture.ODD_SHARE
        assert density == pytest.approx(usual * share * expected, rel=0.02)


@pytest.mark.parametrize("wide", [0, 30, 90])
def test_the_narrow_mode_is_found_under_wider_ones(wide: int) -> None:
    random = np.random.default_rng(wide)
    errors = random.uniform(0.01, 0.04, 60 + wide)
    widths = -0.69 + errors * random.standard_normal(len(errors))
    widths[60:] += random.exponential(0.3, wide)
    mode = narrow_mode(widths, errors)
    assert mode.center == pytest.approx(-0.69, abs=0.012)
    assert mode.scatter < 0.02
    assert mode.member[:60].mean() > 0.75
    assert (mode.member[60:][widths[60:] > -0.5] < 0.05).all()


def test_widths_that_scatter_are_said_to() -> None:
    random = np.random.default_rng(1)
    mode = narrow_mode(-0.69 + 0.1 * random.standard_normal(200), np.full(200, 0.01))
    assert mode.scatter == pytest.approx(0.1, rel=0.25)


# The whole way.


CASES: dict[str, dict[str, Any]] = {
    "round": {"shape": ROUND},
    "turned": {"shape": TURNED},
    "wide": {"shape": covariance(1.5, 1.2, -20)},
    "8 bit": {"shape": ROUND, "noise": 0.5, "level": 40.0, "dtype": np.uint8},
    "contaminated": {"shape": ROUND, "spots": 25, "pairs": 20, "extended": 10},
}


@pytest.mark.parametrize("case", CASES)
def test_the_psf_is_recovered_within_honest_errors(case: str, tmp_path: Path) -> None:
    settings = dict(CASES[case])
    shape, dtype = settings.pop("shape"), settings.pop("dtype", np.uint16)
    noise = settings.get("noise", 5.0)
    pulls = []
    for seed in range(6):
        path = record(
            tmp_path / f"{seed}.npy", [sky(seed, shape, **settings)], seed, noise, dtype=dtype
        )
        psf = told(measure(path))
        pulls.append((psf.covariance - shape) / np.sqrt(np.diag(psf.error)))
        assert psf.sigma == pytest.approx(np.sqrt(shape[:2]), rel=0.025)
        assert max(psf.sigma_error) < 0.015 * max(psf.sigma)
    assert 0.4 < math.sqrt(np.mean(np.square(pulls))) < 1.5


def test_an_ellipse_is_told_with_its_angle(tmp_path: Path) -> None:
    pulls = []
    for seed in range(6):
        psf = told(measure(record(tmp_path / f"{seed}.npy", [sky(seed, TURNED)], seed)))
        assert psf.elliptical
        pulls.append((np.array(psf.axes) - (0.8, 0.55, 30)) / psf.axes_error)
        assert psf.axes.angle == pytest.approx(30, abs=1.5)
    assert 0.3 < math.sqrt(np.mean(np.square(pulls))) < 1.6


def test_a_circle_has_no_angle(tmp_path: Path) -> None:
    psf = told(measure(record(tmp_path / "frames.npy", [sky(3, ROUND)], 3)))
    assert not psf.elliptical
    assert math.isnan(psf.axes.angle)
    assert math.isnan(psf.axes_error.angle)
    assert psf.axes.long == psf.axes.short == pytest.approx(0.5, rel=0.02)


def test_errors_of_the_axes_follow_from_those_of_the_covariance() -> None:
    error = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -0.4], [0.5, -0.4, 2.0]]) * 1e-6
    psf = Psf(TURNED, error, 0.0, 0.0)
    drawn = np.random.default_rng(0).multivariate_normal(TURNED, error, 4000)
    seen = np.array([ellipse(each) for each in drawn]).std(axis=0)
    np.testing.assert_allclose(psf.axes_error, seen, rtol=0.06)
    np.testing.assert_allclose(psf.sigma_error, np.sqrt(drawn[:, :2]).std(axis=0), rtol=0.06)


def test_moving_targets_are_told_apart_from_moving_pairs(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    start, speed = places(random, 30), random.uniform(-0.5, 0.5, (30, 2))
    images = []
    for number in range(8):
        image = np.full((320, 320), 1000.0)
        for each, (x, y) in enumerate(start + number * speed):
            if each < 8:
                add_spot(image, x, y, 1500, ROUND)
            else:  # a pair, 0.7 px and more apart
                turn, apart = each, 0.35 + 0.01 * each
                dx, dy = apart * math.cos(turn), apart * math.sin(turn)
                add_spot(image, x + dx, y + dy, 900, ROUND)
                add_spot(image, x - dx, y - dy, 600, ROUND)
        images.append(image)
    result = measure(record(tmp_path / "frames.npy", images, 7))
    psf = told(result)
    assert result.objects == 8
    assert psf.sigma == pytest.approx((0.5, 0.5), abs=3.5 * max(psf.sigma_error))
    assert any("of the narrow mode" in doubt for doubt in result.warnings)


def test_one_object_is_told_with_a_doubt(tmp_path: Path) -> None:
    images = []
    for number in range(10):
        image = np.full((120, 120), 500.0)
        add_spot(image, 50 + 0.3 * number, 60.2 + 0.1 * number, 2000, ROUND)
        images.append(image)
    result = measure(record(tmp_path / "frames.npy", images, 0))
    assert told(result).sigma == pytest.approx((0.5, 0.5), rel=0.03)
    assert result.objects == 1
    assert "one object" in result.warnings[0]


def test_extended_objects_alone_tell_no_psf(tmp_path: Path) -> None:
    for seed in range(3):
        image = sky(seed, ROUND, spots=0, extended=45)
        result = measure(record(tmp_path / f"{seed}.npy", [image], seed))
        assert result.psf is None
        assert "isolated point targets" in result.problem


def test_what_is_no_single_gaussian_is_left_out(tmp_path: Path) -> None:
    image = sky(1, ROUND, spots=20)
    random = np.random.default_rng(2)
    hot = [(x, y) for x, y in random.integers(20, 300, (60, 2)) if _lonely(image, x, y)][:10]
    for x, y in hot:
        image[y, x] += 800
    result = measure(record(tmp_path / "frames.npy", [image], 1))
    assert told(result).sigma == pytest.approx((0.5, 0.5), rel=0.02)
    lost = result.dropped["narrower than 0.25 px: hot pixels"]
    lost += result.dropped["the fit goes astray"] + result.dropped["no single Gaussian"]
    assert lost >= len(hot) > 3


def _lonely(image: Array, x: int, y: int) -> bool:
    return bool(np.ptp(image[y - 18 : y + 19, x - 18 : x + 19]) < 1e-6)


def test_saturated_spots_are_left_out(tmp_path: Path) -> None:
    image = sky(4, ROUND, spots=40, level=1000.0)
    path = record(tmp_path / "frames.npy", [np.minimum(image, 1600.0)], 4, noise=0.0)
    frames = np.load(path).astype(float) + np.random.default_rng(0).normal(0, 5, (1, 320, 320))
    np.save(path, np.minimum(np.rint(frames), 1600).astype(np.uint16))
    result = measure(path, saturation=1600.0)
    assert result.dropped["saturated"] > 5
    assert told(result).sigma == pytest.approx((0.5, 0.5), rel=0.05)


@pytest.mark.parametrize(("highest", "known"), [(4095, True), (4000, False)])
def test_full_scale_is_known_where_it_is_met(highest: int, known: bool, tmp_path: Path) -> None:
    image = np.minimum(3 * sky(5, ROUND, spots=40), highest)
    path = record(tmp_path / "frames.npy", [image], 5)
    np.save(path, np.minimum(np.load(path), highest))
    assert (measure(path).dropped["saturated"] > 0) == known


def test_a_psf_with_a_halo_is_sampled(tmp_path: Path) -> None:
    """The form that is told holds the halo: its light is that of both Gaussians."""
    random = np.random.default_rng(11)
    image = np.full((320, 320), 1000.0)
    for x, y in places(random, 45):
        add_spot(image, x, y, 2000, covariance(0.6, 0.6))
        add_spot(image, x, y, 900, covariance(1.2, 1.2))
    result = measure(record(tmp_path / "frames.npy", [image], 11, noise=2.0))
    assert result.sampled is not None
    psf = result.sampled.psf
    light = psf.samples / psf.oversampling**2
    middle = len(light) // 2
    y, x = (np.indices(light.shape) - middle) / psf.oversampling
    for radius in (0.6, 1.2, 2.4, 3.6):
        inside = light[np.hypot(x, y) < radius].sum() / light.sum()
        expected = 1 - sum(
            share * math.exp(-0.5 * (radius / sigma) ** 2)
            for share, sigma in ((2000 / 2900, 0.6), (900 / 2900, 1.2))
        )
        assert inside == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize("apart", [0.5, 0.8])
def test_unresolved_pairs_tell_no_psf(apart: float, tmp_path: Path) -> None:
    """Every spot is as wide as the others, but not along the same axis."""
    random = np.random.default_rng(3)
    image = np.full((480, 480), 1000.0)
    for x, y in places(random, 120):
        angle = random.uniform(0, math.pi)
        dx, dy = 0.5 * apart * math.cos(angle), 0.5 * apart * math.sin(angle)
        add_spot(image, x + dx, y + dy, 1500, covariance(0.6, 0.6))
        add_spot(image, x - dx, y - dy, 1500, covariance(0.6, 0.6))
    result = measure(record(tmp_path / "frames.npy", [image], 3))
    assert result.psf is None
    assert "unresolved pairs" in result.problem


NOTHING: dict[str, Callable[[], Array]] = {
    "noise": lambda: np.random.default_rng(0).normal(500, 5, (3, 90, 110)).astype(np.uint16),
    "flat": lambda: np.full((2, 64, 64), 7, np.uint8),
    "blank": lambda: np.zeros((64, 64), np.float32),
    "not a number": lambda: np.full((2, 64, 64), np.nan, np.float32),
    "tiny": lambda: np.ones((3, 4), np.uint8),
}


@pytest.mark.parametrize("kind", NOTHING)
def test_a_recording_without_spots_says_so(kind: str, tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", NOTHING[kind]())
    result = measure(tmp_path / "frames.npy")
    assert result.psf is None
    assert result.problem.startswith("no spots")
    assert draw_calibration(result).any()


def test_too_few_spots_are_counted_by_reason(tmp_path: Path) -> None:
    result = measure(record(tmp_path / "frames.npy", [sky(2, ROUND, spots=3)], 2))
    assert result.psf is None
    assert result.problem.startswith("only 3 isolated spots")


def test_wide_spots_are_called_wide(tmp_path: Path) -> None:
    image = np.full((320, 320), 1000.0)
    rows, columns = np.mgrid[:320, :320]
    for x, y in places(np.random.default_rng(3), 12, 320)[:4]:
        image += 300 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 6.5**2))
    result = measure(record(tmp_path / "frames.npy", [image], 3))
    assert result.psf is None


# Noise and gain.


def noise_of(frames: Array) -> Noise:
    noise = measure_noise(SourceFrame(k, frame, None) for k, frame in enumerate(frames))
    assert noise is not None
    return noise


def graded(count: int, seed: int, *, gain: float, read: float, span: float = 2500.0) -> Array:
    """Frames whose level rises from left to right, with a fixed pattern of a few counts."""
    random = np.random.default_rng(seed)
    image = np.broadcast_to(np.linspace(500, 500 + span, 256), (208, 256))
    pattern = random.normal(0, 4, image.shape)
    sigma = np.sqrt(read**2 + image / gain)
    noise = random.standard_normal((count, *image.shape))
    return np.rint(image + pattern + sigma * noise).astype(np.uint16)


def test_photon_transfer_finds_gain_and_read_noise_with_honest_errors() -> None:
    pulls = []
    for seed in range(12):
        noise = noise_of(graded(6, seed, gain=20.0, read=4.0))
        assert noise.method == "in time"
        assert noise.reason == ""
        read = math.sqrt(4.0**2 + 1 / 12)  # rounding is part of it
        there = math.sqrt(read**2 + noise.level / 20)
        pulls.append(
            [
                (noise.gain - 20) / noise.gain_error,
                (noise.read - read) / noise.read_error,
                (noise.sigma - there) / noise.sigma_error,
            ]
        )
        assert noise.gain == pytest.approx(20, rel=0.08)
    assert 0.5 < math.sqrt(np.mean(np.square(pulls))) < 1.5


def test_a_fixed_pattern_counts_in_single_frames_only() -> None:
    frames = graded(2, 0, gain=20.0, read=4.0, span=0.0)
    in_time, in_space = noise_of(frames), noise_of(frames[:1])
    read = math.sqrt(16 + 500 / 20 + 1 / 12)
    assert in_time.sigma == pytest.approx(read, abs=5 * in_time.sigma_error)
    assert in_space.sigma == pytest.approx(math.hypot(read, 4), abs=5 * in_space.sigma_error)
    assert in_space.method == "in space"


def test_without_a_range_of_levels_the_gain_cannot_be_told() -> None:
    noise = noise_of(graded(6, 1, gain=20.0, read=4.0, span=5.0))
    assert math.isnan(noise.gain)
    assert math.isnan(noise.read)
    assert "noise does not grow" in noise.reason


def test_frames_of_another_scene_are_not_subtracted() -> None:
    random = np.random.default_rng(3)
    rough = np.array([cv2.GaussianBlur(random.normal(0, 60, (200, 200)), (0, 0), 1.0)] * 4)
    frames = np.rint(2000 + rough + random.normal(0, 1, rough.shape)).astype(np.uint16)
    frames[1::2] = frames[1::2, ::-1, ::-1] // 2
    assert noise_of(frames).method == "in space"


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_8_bit_noise_is_told_with_its_rounding(sigma: float) -> None:
    random = np.random.default_rng(4)
    level = random.uniform(60, 100, (1, 1, 256))
    frames = np.rint(level + random.normal(0, sigma, (8, 160, 256))).astype(np.uint8)
    noise = noise_of(frames)
    assert noise.sigma == pytest.approx(math.sqrt(sigma**2 + 1 / 12), rel=0.015)


def test_noise_tells_nothing_of_frames_too_small() -> None:
    assert measure_noise([SourceFrame(0, np.ones((8, 8), np.uint8), None)]) is None


# Report, files and picture.


@pytest.fixture
def stars(tmp_path: Path) -> Path:
    return record(tmp_path / "stars.npy", [sky(6, TURNED)], 6)


def invoke(*arguments: str | Path) -> Result:
    app: typer.Typer = new_app("test")
    app.command()(command)
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_the_configuration_is_one_of_the_node(stars: Path, tmp_path: Path) -> None:
    written = tmp_path / "node.yaml"
    result = invoke(stars, "--write", written)
    assert result.exit_code == 0, result.output
    psf = told(measure(stars))
    engine = load_config(written).engine
    assert engine.psf_ellipse == pytest.approx(psf.axes, abs=5e-3)
    assert engine.psf_error == pytest.approx(psf.rms_misfit, abs=1e-4)
    text = written.read_text()
    assert text.startswith(f"# Measured by dscsnet calibrate on 1 frames of {stars}\n")
    assert f"± {psf.sigma_error[0]:.4f}" in text
    assert "spots of" in text


def test_a_file_is_not_replaced_unless_told(stars: Path, tmp_path: Path) -> None:
    written = tmp_path / "node.yaml"
    written.write_text("name: mine\n")
    refused = invoke(stars, "--write", written)
    assert isinstance(refused.exception, DscsnetError)
    assert "--force" in str(refused.exception)
    assert written.read_text() == "name: mine\n"
    assert invoke(stars, "--write", written, "--force").exit_code == 0
    assert "psf_ellipse" in written.read_text()


def test_json_says_what_the_table_says(stars: Path) -> None:
    result = invoke(stars, "--json")
    document = json.loads(result.stdout)
    assert document["psf"]["elliptical"] is True
    assert document["psf"]["long"] == pytest.approx(0.8, rel=0.02)
    assert document["noise"]["gain"] is None
    assert document["noise"]["sigma"] == pytest.approx(5, rel=0.05)
    assert document["spots"] <= document["candidates"]
    table = invoke(stars).stdout
    assert f"{document['psf']['sigma_x']:.4f}" in table
    assert "angle of the long axis" in table


def test_what_cannot_be_told_is_an_error_after_the_report(tmp_path: Path) -> None:
    path = record(tmp_path / "frames.npy", [np.full((100, 100), 300.0)], 0)
    written, picture = tmp_path / "node.yaml", tmp_path / "picture.png"
    result = invoke(path, "--write", written, "--picture", picture)
    assert isinstance(result.exception, DscsnetError)
    assert "no spots" in str(result.exception)
    assert "noise, counts" in result.stdout
    assert not written.exists()
    assert picture.exists()


def test_wrong_use_is_told(stars: Path, tmp_path: Path) -> None:
    assert invoke(stars, "--gain", "0").exit_code == 2
    assert invoke(stars, "--frames", "0").exit_code == 2
    missing = invoke(tmp_path / "nothing.npy")
    assert "no such file" in str(missing.exception)


def test_the_picture_shows_spot_and_residual(stars: Path, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    assert invoke(stars, "--picture", path).exit_code == 0
    loaded = cv2.imread(str(path))
    assert loaded is not None
    picture = loaded.astype(float)
    panels = [
        picture[HEAD : HEAD + SIDE, left : left + SIDE]
        for left in (MARGIN + k * (SIDE + MARGIN) for k in range(3))
    ]
    rows, columns = np.indices((SIDE, SIDE))
    for panel in panels[:2]:  # observed and model: bright in the middle, dark in the corner
        light = panel.sum(axis=2) ** 3
        center = [(light * axis).sum() / light.sum() for axis in (rows, columns)]
        assert center == pytest.approx([SIDE / 2, SIDE / 2], abs=8)
    assert np.abs(panels[2] - BACKGROUND).mean() < 80
    lower = picture[HEAD + SIDE + 60 :]
    assert (np.abs(lower - BACKGROUND).sum(axis=2) > 60).mean() > 0.02


def test_ticks_are_round_numbers_inside() -> None:
    np.testing.assert_allclose(ticks(0.43, 0.58), [0.45, 0.5, 0.55])
    np.testing.assert_allclose(ticks(-3, 12), [0, 5, 10])

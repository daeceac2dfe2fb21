"""Refinement of a network's answer by least squares."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from scipy.optimize import least_squares

from dscsnet.engines.array_types import Float
from dscsnet.engines.fitting import Refined, RefineSettings, Slots, refine
from dscsnet.engines.imaging import gaussian_profile, render
from dscsnet.engines.noise_model import NO_LIGHT_NOISE, USUAL_NOISE, NoiseModel

SIZE, CENTER, SLOTS = 11, 5, 5
#: No alternatives, and no end before the minimum.
EXACT = RefineSettings(steps=60, tolerance=0, alternatives=1)


def crowded(number: int, targets: int, seed: int, apart: float = 1.2) -> tuple[Float, Float, Float]:
    """Positions (crop px) and ln intensity of targets that are not too close, (n, SLOTS) each."""
    rng = np.random.default_rng(seed)
    x, y = np.full((2, number, SLOTS), float(CENTER))
    for i in range(number):
        while True:
            x[i, :targets], y[i, :targets] = CENTER + rng.uniform(-1.8, 1.8, (2, targets))
            distance = np.hypot(*(a[i, :targets, None] - a[i, :targets] for a in (x, y)))
            if targets < 2 or distance[~np.eye(targets, dtype=bool)].min() > apart:
                break
    return x, y, rng.uniform(np.log(150), np.log(500), (number, SLOTS))


def images(x: Float, y: Float, log_intensity: Float, targets: int, sigma: float = 0.6) -> Float:
    crops = zip(x[:, :targets], y[:, :targets], np.exp(log_intensity[:, :targets]), strict=True)
    return np.stack([render(a, b, c, (SIZE, SIZE), sigma) for a, b, c in crops])


def slots(x: Float, y: Float, log_intensity: Float, sigma: float = 9.0) -> Slots:
    """Slots whose sigmas are all the same; by default so wide that they hardly matter."""
    return Slots(x, y, log_intensity, *(np.full(x.shape, sigma) for _ in range(3)))


def sure(number: int, targets: int, probability: float = 1.0) -> Float:
    """ln probability of the counts, the rest spread over all others."""
    log_count = np.full((number, SLOTS + 2), (1 - probability) / (SLOTS + 1))
    log_count[:, targets] = probability
    with np.errstate(divide="ignore"):
        return np.log(log_count)


def fit(
    pixels: Float, prior: Slots, log_count: Float, settings: RefineSettings = EXACT, **given: Any
) -> Refined:
    number = len(pixels)
    usable = given.get("usable", np.ones(pixels.shape, bool))
    noise = np.full(number, given.get("noise", 1.0), np.float32)
    psf = np.tile(np.asarray(given.get("psf", (0.6, 0.6)), np.float32), (number, 1))
    crops = (pixels.astype(np.float32), usable, noise, psf)
    noise_model = given.get("noise_model", NO_LIGHT_NOISE)
    return refine(*crops, prior, log_count, settings, noise_model=noise_model)


def reference(
    pixels: Float,
    prior: Slots,
    targets: int,
    noise: float,
    psf: tuple[float, float],
    noise_model: NoiseModel = NO_LIGHT_NOISE,
) -> tuple[Float, Float, Float]:
    """Solution, covariance and reduced chi-square of one crop, by SciPy.

    The unknowns are level, slopes, ln width, then x, y, ln intensity of each target.
    """
    columns = [column[0, :targets] for column in prior.columns()]
    mean = np.concatenate([np.zeros(4), np.stack(columns[:3], 1).ravel()])
    sigma = np.concatenate([[30, 30, 30, 0.05], 2 * np.stack(columns[3:], 1).ravel()])
    grid_y, grid_x = np.mgrid[:SIZE, :SIZE]
    reach_x, reach_y = 3 * np.array(psf) + 1.2
    inside = np.zeros((SIZE, SIZE), bool)
    for x, y in zip(*columns[:2], strict=True):
        inside |= ((grid_x - x) / reach_x) ** 2 + ((grid_y - y) / reach_y) ** 2 <= 1

    def light(values: Float) -> Float:
        total = np.zeros((SIZE, SIZE))
        for x, y, log_intensity in values[4:].reshape(-1, 3):
            along_x = gaussian_profile(x, SIZE, psf[0] * np.exp(values[3]))
            along_y = gaussian_profile(y, SIZE, psf[1] * np.exp(values[3]))
            total = total + np.exp(log_intensity) * along_y[:, None] * along_x
        return total

    def residual(values: Float, each: Float) -> Float:
        level, slope_x, slope_y = noise * values[:3]
        model = level + slope_x * (grid_x - CENTER) / CENTER + slope_y * (grid_y - CENTER) / CENTER
        excess = (model + light(values) - pixels) / each
        return np.concatenate([excess[inside], (values - mean) / sigma])

    start, each = mean, np.full((SIZE, SIZE), noise)
    for _ in range(1 if noise_model == NO_LIGHT_NOISE else 8):
        found = least_squares(residual, start, args=(each,), xtol=1e-12, ftol=1e-12, gtol=1e-10)
        data = residual(found.x, each)[: inside.sum()]
        start, bright = found.x, light(found.x)
        variance = noise**2 + bright / noise_model.gain + (noise_model.psf_error * bright) ** 2
        each = np.sqrt(variance)
    freedom = inside.sum() - 3 * targets - 4
    return found.x, np.linalg.inv(found.jac.T @ found.jac), (data**2).sum() / freedom


@pytest.mark.parametrize("targets", [1, 2, 4])
def test_finds_what_scipy_finds(targets: int) -> None:
    rng = np.random.default_rng(targets)
    x, y, log_intensity = crowded(6, targets, seed=targets)
    noise, psf = 2.0, (0.55, 0.7)
    for i in range(6):
        pixels = render(
            x[i, :targets], y[i, :targets], np.exp(log_intensity[i, :targets]), (SIZE, SIZE), *psf
        )
        pixels += noise * rng.normal(size=pixels.shape) + 3 + 0.4 * np.arange(SIZE)
        offset = 0.15 * rng.normal(size=(3, 1, SLOTS))
        prior = slots(x[i : i + 1] + offset[0], y[i : i + 1] + offset[1], log_intensity[i : i + 1])
        prior = replace(
            prior,
            sigma_x=np.full((1, SLOTS), 0.15),
            sigma_y=np.full((1, SLOTS), 0.2),
            sigma_log_intensity=np.full((1, SLOTS), 0.3),
        )
        fitted = fit(pixels[None], prior, sure(1, targets), noise=noise, psf=psf)
        values, covariance, chi2 = reference(pixels.astype(np.float32), prior, targets, noise, psf)
        assert fitted.count[0] == targets
        assert fitted.chi2[0] == pytest.approx(chi2, rel=1e-4)
        assert fitted.psf_factor[0] == pytest.approx(np.exp(values[3]), rel=1e-4)
        assert fitted.level[0] == pytest.approx(noise * values[0], rel=1e-3, abs=1e-3)
        covariance = covariance * max(1.0, float(chi2))
        weights = []
        for axis, name in enumerate(("x", "y", "log_intensity")):
            place = 4 + 3 * np.arange(targets) + axis
            variance = np.diag(covariance)[place]
            own, sigma = getattr(prior, name)[0, 0:targets], getattr(prior, f"sigma_{name}")[0, 0]
            weights.append(sigma**2 / (sigma**2 + variance))
            blend = weights[-1] * values[place] + (1 - weights[-1]) * own
            np.testing.assert_allclose(getattr(fitted, name)[0, :targets], blend, atol=2e-4)
            np.testing.assert_allclose(
                getattr(fitted, f"sigma_{name}")[0, :targets],
                (1 / variance + 1 / sigma**2) ** -0.5,
                rtol=2e-3,
            )
        place = 4 + 3 * np.arange(targets)
        np.testing.assert_allclose(
            fitted.covariance_xy[0, :targets],
            weights[0] * weights[1] * covariance[place, place + 1],
            rtol=2e-2,
            atol=1e-7,
        )


@pytest.mark.parametrize("noise_model", [NoiseModel(0.5, 0.0), NoiseModel(np.inf, 0.05)])
@pytest.mark.parametrize("targets", [1, 2])
def test_finds_what_scipy_finds_where_light_makes_noise(
    targets: int, noise_model: NoiseModel
) -> None:
    """The fit's own light weighs the pixels, and nothing of the network's answer is left."""
    rng = np.random.default_rng(targets)
    x, y, log_intensity = crowded(6, targets, seed=targets, apart=1.6)
    noise, psf = 2.0, (0.55, 0.7)
    for i in range(6):
        intensity = 4 * np.exp(log_intensity[i, :targets])
        clean = render(x[i, :targets], y[i, :targets], intensity, (SIZE, SIZE), *psf)
        variance = noise**2 + clean / noise_model.gain + (noise_model.psf_error * clean) ** 2
        pixels = clean + np.sqrt(variance) * rng.normal(size=clean.shape) + 3
        told = [column[i : i + 1] for column in (x, y, log_intensity + np.log(4))]
        prior = slots(*told, sigma=0.3)
        fitted = fit(pixels[None], prior, sure(1, targets), noise=noise, psf=psf,
                     noise_model=noise_model)  # fmt: skip
        crop = pixels.astype(np.float32)
        values, covariance, chi2 = reference(crop, prior, targets, noise, psf, noise_model)
        assert fitted.alone[0]
        assert fitted.chi2[0] == pytest.approx(chi2, rel=5e-3)
        assert fitted.psf_factor[0] == pytest.approx(np.exp(values[3]), rel=1e-3)
        covariance = covariance * max(1.0, float(chi2))
        for axis, name in enumerate(("x", "y", "log_intensity")):
            place = 4 + 3 * np.arange(targets) + axis
            sigma = np.sqrt(np.diag(covariance)[place])
            found = getattr(fitted, name)[0, :targets]
            np.testing.assert_allclose(found, values[place], atol=0.05 * sigma.min())
            stated = getattr(fitted, f"sigma_{name}")[0, :targets]
            np.testing.assert_allclose(stated, sigma, rtol=2e-2)


def test_one_target_reaches_the_cramer_rao_bound() -> None:
    number, truth = 3000, np.array([5.2, 4.7, np.log(60.0)])
    rng = np.random.default_rng(5)
    x, y, log_intensity = (np.full((number, SLOTS), value) for value in truth)
    pixels = images(x[:1], y[:1], log_intensity[:1], 1) + rng.normal(size=(number, SIZE, SIZE))
    settings = structs.replace(EXACT, width_prior=0.0)
    fitted = fit(pixels, slots(x, y, log_intensity), sure(number, 1), settings)

    def image(values: Float) -> Float:
        plane = values[3] + values[4] * np.arange(SIZE) + values[5] * np.arange(SIZE)[:, None]
        return plane + render(values[0], values[1], np.exp(values[2]), (SIZE, SIZE), 0.6)

    grid_y, grid_x = np.mgrid[:SIZE, :SIZE]
    inside = np.hypot(grid_x - truth[0], grid_y - truth[1]) <= 3 * 0.6 + 1.2
    values = np.concatenate([truth, np.zeros(3)])
    jacobian = np.stack(
        [(image(values + d) - image(values - d))[inside] / 2e-4 for d in 1e-4 * np.eye(6)], 1
    )
    bound = np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian)))
    for axis, name in enumerate(("x", "y", "log_intensity")):
        error = getattr(fitted, name)[:, 0] - truth[axis]
        assert np.sqrt((error**2).mean()) == pytest.approx(bound[axis], rel=0.1)
        within = (np.abs(error) < getattr(fitted, f"sigma_{name}")[:, 0]).mean()
        assert within == pytest.approx(0.683, abs=0.04)
    assert np.isnan(fitted.psf_factor).all()
    assert np.median(fitted.chi2) == pytest.approx(1, abs=0.05)


def test_three_targets_are_covered() -> None:
    number = 500
    x, y, log_intensity = crowded(number, 3, seed=8, apart=1.6)
    rng = np.random.default_rng(9)
    pixels = images(x, y, log_intensity, 3) + 2 * rng.normal(size=(number, SIZE, SIZE))
    fitted = fit(pixels, slots(x, y, log_intensity), sure(number, 3), noise=2.0)
    for sigmas, expected in ((1, 0.683), (2, 0.954)):
        inside = np.abs(fitted.x - x)[:, :3] < sigmas * fitted.sigma_x[:, :3]
        assert inside.mean() == pytest.approx(expected, abs=0.04)
    assert (np.abs(fitted.covariance_xy) <= fitted.sigma_x * fitted.sigma_y).all()


def test_a_wrong_width_is_found() -> None:
    number = 300
    x, y, log_intensity = crowded(number, 2, seed=2, apart=2.0)
    rng = np.random.default_rng(3)
    pixels = images(x, y, log_intensity, 2, sigma=0.66) + rng.normal(size=(number, SIZE, SIZE))
    fitted = fit(pixels, slots(x, y, log_intensity), sure(number, 2))
    deviation = (fitted.psf_factor - 1.1) / fitted.sigma_psf_factor
    assert np.median(fitted.psf_factor) == pytest.approx(1.1, abs=0.01)
    assert (np.abs(deviation) < 2).mean() > 0.9
    held = fit(
        pixels, slots(x, y, log_intensity), sure(number, 2), structs.replace(EXACT, width_prior=0.0)
    )
    assert np.median(held.chi2) > 1.5 * np.median(fitted.chi2)


@pytest.mark.parametrize("told", [1, 3])
def test_alternatives_repair_a_wrong_count(told: int) -> None:
    number = 60
    x, y, log_intensity = crowded(number, 2, seed=4, apart=1.5)
    x[:, 2:], y[:, 2:] = x[:, :1] + 0.6, y[:, :1]
    rng = np.random.default_rng(6)
    pixels = images(x, y, log_intensity, 2) + rng.normal(size=(number, SIZE, SIZE))
    prior = slots(x, y, log_intensity, sigma=0.3)
    log_count = np.full((number, SLOTS + 2), -np.inf)
    log_count[:, told], log_count[:, 2] = np.log(0.55), np.log(0.45)
    alone = fit(pixels, prior, log_count)
    assert (alone.count == told).all()
    np.testing.assert_allclose(alone.probability, np.exp(log_count))
    several = fit(pixels, prior, log_count, structs.replace(EXACT, alternatives=2))
    assert (several.count == 2).mean() > 0.8
    np.testing.assert_allclose(several.probability.sum(1), 1)
    right = several.count == 2
    assert (several.probability[right].argmax(1) == 2).all()


def test_zero_targets_are_neither_challenged_nor_tried() -> None:
    x, y, log_intensity = crowded(2, 1, seed=1)
    pixels = images(x, y, log_intensity, 1) + 7.0
    log_count = np.full((2, SLOTS + 2), -np.inf)
    log_count[:, :2] = np.log([[0.6, 0.4], [0.4, 0.6]])
    pixels[1] = 7.0
    fitted = fit(
        pixels, slots(x, y, log_intensity, 0.3), log_count, structs.replace(EXACT, alternatives=3)
    )
    assert fitted.count.tolist() == [0, 1]
    np.testing.assert_allclose(fitted.probability, np.exp(log_count))
    np.testing.assert_array_equal(fitted.x[0], x[0])
    assert np.isnan(fitted.psf_factor[0])
    assert fitted.chi2[0] > 10


def test_further_starts_rescue_a_bad_one() -> None:
    number = 80
    x, y, log_intensity = crowded(number, 3, seed=12)
    rng = np.random.default_rng(13)
    pixels = images(x, y, log_intensity, 3) + rng.normal(size=(number, SIZE, SIZE))
    start = slots(
        x + 0.7 * rng.normal(size=x.shape), y + 0.7 * rng.normal(size=x.shape), log_intensity
    )
    prior = replace(start, sigma_x=np.full(x.shape, 0.7), sigma_y=np.full(x.shape, 0.7))
    one = fit(pixels, prior, sure(number, 3), RefineSettings(alternatives=1))
    more = fit(pixels, prior, sure(number, 3), RefineSettings(alternatives=1, starts=8))
    assert (more.chi2 < 1.5).sum() > (one.chi2 < 1.5).sum() + 10
    again = fit(pixels, prior, sure(number, 3), RefineSettings(alternatives=1, starts=8))
    np.testing.assert_array_equal(again.x, more.x)


def test_only_hard_crops_have_further_starts() -> None:
    """One step does not lead to the minimum, so that a second start from there shows."""
    x, y, log_intensity = crowded(4, 2, seed=14)
    pixels = images(x, y, log_intensity, 2)
    pixels += np.random.default_rng(14).normal(size=pixels.shape)
    prior = slots(x + 0.4, y - 0.3, log_intensity, sigma=0.5)
    log_count = sure(4, 2, 0.6)

    def answer(starts: int, hard_chi2: float, hard_margin: float) -> Float:
        settings = RefineSettings(
            steps=1, alternatives=3, starts=starts, hard_chi2=hard_chi2, hard_margin=hard_margin
        )
        return fit(pixels, prior, log_count, settings).x

    one = answer(1, 1e9, 0.0)
    np.testing.assert_array_equal(answer(2, 1e9, 0.0), one)
    assert (answer(2, 0.0, 0.0) != one).any(axis=1).all()  # for its misfit
    assert (answer(2, 1e9, 1e9) != one).any(axis=1).all()  # for a second number that is close


def test_a_batch_gives_what_its_members_give() -> None:
    number = 12
    x, y, log_intensity = crowded(number, 4, seed=21, apart=0.7)
    rng = np.random.default_rng(22)
    pixels = images(x, y, log_intensity, 4) + 3 * rng.normal(size=(number, SIZE, SIZE))
    log_count = np.log(rng.dirichlet(np.ones(SLOTS + 2), number))
    prior = slots(x, y, log_intensity, 0.2)
    usable = rng.random(pixels.shape) > 0.1
    settings = RefineSettings(starts=3)
    together = fit(pixels, prior, log_count, settings, noise=3.0, usable=usable)
    for i in range(number):
        one = slice(i, i + 1)
        single = Slots(*(column[one] for column in prior.columns()))
        alone = fit(pixels[one], single, log_count[one], settings, noise=3.0, usable=usable[one])
        for name, column in vars(together).items():
            np.testing.assert_array_equal(getattr(alone, name), column[one], err_msg=name)


def test_intensity_scale_does_not_matter() -> None:
    x, y, log_intensity = crowded(5, 3, seed=31)
    pixels = images(x, y, log_intensity, 3) + np.random.default_rng(32).normal(size=(5, SIZE, SIZE))
    counts = fit(pixels, slots(x, y, log_intensity, 0.2), sure(5, 3))
    scaled = fit(256 * pixels, slots(x, y, log_intensity + np.log(256), 0.2), sure(5, 3), noise=256)
    np.testing.assert_allclose(scaled.x, counts.x, atol=1e-6)
    np.testing.assert_allclose(scaled.log_intensity, counts.log_intensity + np.log(256), atol=1e-6)
    np.testing.assert_allclose(scaled.level, 256 * counts.level, rtol=1e-4, atol=1e-4)


def test_unusable_pixels_have_no_influence() -> None:
    x, y, log_intensity = crowded(4, 2, seed=41)
    rng = np.random.default_rng(42)
    pixels = images(x, y, log_intensity, 2) + rng.normal(size=(4, SIZE, SIZE))
    usable = rng.random(pixels.shape) > 0.15
    prior, log_count = slots(x, y, log_intensity, 0.2), sure(4, 2)
    expected = fit(pixels, prior, log_count, usable=usable)
    for rubbish in (1e30, -5000.0, np.nan, np.inf):
        spoilt = np.where(usable, pixels, rubbish)
        for found in (
            fit(spoilt, prior, log_count, usable=usable),
            fit(np.where(usable, pixels, np.nan), prior, log_count),
        ):
            for name, column in vars(expected).items():
                np.testing.assert_array_equal(getattr(found, name), column, err_msg=name)


def rubbish() -> dict[str, dict[str, Any]]:
    good: dict[str, Any] = {"noise": 1.0, "psf": (0.6, 0.6)}
    number = (3, SLOTS)
    return {
        "nothing usable": good | {"usable": np.zeros((3, SIZE, SIZE), bool)},
        "few pixels": good | {"usable": np.arange(SIZE * SIZE).reshape(1, SIZE, SIZE) % 23 == 0},
        "no noise": good | {"noise": 0.0},
        "unknown noise": good | {"noise": np.nan},
        "absurd noise": good | {"noise": 1e30},
        "unknown PSF": good | {"psf": (np.nan, 0.6)},
        "no PSF": good | {"psf": (0.0, 0.0)},
        "far outside": good | {"x": np.full(number, 1e9), "y": np.full(number, -1e9)},
        "slots not finite": good
        | {"x": np.full(number, np.nan), "sigma_y": np.full(number, np.inf)},
        "no sigma": good | {"sigma_x": np.zeros(number), "sigma_log_intensity": np.zeros(number)},
        "absurdly bright": good | {"log_intensity": np.full(number, 700.0)},
        "huge pixels": good | {"factor": 1e30},
        "dark pixels": good | {"factor": 0.0},
        "counts not finite": good | {"log_count": np.full((3, SLOTS + 2), np.nan)},
        "no count possible": good | {"log_count": np.full((3, SLOTS + 2), -np.inf)},
    }


@pytest.mark.parametrize("case", rubbish())
def test_rubbish_is_survived(case: str) -> None:
    given = rubbish()[case]
    x, y, log_intensity = crowded(3, SLOTS, seed=51, apart=0.3)
    pixels = images(x, y, log_intensity, SLOTS) * given.pop("factor", 1.0)
    given["noise_model"] = USUAL_NOISE
    names = {f"{s}{a}" for s in ("", "sigma_") for a in ("x", "y", "log_intensity")}
    prior = replace(
        slots(x, y, log_intensity, 0.2), **{name: given.pop(name) for name in names & set(given)}
    )
    log_count = given.pop("log_count", sure(3, SLOTS, 0.5))
    if "usable" in given:
        given["usable"] = np.broadcast_to(given["usable"], pixels.shape)
    fitted = fit(pixels, prior, log_count, RefineSettings(starts=2), **given)
    assert ((fitted.count >= 0) & (fitted.count <= SLOTS)).all()
    np.testing.assert_allclose(fitted.probability.sum(1), 1)
    told = [np.isfinite(column).all() for column in prior.columns()]
    if all(told):
        for name in ("x", "y", "log_intensity", "sigma_x", "sigma_y", "sigma_log_intensity"):
            assert np.isfinite(getattr(fitted, name)).all(), name


def test_eight_targets_fit() -> None:
    rng = np.random.default_rng(61)
    angle = np.arange(8) * np.pi / 4
    x, y = CENTER + 3 * np.cos(angle)[None], CENTER + 3 * np.sin(angle)[None]
    log_intensity = np.full((1, 8), np.log(400.0))
    pixels = render(x[0], y[0], np.exp(log_intensity[0]), (SIZE, SIZE), 0.6)
    pixels = pixels + rng.normal(size=pixels.shape)
    log_count = np.full((1, 10), -np.inf)
    log_count[0, 8] = 0.0
    prior = slots(x + 0.2 * rng.normal(size=x.shape), y, log_intensity, 0.3)
    fitted = fit(pixels[None], prior, log_count)
    assert np.abs(fitted.x - x).max() < 4 * fitted.sigma_x.max() < 0.2
    assert fitted.chi2[0] < 1.5


def test_nothing_in_nothing_out() -> None:
    none = np.empty((0, SLOTS))
    fitted = fit(np.empty((0, SIZE, SIZE)), slots(none, none, none), np.empty((0, SLOTS + 2)))
    assert fitted.count.shape == (0,)
    assert fitted.x.shape == (0, SLOTS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("steps", 10**9),
        ("alternatives", 0),
        ("starts", 0),
        ("prior_scale", 0.0),
        ("width_prior", -1.0),
    ],
)
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        RefineSettings(**{name: value})  # type: ignore[arg-type]


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    x, y, log_intensity = crowded(2, 1, seed=71)
    pixels = np.zeros((2, SIZE, SIZE))
    with pytest.raises(ValueError, match=r"log_count must have shape \(2, 7\), got \(2, 5\)"):
        fit(pixels, slots(x, y, log_intensity), np.zeros((2, SLOTS)))
    bad = replace(slots(x, y, log_intensity), sigma_x=np.zeros((1, SLOTS)))
    with pytest.raises(ValueError, match=r"sigma_x must have shape \(2, 5\)"):
        fit(pixels, bad, sure(2, 1))


@pytest.mark.parametrize(
    ("name", "bounds", "beyond"),
    [
        ("steps", (1, 1000), (0, 1001)),
        ("alternatives", (1, 1000), (0, 1001)),
        ("starts", (1, 1000), (0, 1001)),
        ("tolerance", (0.0,), (-1e-9, np.nan)),
        ("width_prior", (0.0,), (-1e-9, np.nan)),
        ("least_probability", (0.0,), (-1e-9, np.nan)),
        ("window_sigmas", (0.0,), (-1e-9, np.nan)),
        ("window_margin", (0.0,), (-1e-9, np.nan)),
        ("prior_scale", (1e-9,), (0.0, np.nan)),
        ("background_prior", (1e-9,), (0.0, np.nan)),
    ],
)
def test_settings_are_taken_up_to_their_bounds(
    name: str, bounds: tuple[float, ...], beyond: tuple[float, ...]
) -> None:
    for value in bounds:
        assert getattr(RefineSettings(**{name: value}), name) == value  # type: ignore[arg-type]
    for value in beyond:
        with pytest.raises(ValueError, match=f"^{name} must be"):
            RefineSettings(**{name: value})  # type: ignore[arg-type]

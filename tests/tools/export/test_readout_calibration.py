"""Calibration of the gridless readout on made-up networks whose errors are known."""

from dataclasses import dataclass

import numpy as np
import pytest
from msgspec.structs import astuple, replace
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from dscsnet.engines.array_types import Float
from dscsnet.engines.card import GridlessReadout
from dscsnet.engines.engine import CropBatch
from dscsnet.engines.estimates import Estimates
from dscsnet.engines.imaging import gaussian_profile
from dscsnet.engines.noise_model import NO_LIGHT_NOISE
from dscsnet.engines.readouts.gridless import Details, read_gridless, read_with_details
from dscsnet.engines.sensor import Sensor
from dscsnet.tools.export.readout_calibration import (
    RIDGE,
    _position_sigmas,
    _scale_for,
    calibrate_readout,
    logistic_regression,
)
from dscsnet.tools.measures.average_precision import Points

SIZE, SLOTS, SIGMA, NOISE = 11, 3, 0.6, 3.0
ALONE = GridlessReadout(refine=None)


@dataclass(frozen=True)
class MadeUp:
    """Crops with two targets that are far apart, and what a network says of them.

    Attributes:
        stated: (n, 2) the sigma of position that the network states, px.
    """

    outputs: dict[str, NDArray[np.float32]]
    batch: CropBatch
    true: Points
    stated: Float


def made_up(
    number: int,
    seed: int,
    *,
    overstated: float = 1.0,
    floor: float = 0.0,
    intensity_overstated: float = 1.0,
    ghosts: bool = False,
) -> MadeUp:
    """A network whose sigmas are this many times its errors'.

    Args:
        floor: an error that no stated sigma knows of, px.
        ghosts: a light in a slot is that of a target only as often as half of its log-odds say,
            and some errors are far larger than stated.
    """
    rng = np.random.default_rng(seed)
    middle = SIZE // 2
    # Far apart, so that no doubt is possible which estimate belongs to which target.
    x = middle + np.array([-2.0, 2.0]) + rng.uniform(-0.5, 0.5, (number, 2))
    y = middle + rng.uniform(-1.5, 1.5, (number, 2))
    intensity = rng.uniform(300, 3000, (number, 2))
    stated = np.exp(rng.uniform(np.log(0.005), np.log(0.08), (number, 2)))
    stated_log = np.exp(rng.uniform(np.log(0.01), np.log(0.1), (number, 2)))
    error = np.hypot(stated / overstated, floor)
    existence = np.full((number, 2), 6.0)
    present = np.ones((number, 2), bool)
    if ghosts:
        existence = rng.uniform(-2, 6, (number, 2))
        present = rng.random((number, 2)) < expit(existence / 2)
        error = error * np.where(rng.random((number, 2)) < 0.1, 8.0, 1.0)
    outputs = {
        "count": np.tile([-8.0, -8.0, 8.0, -8.0, -8.0], (number, 1)),
        "existence": np.full((number, SLOTS), -9.0),
        "position": np.full((number, SLOTS, 2), float(middle)),
        "log_intensity": np.full((number, SLOTS), 6.0),
        "log_sigma": np.full((number, SLOTS, 3), -2.0),
    }
    outputs["existence"][:, :2] = existence
    for axis, place in enumerate((x, y)):
        outputs["position"][:, :2, axis] = place + error * rng.normal(size=(number, 2))
        outputs["log_sigma"][:, :2, axis] = np.log(stated)
    pull = rng.normal(size=(number, 2)) / intensity_overstated
    outputs["log_intensity"][:, :2] = np.log(intensity) + stated_log * pull
    outputs["log_sigma"][:, :2, 2] = np.log(stated_log)
    light = np.einsum(
        "nt,nti,ntj->nij",
        intensity,
        gaussian_profile(y, SIZE, SIGMA),
        gaussian_profile(x, SIZE, SIGMA),
    )
    batch = CropBatch(
        (light + rng.normal(0, NOISE, light.shape)).astype(np.float32),
        np.ones(light.shape, bool),
        np.full(number, NOISE, np.float32),
        np.full((number, 2), SIGMA, np.float32),
        # Without noise of light, every answer is a blend: it is the blend that is calibrated.
        Sensor((SIGMA, SIGMA), noise_model=NO_LIGHT_NOISE),
    )
    return MadeUp(
        {name: a.astype(np.float32) for name, a in outputs.items()},
        batch,
        Points.from_padded(x, y, intensity, present),
        stated,
    )


def calibrated(given: MadeUp, readout: GridlessReadout = ALONE) -> GridlessReadout:
    return calibrate_readout(readout, given.outputs, given.batch, given.true)


def calibrated_sigma(readout: GridlessReadout, refined: Float, network: Float) -> Float:
    """What the card's documentation says that a sigma becomes."""
    variance = (readout.sigma_scale * refined) ** 2 + (readout.sigma_network * network) ** 2
    return np.sqrt(variance + readout.sigma_floor**2)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.5])
def test_sigmas_are_set_right(factor: float) -> None:
    readout = calibrated(made_up(2500, seed=1, overstated=factor))
    sigma = np.geomspace(0.01, 0.08, 20)
    np.testing.assert_allclose(calibrated_sigma(readout, sigma, sigma), sigma / factor, rtol=0.05)


def test_an_error_that_no_sigma_knows_of_becomes_the_floor() -> None:
    readout = calibrated(made_up(2500, seed=2, overstated=0.8, floor=0.008))
    sigma = np.geomspace(0.005, 0.08, 20)
    found = calibrated_sigma(readout, sigma, sigma)
    np.testing.assert_allclose(found, np.hypot(sigma / 0.8, 0.008), rtol=0.06)
    assert readout.sigma_floor == 0.008


def test_a_share_of_the_networks_sigma_is_found() -> None:
    """Errors that are partly the fit's and partly the network's."""
    rng = np.random.default_rng(12)
    network = np.exp(rng.uniform(np.log(0.05), np.log(0.2), (8000, 2)))
    refined = network * np.exp(rng.uniform(np.log(0.03), 0, (8000, 2)))
    error = rng.normal(size=(8000, 2)) * np.hypot(1.3 * refined, 0.3 * network)
    columns = vars(Estimates.none()) | {"x": error[:, 0], "y": error[:, 1]}
    nought, every = np.zeros(8000), np.arange(8000)
    readout = _position_sigmas(
        ALONE,
        Estimates(**columns),
        Details(np.zeros((8000, 7)), refined, network, np.zeros(8000, bool)),
        Points(every, nought, nought, nought),
        (every, every),
    )
    assert readout.sigma_network == pytest.approx(0.3, abs=0.11)
    found = calibrated_sigma(readout, refined, network)
    ratio = found / np.hypot(1.3 * refined, 0.3 * network)
    assert np.median(ratio) == pytest.approx(1, abs=0.03)
    assert 0.8 < ratio.min() < ratio.max() < 1.2


@pytest.mark.parametrize("factor", [0.4, 3.0])
def test_sigmas_of_intensity_are_set_right(factor: float) -> None:
    readout = calibrated(made_up(2500, seed=3, intensity_overstated=factor))
    assert readout.intensity_sigma_scale == pytest.approx(1 / factor, rel=0.05)


def test_what_was_set_before_does_not_matter() -> None:
    given = made_up(600, seed=4, overstated=0.7)
    before = replace(
        ALONE,
        sigma_scale=5.0,
        sigma_network=0.7,
        sigma_floor=0.3,
        intensity_sigma_scale=9.0,
    )
    assert calibrated(given, before) == calibrated(given)


def test_the_rest_of_the_readout_is_kept() -> None:
    given = made_up(300, seed=4)
    before = replace(ALONE, max_chi2=7.0, max_width_error=0.3, least_occupied=0.8)
    after = calibrated(given, before)
    assert after.sigma_scale != before.sigma_scale
    for name in ("refine", "max_chi2", "max_width_error", "least_occupied"):
        assert getattr(after, name) == getattr(before, name), name


def is_near_a_target(found: Estimates, true: Points) -> NDArray[np.bool_]:
    """Whether a true target lies within 0.25 px, by brute force."""
    near = np.hypot(found.x[:, None] - true.x, found.y[:, None] - true.y) <= 0.25
    return (near & (found.crop[:, None] == true.image)).any(1)


def check_reliable(scores: Float, hit: NDArray[np.bool_]) -> None:
    """Of the targets with a score near p, the share p is a hit; scores tell hits from misses."""
    edges = np.linspace(0, 1, 11)
    group = np.digitize(scores, edges[1:-1])
    full = [k for k in range(10) if (group == k).sum() >= 100]
    assert len(full) >= 5
    for k in full:
        inside = group == k
        expected = scores[inside].mean()
        deviation = np.sqrt(expected * (1 - expected) / inside.sum())
        assert abs(hit[inside].mean() - expected) < 3 * deviation + 0.03, edges[k]
    rank = scores.argsort().argsort()
    hits = int(hit.sum())
    area = (rank[hit].sum() - hits * (hits - 1) / 2) / (hits * (len(hit) - hits))
    assert area > 0.7


def test_scores_are_reliable() -> None:
    readout = calibrated(made_up(6000, seed=7, overstated=0.6, ghosts=True))
    fresh = made_up(6000, seed=8, overstated=0.6, ghosts=True)
    found = read_gridless(readout, fresh.outputs, fresh.batch)
    hit = is_near_a_target(found, fresh.true)
    assert 0.5 < hit.mean() < 0.9
    check_reliable(found.score, hit)


def of_one_target(given: MadeUp) -> MadeUp:
    """The network says that there is one; the other is in its second slot."""
    given.outputs["count"][:, :3] = [-8.0, 8.0, -8.0]
    return given


def test_scores_of_further_targets_are_reliable() -> None:
    readout = calibrated(of_one_target(made_up(6000, seed=7, overstated=0.6, ghosts=True)))
    assert readout.least_existence is None
    fresh = of_one_target(made_up(6000, seed=8, overstated=0.6, ghosts=True))
    alone = read_gridless(readout, fresh.outputs, fresh.batch)
    found = read_gridless(replace(readout, least_existence=0.02), fresh.outputs, fresh.batch)
    np.testing.assert_array_equal(found.number, 1)
    for name, column in vars(found.likeliest()).items():
        np.testing.assert_array_equal(column, getattr(alone, name), err_msg=name)
    further = ~found.likely
    assert further.sum() > 5000
    hit = is_near_a_target(found, fresh.true)
    assert hit[further].mean() < hit[~further].mean() - 0.1
    for rows in (further, ~further):
        check_reliable(found.score[rows], hit[rows])


def test_without_further_targets_there_are_no_weights_for_them() -> None:
    assert calibrated(made_up(1500, seed=9)).further_weights is None


def test_the_weights_are_the_regressions() -> None:
    given = made_up(1500, seed=9, ghosts=True)
    readout = calibrated(given)
    found, details = read_with_details(readout, given.outputs, given.batch)
    # Targets far apart: the left one of an estimate can only be the left one of the truth.
    padded = np.full((2, len(given.batch), 2), np.inf)
    side = (given.true.x > SIZE // 2).astype(int)
    padded[:, given.true.image, side] = given.true.x, given.true.y
    x, y = padded[:, found.crop, (found.x > SIZE // 2).astype(int)]
    hit = np.hypot(found.x - x, found.y - y) <= 0.25
    expected = penalised(details.features, hit)
    np.testing.assert_allclose(astuple(readout.score_weights), expected, atol=2e-3)


def objective(weights: Float, values: Float, hit: NDArray[np.bool_]) -> tuple[float, Float]:
    """-ln likelihood with the penalty, and its gradient."""
    odds = values @ weights
    loss = np.logaddexp(0, np.where(hit, -odds, odds)).sum() + RIDGE / 2 * weights @ weights
    return loss, values.T @ (expit(odds) - hit) + RIDGE * weights


def penalised(values: Float, hit: NDArray[np.bool_]) -> Float:
    start = np.zeros(values.shape[1])
    found = minimize(
        objective, start, (values, hit), "BFGS", jac=True, options={"gtol": 1e-4, "maxiter": 2000}
    )
    return np.asarray(found.x)


def drawn(number: int, weights: Float, seed: int) -> tuple[Float, NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (number, len(weights))) * [1, 2, 0.5]
    values[:, 0] = 1
    return values, rng.random(number) < expit(values @ weights)


@pytest.mark.parametrize("number", [30, 3000])
def test_regression_is_that_of_scipy(number: int) -> None:
    values, hit = drawn(number, np.array([0.5, -1.0, 2.0]), seed=10)
    np.testing.assert_allclose(logistic_regression(values, hit), penalised(values, hit), atol=1e-4)


def test_regression_finds_the_weights_of_the_data() -> None:
    weights = np.array([0.5, -1.0, 2.0])
    values, hit = drawn(20_000, weights, seed=11)
    probability = expit(values @ weights)
    information = (values * (probability * (1 - probability))[:, None]).T @ values
    deviation = np.sqrt(np.linalg.inv(information).diagonal())
    assert (np.abs(logistic_regression(values, hit) - weights) < 3.5 * deviation).all()


def test_regression_survives_data_without_contrast() -> None:
    values = np.column_stack([np.ones(50), np.zeros(50), np.linspace(-1, 1, 50)])
    separable = values[:, 2] > 0
    weights = logistic_regression(values, separable)
    assert weights[1] == 0
    np.testing.assert_allclose(weights, penalised(values, separable), atol=1e-3)
    surely = logistic_regression(values, np.ones(50, bool))
    assert np.isfinite(surely).all()
    assert expit(values @ surely).min() > 0.8
    extreme = logistic_regression(1e3 * values, separable)
    assert np.isfinite(extreme).all()


def test_a_step_of_the_regression_is_5_at_most() -> None:
    values, hit = np.full((10_000, 1), 0.1), np.ones(10_000, bool)
    newton = 0.5 * 1000 / (0.25 * 100 + RIDGE)  # of the first step, by hand
    assert newton > 5
    for steps in (1, 2):
        assert logistic_regression(values, hit, steps) == pytest.approx([5.0 * steps])
    few = logistic_regression(values[:100], hit[:100], 1)
    assert few == pytest.approx([0.5 * 10 / (0.25 + RIDGE)])


def test_a_regression_ends_with_a_step_below_a_millionth(monkeypatch: pytest.MonkeyPatch) -> None:
    """In every weight, up or down; and after so many steps whatever they are."""
    ends = [([0.5, 0], [0, -2e-6], [1e-6, -1e-6], [9e-7, -9e-7], [7, 7]), ([1, 0],) * 60]
    for given, used in zip(ends, (4, 50), strict=True):
        steps = [np.array(step, float) for step in given]
        left = iter(steps)
        monkeypatch.setattr(np.linalg, "solve", lambda *_, left=left: next(left))
        found = logistic_regression(np.ones((3, 2)), np.ones(3, bool))
        np.testing.assert_allclose(found, -sum(steps[:used]))


def test_regression_on_nothing_but_zeros_stays_there() -> None:
    np.testing.assert_array_equal(logistic_regression(np.zeros((4, 2)), np.ones(4, bool)), 0.0)


@pytest.mark.parametrize("unit", [2e-3, 1.0, 900.0])
def test_the_scale_holds_as_many_errors_as_one_sigma(unit: float) -> None:
    rng = np.random.default_rng(6)
    sigma, rest = rng.uniform(1, 2, 999), rng.uniform(0, 0.01, 999) * unit
    error = unit * rng.uniform(0.1, 1.5, 999)
    # Each error is just inside at a scale of its own; 682 of 999 are the first to be over 68.27 %.
    own = np.sort(np.sqrt(error**2 - rest**2) / sigma)
    assert _scale_for(error, sigma, rest) == pytest.approx(own[682 - 1 + (682 / 999 < 0.6827)])

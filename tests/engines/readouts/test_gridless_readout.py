"""Readout off the grid: from a network's distribution and the pixels to targets with a score."""

from collections.abc import Sequence

import numpy as np
import pytest
from msgspec.structs import asdict, astuple, replace
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import expit, softmax
from scipy.stats import multivariate_t

from dscsnet.engines.card import GridlessReadout, ScoreWeights
from dscsnet.engines.engine import CropBatch
from dscsnet.engines.estimates import Doubt, Estimates
from dscsnet.engines.imaging import render
from dscsnet.engines.readouts.gridless import read_gridless, read_with_details, state
from dscsnet.engines.readouts.score import HIT_DISTANCE, features, hit_log_odds, log_odds, score

Outputs = dict[str, NDArray[np.float32]]
#: x, y (crop px) and total counts.
Target = tuple[float, float, float]

SIZE, SLOTS, SIGMA, NOISE = 11, 5, 0.6, 2.0
#: What the made-up network states of each target: sigma of x and y (px) and of ln counts.
STATED = (0.06, 0.08, 0.1)

REFINING = GridlessReadout()
ALONE = GridlessReadout(refine=None)

ONE: list[Target] = [(5.2, 4.7, 900.0)]
TWO: list[Target] = [(4.2, 5.4, 700.0), (6.1, 4.6, 1000.0)]
THREE: list[Target] = [(3.9, 4.1, 800.0), (6.4, 4.4, 700.0), (5.1, 6.5, 1200.0)]
SCENES: list[list[Target]] = [ONE, [], TWO, THREE]


def stated_by(scenes: Sequence[Sequence[Target]], *, sure: float = 8.0) -> Outputs:
    """A network that knows the truth; the slots are in the order of the targets."""
    number = len(scenes)
    outputs = {
        "count": np.full((number, SLOTS + 2), -sure),
        "existence": np.full((number, SLOTS), -sure),
        "position": np.full((number, SLOTS, 2), SIZE // 2 + 0.3),
        "log_intensity": np.full((number, SLOTS), 6.0),
        "log_sigma": np.tile(np.log(STATED), (number, SLOTS, 1)),
    }
    for crop, targets in enumerate(scenes):
        outputs["count"][crop, len(targets)] = sure
        for slot, (x, y, intensity) in enumerate(targets):
            outputs["existence"][crop, slot] = sure - 0.1 * slot
            outputs["position"][crop, slot] = x, y
            outputs["log_intensity"][crop, slot] = np.log(intensity)
    return {name: a.astype(np.float32) for name, a in outputs.items()}


def crops_of(
    scenes: Sequence[Sequence[Target]], *, width: float = 1.0, seed: int | None = 0
) -> CropBatch:
    """Crops of targets whose PSF is `width` times the one told; no noise without a seed."""
    shape = (len(scenes), SIZE, SIZE)
    noise = 0.0 if seed is None else NOISE
    pixels = np.random.default_rng(seed).normal(0, noise, shape)
    for number, targets in enumerate(scenes):
        for target in targets:
            pixels[number] += render(*target, (SIZE, SIZE), width * SIGMA)
    number = len(scenes)
    return CropBatch(
        pixels.astype(np.float32),
        np.ones(shape, bool),
        np.full(number, NOISE, np.float32),
        np.full((number, 2), SIGMA, np.float32),
    )


def crop(estimates: Estimates, number: int) -> Estimates:
    """One crop's estimates, from left to right."""
    part = estimates.slice(number, number + 1)
    order = np.argsort(part.x)
    names = ("crop", "x", "y", "intensity", "score", "sigma_x", "sigma_y", "sigma_intensity")
    columns = {name: getattr(part, name)[order] for name in names}
    return Estimates(**{**vars(part), **columns})


def scores_of(weights: ScoreWeights, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """From features, in any layout."""
    result: NDArray[np.float64] = score(np.array(astuple(weights)), np.ascontiguousarray(values))
    return result


def shuffled(outputs: Outputs, seed: int = 5) -> Outputs:
    """The same statement with each crop's slots in another order."""
    number = len(outputs["count"])
    order = np.argsort(np.random.default_rng(seed).random((number, SLOTS)), 1)
    rows = np.arange(number)[:, None]
    return {name: a if name == "count" else a[rows, order] for name, a in outputs.items()}


@pytest.mark.parametrize("readout", [ALONE, REFINING], ids=["network", "refined"])
def test_the_order_of_the_slots_does_not_matter(readout: GridlessReadout) -> None:
    outputs, batch = stated_by(SCENES), crops_of(SCENES)
    expected, found = (read_gridless(readout, o, batch) for o in (outputs, shuffled(outputs)))
    for name, column in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), column, err_msg=name)
    np.testing.assert_array_equal(np.bincount(found.crop, minlength=4), [1, 0, 2, 3])


def test_k_targets_are_the_k_surest_slots() -> None:
    outputs = stated_by([THREE])
    outputs["count"][0] = [0, 0, 9, 0, 0, 0, 0]
    outputs["existence"][0, :3] = [1.0, 3.0, 2.0]
    found = crop(read_gridless(ALONE, outputs, crops_of([THREE])), 0)
    np.testing.assert_allclose(found.x, [5.1, 6.4], rtol=1e-6)
    np.testing.assert_allclose(found.y, [6.5, 4.4], rtol=1e-6)


def test_logits_become_probabilities() -> None:
    rng = np.random.default_rng(3)
    outputs = stated_by([[]] * 20)
    outputs["count"] = rng.normal(0, 3, (20, SLOTS + 2)).astype(np.float32)
    outputs["existence"] = rng.normal(0, 3, (20, SLOTS)).astype(np.float32)
    stated = state(outputs)
    np.testing.assert_allclose(
        stated.number, softmax(outputs["count"].astype(float), 1), rtol=1e-12
    )
    expected = -np.sort(-expit(outputs["existence"].astype(float)), 1)
    np.testing.assert_allclose(stated.existence, expected, rtol=1e-12)


def test_the_likeliest_number_of_targets_is_taken() -> None:
    """The last class, more than there are slots, is none of them."""
    outputs = stated_by([THREE] * 7)
    rng = np.random.default_rng(4)
    outputs["count"] = rng.permuted(np.tile(np.linspace(-3, 3, SLOTS + 2), (7, 1)), axis=1).astype(
        np.float32
    )
    found = read_gridless(replace(ALONE, least_occupied=0.0), outputs, crops_of([THREE] * 7))
    expected = outputs["count"][:, :-1].argmax(1)
    assert set(expected) != {SLOTS}
    np.testing.assert_array_equal(np.bincount(found.crop, minlength=7), expected)
    probability = softmax(outputs["count"].astype(float), 1)
    np.testing.assert_allclose(found.occupied, 1 - probability[:, 0], rtol=1e-12)


def test_without_refinement_the_network_has_the_word() -> None:
    outputs = stated_by(SCENES)
    outputs["position"] += np.float32(0.1)
    found = read_gridless(ALONE, outputs, crops_of(SCENES))
    assert np.isnan(found.psf_scale).all()
    for number, targets in enumerate(SCENES):
        mine = crop(found, number)
        x, y, intensity = np.reshape(sorted(targets), (-1, 3)).T
        np.testing.assert_allclose(mine.x, x + 0.1, rtol=1e-6)
        np.testing.assert_allclose(mine.y, y + 0.1, rtol=1e-6)
        np.testing.assert_allclose(mine.intensity, intensity, rtol=1e-6)
    np.testing.assert_allclose(found.sigma_x, STATED[0], rtol=1e-6)
    np.testing.assert_allclose(found.sigma_y, STATED[1], rtol=1e-6)
    np.testing.assert_allclose(found.sigma_intensity / found.intensity, STATED[2], rtol=1e-6)


def test_positions_are_the_networks_to_the_last_digit() -> None:
    outputs = stated_by([THREE])
    found = read_gridless(ALONE, outputs, crops_of([THREE]))
    assert set(found.x) == set(outputs["position"][0, :3, 0].astype(float))
    assert set(found.y) == set(outputs["position"][0, :3, 1].astype(float))


def test_refinement_moves_targets_to_where_the_light_is() -> None:
    outputs = stated_by([TWO] * 40)
    rng = np.random.default_rng(6)
    outputs["position"][:, :2] += rng.normal(0, 0.08, (40, 2, 2)).astype(np.float32)
    outputs["log_intensity"][:, :2] += rng.normal(0, 0.1, (40, 2)).astype(np.float32)
    batch = crops_of([TWO] * 40, seed=7)
    before, after = (read_gridless(readout, outputs, batch) for readout in (ALONE, REFINING))
    np.testing.assert_array_equal(np.bincount(after.crop), 2)
    errors = []
    for found in (before, after):
        left = found.x < 5
        x, y, intensity = (np.where(left, *pair) for pair in zip(*TWO, strict=True))
        errors.append([found.x - x, found.y - y, np.log(found.intensity / intensity)])
    worst = np.sqrt(np.mean(np.square(errors), -1))
    assert (worst[1] < worst[0] / 4).all()
    sigmas = [after.sigma_x, after.sigma_y, after.sigma_intensity / after.intensity]
    pulls = np.array(errors[1]) / sigmas
    assert 0.7 < np.sqrt(np.mean(pulls**2)) < 1.3
    assert (np.abs(after.chi2 - 1) < 0.6).all()
    np.testing.assert_allclose(after.psf_scale, 1, atol=0.08)
    assert after.converged.all()


def test_a_crop_that_is_likely_empty_is_silent() -> None:
    outputs = stated_by([ONE, ONE])
    # P(no target) = 0.45: one target stays likelier, and 0.55 is left for all counts.
    outputs["count"][:, :] = -20
    outputs["count"][:, 0], outputs["count"][:, 1] = np.log(0.45), np.log(0.55)
    batch = crops_of([ONE, ONE])
    for least, given in ((0.5, 2), (0.549, 2), (0.551, 0), (1.0, 0)):
        found = read_gridless(replace(REFINING, least_occupied=least), outputs, batch)
        assert len(found.x) == given, least
        assert found.crops == 2
        np.testing.assert_allclose(found.occupied, 0.55, atol=1e-6)


def test_where_there_is_doubt_more_evidence_is_asked_for() -> None:
    outputs = stated_by([ONE, ONE])
    outputs["count"][:, :] = -20
    outputs["count"][:, 0], outputs["count"][:, 1] = np.log(0.45), np.log(0.55)
    batch = crops_of([ONE, THREE])  # the second is not explained by one target
    for least, number in ((0.0, [1, 1]), (0.549, [1, 1]), (0.551, [1, 0])):
        found = read_gridless(
            replace(ALONE, least_occupied=0.5, least_doubted=least), outputs, batch
        )
        assert found.number.tolist() == number, least
        assert found.doubt.tolist() == [0, Doubt.MISFIT]


def test_targets_in_doubt_each_for_its_own_reason() -> None:
    clear = read_gridless(REFINING, stated_by([TWO]), crops_of([TWO]))
    assert clear.doubt[0] == 0

    missed = crops_of([THREE])
    misfit = read_gridless(ALONE, stated_by([THREE[:2]]), missed)
    assert misfit.doubt[0] == Doubt.MISFIT
    assert len(misfit.x) == 2

    wide = read_gridless(
        replace(REFINING, max_chi2=1e9), stated_by([TWO]), crops_of([TWO], width=1.5)
    )
    assert wide.doubt[0] == Doubt.PSF
    assert wide.psf_scale[0] > 1.12

    outputs = stated_by([TWO])
    outputs["count"][0] = [-9, -9, 0, -9, -9, -9, -1.3]  # P(more) = 0.21
    crowded = read_gridless(REFINING, outputs, crops_of([TWO]))
    assert crowded.doubt[0] == Doubt.CROWDED
    assert len(crowded.x) == 2
    outputs["count"][0, -1] = -1.5  # 0.18
    assert read_gridless(REFINING, outputs, crops_of([TWO])).doubt[0] == 0


def test_a_psf_wider_than_told_is_noticed() -> None:
    """With nothing else changed: whichever bit it is, the crop is not trusted."""
    found = read_gridless(REFINING, stated_by([ONE] * 5), crops_of([ONE] * 5, width=1.5))
    assert (found.doubt & Doubt.PSF).all()
    assert not found.converged.any()


def test_the_limits_are_those_of_the_card() -> None:
    outputs, batch = stated_by([TWO[:1]]), crops_of([TWO])
    chi2 = read_gridless(ALONE, outputs, batch).chi2[0]
    for factor, doubt in ((0.999, Doubt.MISFIT), (1.001, 0)):
        readout = replace(ALONE, max_chi2=float(factor * chi2))
        assert read_gridless(readout, outputs, batch).doubt[0] == doubt
    outputs, batch = stated_by([ONE]), crops_of([ONE], width=1.2)
    trusting = replace(REFINING, max_chi2=1e9, max_width_error=0.3)
    found = read_gridless(trusting, outputs, batch)
    assert 0.12 < np.log(found.psf_scale[0]) < 0.3
    assert found.doubt[0] == 0


def test_a_crop_without_targets_is_doubted_where_it_holds_light() -> None:
    outputs = stated_by([[], []])
    found = read_gridless(ALONE, outputs, crops_of([THREE, []]))
    assert len(found.x) == 0
    np.testing.assert_array_equal(found.doubt, [Doubt.MISFIT, 0])


@pytest.mark.parametrize("readout", [ALONE, REFINING], ids=["network", "refined"])
@pytest.mark.parametrize("name", ["count", "existence", "position", "log_intensity", "log_sigma"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_crop_whose_output_is_not_finite_has_no_result(
    readout: GridlessReadout, name: str, value: float
) -> None:
    outputs, batch = stated_by(SCENES), crops_of(SCENES)
    expected = read_gridless(readout, outputs, batch)
    outputs[name][2].flat[1] = value
    found = read_gridless(readout, outputs, batch)
    assert found.doubt[2] == Doubt.NO_RESULT
    assert np.isnan(found.occupied[2])
    assert np.isnan(found.psf_scale[2])
    np.testing.assert_array_equal(np.bincount(found.crop, minlength=4), [1, 0, 0, 3])
    for number in (0, 1, 3):
        mine, other = crop(found, number), crop(expected, number)
        for column in vars(mine):
            np.testing.assert_array_equal(getattr(mine, column), getattr(other, column))


def test_within_a_crop_the_surest_target_comes_first() -> None:
    outputs = stated_by([THREE] * 6)
    rng = np.random.default_rng(8)
    outputs["log_sigma"] += rng.normal(0, 1, outputs["log_sigma"].shape).astype(np.float32)
    outputs["existence"][:, :3] = rng.uniform(0, 6, (6, 3))
    found, details = read_with_details(ALONE, outputs, crops_of([THREE] * 6))
    assert (np.diff(found.crop) >= 0).all()
    assert ((found.score > 0) & (found.score < 1)).all()
    falls = np.diff(found.score)[np.diff(found.crop) == 0]
    assert len(falls) == 12
    assert (falls <= 0).all()
    # Every column went along: the score is that of the sigmas and the place beside it.
    np.testing.assert_array_equal(scores_of(ALONE.score_weights, details.features), found.score)
    np.testing.assert_allclose(details.features[:, 1], hit_log_odds(found.sigma_x, found.sigma_y))
    for sigma in (details.refined_sigma, details.network_sigma):
        np.testing.assert_allclose(sigma, np.stack([found.sigma_x, found.sigma_y], 1))
    for row in range(len(found.x)):
        at = outputs["position"][found.crop[row], :, 0] == np.float32(found.x[row])
        stated = np.exp(outputs["log_sigma"][found.crop[row], at, 0])
        np.testing.assert_allclose(stated, found.sigma_x[row], rtol=1e-5)


FURTHER = replace(
    ALONE, further_weights=ScoreWeights(constant=-1.0, existence=0.9), least_existence=0.1
)


def test_slots_beyond_the_likeliest_number_are_given_on_request() -> None:
    """Slot 2 of the second crop, of existence 0.3; what is less likely than 0.1 is not."""
    outputs, batch = stated_by([THREE, TWO, []]), crops_of([THREE, TWO, []])
    outputs["existence"][1, 2] = np.log(0.3 / 0.7)
    outputs["existence"][2, 0] = np.log(0.09 / 0.91)
    alone, found = (read_gridless(readout, outputs, batch) for readout in (ALONE, FURTHER))
    np.testing.assert_array_equal(found.number, [3, 2, 0])
    np.testing.assert_array_equal(np.bincount(found.crop, minlength=3), [3, 3, 0])
    np.testing.assert_array_equal(found.likely, [True] * 5 + [False])
    for name, column in vars(found.likeliest()).items():
        np.testing.assert_array_equal(column, getattr(alone, name), err_msg=name)
    place = outputs["position"][1, 2]
    np.testing.assert_allclose([found.x[-1], found.y[-1]], place, rtol=1e-6)
    _, details = read_with_details(FURTHER, outputs, batch)
    assert FURTHER.further_weights is not None
    expected = scores_of(FURTHER.further_weights, details.features)[-1]
    assert found.score[-1] == pytest.approx(expected)
    # Of three targets or more there are as few as the network says: e^-16 of them, and bounded.
    assert details.features[-1, 3] == pytest.approx(-12, abs=0.01)


def test_a_target_further_down_may_have_a_higher_score_but_comes_later() -> None:
    outputs = stated_by([TWO])
    outputs["count"][0, :3] = [-8, 8, -8]
    outputs["log_sigma"][0, 0] += 3
    sure = replace(FURTHER, further_weights=ScoreWeights(constant=20.0))
    found = read_gridless(sure, outputs, crops_of([TWO]))
    np.testing.assert_array_equal(found.likely, [True, False])
    assert found.score[1] > found.score[0]


def test_what_is_not_finite_has_no_further_targets() -> None:
    outputs = stated_by([TWO])
    outputs["existence"][0, 0] = np.nan
    assert len(read_gridless(FURTHER, outputs, crops_of([TWO])).crop) == 0


def test_further_targets_need_a_calibrated_score() -> None:
    with pytest.raises(ValueError, match="least_existence: the score of further targets is not"):
        GridlessReadout(least_existence=0.5)


def test_scores_fall_with_sigma() -> None:
    outputs = stated_by([ONE] * 30, sure=1.0)
    outputs["log_sigma"][..., :2] = np.log(np.geomspace(1e-3, 2.0, 30))[:, None, None]
    found = read_gridless(ALONE, outputs, crops_of([ONE] * 30, seed=None))
    assert (np.diff(found.score) < 0).all()
    assert found.score[0] > 0.999
    assert found.score[-1] < 0.1


def test_scores_fall_with_doubt() -> None:
    outputs = stated_by([TWO] * 2)
    outputs["log_sigma"] += np.float32(2.0)
    outputs["existence"][:, :2] = 0.1
    outputs["count"][:] = [-9, -9, 0, -9, -9, -9, -1.40]  # P(more) just below 0.2
    outputs["count"][1, -1] = -1.37  # just above
    found = read_gridless(ALONE, outputs, crops_of([TWO] * 2, seed=None))
    np.testing.assert_array_equal(found.doubt, [0, Doubt.CROWDED])
    first, second = found.score[:2], found.score[2:]
    assert (second < first - 0.05).all()
    chi2 = np.array([1.0, 2.0, 10.0])
    sigma, sure = np.full(3, 0.1), np.full(3, 0.9)
    values = features(sigma, sigma, sure, sure, sure, chi2, np.zeros(3, bool))
    assert (np.diff(scores_of(ScoreWeights(), values)) < 0).all()


def test_a_hit_is_as_likely_as_the_planar_t_distribution_says() -> None:
    sigma = np.array([0.004, 0.03, 0.1, 0.25, 1.0, 5.0])
    found = expit(hit_log_odds(sigma, sigma))
    for s, probability in zip(sigma, found, strict=True):
        error = multivariate_t(np.zeros(2), s**2 * np.eye(2), df=4.0)
        expected, _ = quad(
            lambda r, error=error: 2 * np.pi * r * error.pdf([r, 0.0]),
            0,
            HIT_DISTANCE,
            points=[min(s, 0.2)],
            epsabs=1e-12,
        )
        assert probability == pytest.approx(expected, rel=1e-7)


def test_log_odds_of_a_hit_rank_even_the_surest() -> None:
    sigma = np.geomspace(1e-5, 1e3, 200)
    odds = hit_log_odds(sigma, sigma)
    assert np.isfinite(odds).all()
    assert (np.diff(odds) < 0).all()
    # Two sigmas count by their mean square.
    np.testing.assert_allclose(
        hit_log_odds(np.array([0.3]), np.array([0.4])), hit_log_odds(*np.full((2, 1), 0.125**0.5))
    )
    assert np.isfinite(hit_log_odds(np.zeros(1), np.zeros(1))).all()


def test_log_odds_are_those_of_scipy_within_bounds() -> None:
    probability = np.array([1e-4, 0.2, 0.5, 0.9])
    np.testing.assert_allclose(expit(log_odds(probability)), probability, rtol=1e-12)
    np.testing.assert_allclose(log_odds(np.array([0.0, 1.0])), [-12, 12], rtol=1e-6)


def test_weights_have_the_order_of_the_features() -> None:
    """Each feature moves the score as the weight of its name says."""
    sigma_x, sigma_y, existence, count, occupied, chi2 = (
        np.array([v]) for v in (0.1, 0.12, 0.8, 0.7, 0.9, 2.0)
    )
    doubted = np.array([True])
    values = features(sigma_x, sigma_y, existence, count, occupied, chi2, doubted)[0]
    expected = {
        "constant": 1.0,
        "hit": hit_log_odds(np.array([0.1]), np.array([0.12]))[0],
        "existence": np.log(0.8 / 0.2),
        "count": np.log(0.7 / 0.3),
        "occupied": np.log(0.9 / 0.1),
        "misfit": np.log(2.0),
        "doubt": 1.0,
    }
    assert tuple(expected) == ScoreWeights.__struct_fields__
    np.testing.assert_allclose(values, list(expected.values()))
    for name, value in expected.items():
        weights = ScoreWeights(**{n: float(n == name) for n in expected})
        assert scores_of(weights, values[None])[0] == pytest.approx(expit(value)), name
    total = np.dot(astuple(ScoreWeights()), values)
    assert scores_of(ScoreWeights(), values[None])[0] == pytest.approx(expit(total))


def test_a_chi2_that_is_good_or_unknown_costs_nothing() -> None:
    chi2 = np.array([0.3, 1.0, np.nan, np.inf])
    other = np.full(4, 0.1)
    misfit = features(other, other, other, other, other, chi2, np.zeros(4, bool))[:, 5]
    np.testing.assert_allclose(misfit[:3], 0)
    assert np.isfinite(misfit[3])
    assert misfit[3] > 10


@pytest.mark.parametrize("readout", [ALONE, REFINING], ids=["network", "refined"])
def test_a_batch_gives_what_its_members_give(readout: GridlessReadout) -> None:
    outputs, batch = stated_by(SCENES), crops_of(SCENES)
    together = read_gridless(readout, outputs, batch)
    parts = [
        read_gridless(
            readout, {name: a[i : i + 1] for name, a in outputs.items()}, batch.part(i, i + 1)
        )
        for i in range(len(SCENES))
    ]
    for name, column in vars(Estimates.join(parts)).items():
        np.testing.assert_array_equal(getattr(together, name), column, err_msg=name)


@pytest.mark.parametrize("readout", [ALONE, REFINING], ids=["network", "refined"])
def test_no_crops_no_estimates(readout: GridlessReadout) -> None:
    found = read_gridless(readout, stated_by([]), crops_of([]))
    assert found.crops == 0
    for name, column in vars(Estimates.none()).items():
        expected = (0, 7) if name == "probability" else (0,)
        assert getattr(found, name).shape == expected, name
        assert getattr(found, name).dtype == column.dtype, name


@pytest.mark.parametrize("base", [ALONE, REFINING], ids=["network", "refined"])
def test_calibration_changes_sigmas_as_documented(base: GridlessReadout) -> None:
    outputs, batch = stated_by([TWO]), crops_of([TWO])
    plain = crop(read_gridless(base, outputs, batch), 0)
    readout = replace(
        base, sigma_scale=1.7, sigma_network=0.5, sigma_floor=0.02, intensity_sigma_scale=0.4
    )
    found = crop(read_gridless(readout, outputs, batch), 0)
    for name, stated in zip(("sigma_x", "sigma_y"), STATED, strict=False):
        fitted = getattr(plain, name)
        expected = np.sqrt((1.7 * fitted) ** 2 + (0.5 * stated) ** 2 + 0.02**2)
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-6)
    np.testing.assert_allclose(found.sigma_intensity, 0.4 * plain.sigma_intensity, rtol=1e-12)
    for name in ("x", "y", "intensity"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
    assert (found.score < plain.score).all()


EXTREMES = {
    "counts certain": ("count", 1e4),
    "counts impossible": ("count", -1e4),
    "slots certain": ("existence", 1e4),
    "slots impossible": ("existence", -1e4),
    "no idea where": ("log_sigma", 1e3),
    "known exactly": ("log_sigma", -1e3),
    "very bright": ("log_intensity", 200.0),
    "very faint": ("log_intensity", -200.0),
    "far outside": ("position", 1e6),
}


@pytest.mark.parametrize("readout", [ALONE, REFINING], ids=["network", "refined"])
@pytest.mark.parametrize("case", EXTREMES)
def test_extremes_stay_finite(readout: GridlessReadout, case: str) -> None:
    """Warnings are errors."""
    name, value = EXTREMES[case]
    outputs, batch = stated_by([TWO] * 3), crops_of([TWO] * 3)
    if name == "count":
        outputs[name][:2, 1:3] = value
        outputs[name][1, 2] = -value
    else:
        outputs[name][0] = value
        outputs[name][1, 1] = value
    found = read_gridless(readout, outputs, batch)
    assert len(found.crop) >= 3
    for column in ("x", "y", "intensity", "score", "sigma_x", "sigma_y", "sigma_intensity"):
        values = getattr(found, column)
        assert np.isfinite(values).all(), column
        # So that a message's float32 holds it.
        assert (np.abs(values) < np.finfo(np.float32).max).all(), column
    assert ((found.score >= 0) & (found.score <= 1)).all()
    assert np.isfinite(found.occupied).all()
    np.testing.assert_array_equal(found.doubt & Doubt.NO_RESULT, 0)


def test_the_bits_of_doubt_are_those_of_the_wire() -> None:
    assert [int(bit) for bit in Doubt] == [1, 2, 4, 8]
    assert int(Doubt.MISFIT | Doubt.PSF | Doubt.CROWDED | Doubt.NO_RESULT) <= np.iinfo(np.uint8).max


def test_the_uncalibrated_score_asks_for_all_that_makes_a_hit() -> None:
    """Weights of a card that says nothing: those that models were made with before calibration."""
    assert asdict(ScoreWeights()) == {
        "constant": 0.0,
        "hit": 1.0,
        "existence": 0.3,
        "count": 0.3,
        "occupied": 0.3,
        "misfit": -0.5,
        "doubt": -1.5,
    }

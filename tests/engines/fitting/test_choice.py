"""The choice of the number of targets among fits of several."""

from typing import Any

import numpy as np
import pytest
from msgspec import structs

from dscsnet.engines.array_types import Float
from dscsnet.engines.fitting import NO_SELECTION, Refined, Selection, refine, selection_of
from dscsnet.engines.fitting.selection import EVIDENCE, LEAST_LOG, feature_number
from tests.engines.fitting.test_fits import EXACT, SIZE, SLOTS, crowded, images, slots

FEATURES = feature_number(SLOTS)
#: All counts are fitted to the whole crop, so that fits of one and of several counts are the same.
ALL = structs.replace(EXACT, alternatives=5, least_probability=0.01, window_margin=20.0)
STATED = np.array([0.02, 0.1, 0.4, 0.3, 0.1, 0.05, 0.03])


def make(seed: int, hidden: int = 7) -> dict[str, Float]:
    rng = np.random.default_rng(seed)
    shapes = [(hidden, FEATURES), (hidden,), (hidden, hidden), (hidden,)]
    shapes += [(SLOTS + 1, hidden), (SLOTS + 1,)]
    return {
        name: rng.normal(size=shape) * 0.3
        for name, shape in zip(Selection._fields, shapes, strict=True)
    }


def pairs(number: int, seed: int = 3) -> tuple[Float, Any]:
    """Noisy crops of two targets, and slots near them."""
    x, y, log_intensity = crowded(number, 2, seed=seed)
    x[:, 2:], y[:, 2:] = x[:, :1] + 0.6, y[:, :1] + 0.3 * np.arange(SLOTS - 2)
    rng = np.random.default_rng(seed)
    pixels = images(x, y, log_intensity, 2) + rng.normal(size=(number, SIZE, SIZE))
    return pixels.astype(np.float32), slots(x, y, log_intensity, sigma=0.3)


def choose(
    pixels: Float,
    prior: Any,
    selection: Selection,
    existence: Float | None,
    stated: Float = STATED,
) -> Refined:
    number = len(pixels)
    return refine(
        pixels.astype(np.float32),
        np.ones(pixels.shape, bool),
        np.ones(number, np.float32),
        np.full((number, 2), 0.6, np.float32),
        prior,
        np.log(np.tile(stated, (number, 1))),
        ALL,
        existence,
        selection,
    )


def perceptron(weights: dict[str, Float], features: Float) -> Float:
    """Softmax of two rectified layers and a third."""
    first = np.maximum(features @ weights["enter"].T + weights["enter_bias"], 0)
    second = np.maximum(first @ weights["middle"].T + weights["middle_bias"], 0)
    logits = second @ weights["leave"].T + weights["leave_bias"]
    odds = np.exp(logits - logits.max(1, keepdims=True))
    result: Float = odds / odds.sum(1, keepdims=True)
    return result


def test_it_judges_by_the_features_and_leaves_the_probability_of_nothing() -> None:
    pixels, prior = pairs(20)
    existence = np.random.default_rng(1).normal(size=(20, SLOTS))
    weights = make(seed=2)
    found = choose(pixels, prior, selection_of(weights), existence)
    expected = perceptron(weights, found.features) * (1 - STATED[0])
    np.testing.assert_allclose(found.probability[:, 1:], expected, rtol=1e-9)
    np.testing.assert_allclose(found.probability[:, 0], STATED[0])
    fitted = found.features[:, : SLOTS * EVIDENCE : EVIDENCE] > 0
    chosen = np.where(fitted, found.probability[:, 1:-1], -1).argmax(1) + 1
    np.testing.assert_array_equal(found.count, chosen)


@pytest.mark.parametrize("wanted", [2, 3, 4])
def test_its_choice_is_what_is_published(wanted: int) -> None:
    pixels, prior = pairs(10)
    weights = {name: np.zeros_like(values) for name, values in make(0).items()}
    weights["leave_bias"][wanted - 1] = 50.0
    existence = np.zeros((10, SLOTS))
    found = choose(pixels, prior, selection_of(weights), existence)
    alone = choose(pixels, prior, NO_SELECTION, existence, np.eye(SLOTS + 2)[wanted] + 1e-9)
    assert (found.count == wanted).all()
    np.testing.assert_allclose(found.x, alone.x, atol=1e-6)
    np.testing.assert_allclose(found.sigma_x, alone.sigma_x, rtol=1e-5)


def test_a_number_that_was_not_fitted_is_not_chosen() -> None:
    pixels, prior = pairs(10)
    weights = {name: np.zeros_like(values) for name, values in make(0).items()}
    weights["leave_bias"][4] = 50.0  # five targets, to which the network gives 0.1 %
    stated = np.array([0.02, 0.1, 0.5, 0.3, 0.05, 0.001, 0.029])
    found = choose(pixels, prior, selection_of(weights), np.zeros((10, SLOTS)), stated)
    assert (found.count < 5).all()
    assert (found.features[:, 4 * EVIDENCE : 5 * EVIDENCE] == 0).all()


def test_features_are_what_they_say() -> None:
    pixels, prior = pairs(6)
    existence = np.tile([30.0, 3.0, 0.0, -3.0, -30.0], (6, 1))
    found = choose(pixels, prior, NO_SELECTION, existence)
    one, two, three = (found.features[:, k * EVIDENCE : (k + 1) * EVIDENCE] for k in range(3))
    alone = choose(pixels, prior, NO_SELECTION, existence, np.eye(SLOTS + 2)[2] + 1e-9)
    np.testing.assert_allclose(two[:, 4], 10 * np.log(alone.psf_factor), atol=1e-5)
    # Two targets leave far less than one, and three hardly less than two.
    assert (one[:, 1] > np.log1p(50)).all()
    assert (two[:, 1] < np.log1p(20)).all()
    assert (three[:, 1] < two[:, 1] + 1e-6).all()
    # Nothing is apart from a target alone; the two are as far apart as they were drawn.
    apart = np.hypot(*(np.diff(getattr(prior, axis)[:, :2])[:, 0] for axis in "xy"))
    np.testing.assert_allclose(np.exp(two[:, 5]), apart, rtol=0.25)
    np.testing.assert_allclose(two[:, 7], prior.log_intensity[:, :2].max(1), atol=0.1)
    # What the data leave of the prior's volume, 0.6 px and 0.6 in ln intensity of each target;
    # the blend with the network's own sigma, 0.3, is undone.
    sigma = np.stack([alone.sigma_x, alone.sigma_y, alone.sigma_log_intensity])[:, :, :2]
    of_fit = 1 / np.sqrt(1 / sigma**2 - 1 / 0.3**2)
    volume = np.log(of_fit / 0.6).sum((0, 2)) - 0.5 * np.log(np.maximum(alone.chi2, 1)) * 6
    assert (two[:, 8] <= volume + 0.1).all()  # correlations shrink it
    assert (two[:, 8] > volume - 3).all()
    rest = found.features[:, SLOTS * EVIDENCE :]
    np.testing.assert_allclose(rest[:, : SLOTS + 2], np.log(STATED)[None].repeat(6, 0), atol=1e-3)
    np.testing.assert_allclose(
        rest[:, SLOTS + 2 : 2 * SLOTS + 2], existence.clip(LEAST_LOG, -LEAST_LOG)
    )


def test_nothing_is_judged_where_nothing_is_seen() -> None:
    pixels, prior = pairs(4)
    stated = np.array([0.9, 0.05, 0.01, 0.01, 0.01, 0.01, 0.01])
    found = choose(pixels, prior, selection_of(make(5)), np.zeros((4, SLOTS)), stated)
    assert (found.count == 0).all()
    np.testing.assert_allclose(found.probability, np.tile(stated, (4, 1)))
    assert (found.features == 0).all()


def test_without_log_odds_there_are_no_features_and_no_selection() -> None:
    pixels, prior = pairs(3)
    assert choose(pixels, prior, NO_SELECTION, None).features.shape == (3, 0)
    with pytest.raises(ValueError, match=r"existence must have shape \(3, 5\), got \(0, 0\)"):
        choose(pixels, prior, selection_of(make(1)), None)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("enter", lambda a: a[:, :-1], r"enter: expected shape \(7, 67\), got \(7, 66\)"),
        ("middle", lambda a: a[:-1], r"middle: expected shape \(7, 7\)"),
        ("leave", lambda a: a.T, r"leave: expected shape \(6, 7\)"),
        ("leave_bias", lambda a: a[:1], "expected shape"),
        ("enter_bias", lambda a: a * np.nan, "enter_bias: not finite"),
    ],
)
def test_weights_that_are_none_are_refused(name: str, change: Any, message: str) -> None:
    weights = make(1)
    with pytest.raises(ValueError, match=message):
        selection_of(weights | {name: change(weights[name])})


def test_a_selection_of_another_network_is_refused() -> None:
    pixels, prior = pairs(2)
    with pytest.raises(ValueError, match=r"existence must have shape \(2, 5\)"):
        choose(pixels, prior, NO_SELECTION, np.zeros((2, 4)))
    four = {
        name: np.zeros(shape)
        for name, shape in zip(
            Selection._fields,
            [(3, feature_number(4)), (3,), (3, 3), (3,), (5, 3), (5,)],
            strict=True,
        )
    }
    with pytest.raises(ValueError, match=r"selection must have shape \(5,\), got \(4,\)"):
        choose(pixels, prior, selection_of(four), np.zeros((2, SLOTS)))

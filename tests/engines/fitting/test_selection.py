"""What a selection sees, function by function, against sums by hand and at its bounds."""

import math
from typing import Any

import numpy as np
import pytest

from tests.engines.plain import plain

module, counts, workspace, spline = plain("selection", "counts", "workspace", "spline")

SLOTS = 3
FEATURES = module.feature_number(SLOTS)


def seen() -> tuple[Any, Any]:
    """A crop of which 2, 1 and 3 targets were fitted."""
    space = workspace.make_workspace(5, SLOTS, spline.PsfTable(np.zeros((0, 0, 0)), 1, 0.0))
    search = counts.make_search(SLOTS)
    space.psf[:], space.window[0] = (0.5, 0.6), 23
    space.precision[:], space.mean[:] = np.arange(1.0, 14), 0.1 * np.arange(13)
    search.candidates[:3], search.probability[:] = (2, 1, 3), (0.1, 0.2, 0.4, 0.25, 0.05)
    search.objective[:], search.misfit[:] = (np.inf, 5, 4, 9), (0, 40, 30, 20)
    search.occam[:] = 0, -1, -2, -3
    search.best[:] = np.random.default_rng(0).normal(size=search.best.shape)
    return space, search


def evidence(space: Any, search: Any, k: int, least: float) -> list[float]:
    targets = search.best[k, 4 : 4 + 3 * k].reshape(k, 3)
    pull = (space.precision * (search.best[k] - space.mean) ** 2)[4 : 4 + 3 * k].reshape(k, 3)
    gaps = [math.dist(a[:2], b[:2]) for n, a in enumerate(targets) for b in targets[:n]]
    return [
        1,
        math.log(1 + search.misfit[k] - least),
        math.log(1 + pull[:, :2].sum()),
        math.log(1 + pull[:, 2].sum()),
        10 * search.best[k, 3],
        math.log(min(gaps) + 1e-3) if gaps else 1.5,
        targets[:, 2].min(),
        targets[:, 2].max(),
        -k,
        math.asinh(search.best[k, 0]),
    ]


def test_features_of_every_number_and_of_the_crop() -> None:
    space, search = seen()
    out = np.full(FEATURES, 7.0)
    out[:30] = 0
    module.fill_features(space, search, 3, np.array([20.0, 3.0, -20.0]), out)
    for k in (1, 2, 3):
        expected = evidence(space, search, k, 20.0)
        np.testing.assert_allclose(out[10 * (k - 1) : 10 * k], expected, rtol=1e-9)
    np.testing.assert_allclose(out[30:35], np.log(search.probability + math.exp(-12)))
    assert out[35:38].tolist() == [12, 3, -12]
    free = 23 - 6 - 4
    crop = [math.log(30 / free + 1e-3), math.log(20 / free + 1e-3), 0.5, 0.6, 0.23]
    np.testing.assert_allclose(out[38:], crop)


def test_what_was_not_fitted_leaves_no_evidence() -> None:
    space, search = seen()
    search.objective[3] = np.inf
    out = np.zeros(FEATURES)
    module.fill_features(space, search, 3, np.zeros(SLOTS), out)
    np.testing.assert_allclose(out[:10], evidence(space, search, 1, 30.0), rtol=1e-9)
    assert (out[20:30] == 0).all()
    search.candidates[1] = 0
    search.objective[0], search.misfit[0] = 1.0, 90.0
    out[:] = 0
    module.fill_features(space, search, 2, np.zeros(SLOTS), out)
    assert (out[:10] == 0).all()
    assert out[10] == 1


def test_features_are_bounded_and_finite() -> None:
    space, search = seen()
    search.best[2, 3], search.best[1, 3], search.occam[2] = 4.0, -4.0, np.nan
    out = np.zeros(FEATURES)
    space.window[0] = 10  # as many as unknowns
    module.fill_features(space, search, 3, np.zeros(SLOTS), out)
    assert (out[14], out[4], out[18]) == (30, -30, 0)
    assert out[38] == pytest.approx(math.log(30 + 1e-3))


def test_two_targets_in_one_place_are_a_thousandth_apart() -> None:
    space, search = seen()
    search.best[2, 4:6] = search.best[2, 7:9]
    out = np.zeros(FEATURES)
    module.fill_features(space, search, 1, np.zeros(SLOTS), out)
    assert out[15] == pytest.approx(math.log(1e-3))


def test_of_equal_probabilities_the_one_tried_first_is_chosen() -> None:
    _, search = seen()
    assert module.likeliest(search, 3, np.array([0.5, 0.4, 0.4, 0.1, 0])) == 2
    assert module.likeliest(search, 3, np.array([0.5, 0.41, 0.4, 0.1, 0])) == 1
    assert module.likeliest(search, 2, np.array([0.5, 0.1, 0.2, 0.9, 0])) == 2
    search.objective[3] = np.inf
    assert module.likeliest(search, 3, np.array([0.5, 0.1, 0.2, 0.9, 0])) == 2


def weights(slots: int) -> dict[str, Any]:
    shapes = [(2, module.feature_number(slots)), (2,), (2, 2), (2,), (slots + 1, 2), (slots + 1,)]
    return {n: np.full(s, -1e6) for n, s in zip(module.Selection._fields, shapes, strict=True)}


def test_weights_are_floats_up_to_a_bound_and_for_a_slot_or_more() -> None:
    assert module.selection_of(weights(1)).slots == 1
    assert module.NO_SELECTION.slots == -1
    with pytest.raises(ValueError, match=r"^enter: expected shape"):
        module.selection_of(weights(0))
    for value in (1.01e6, -1.01e6, np.inf, np.nan):
        given = weights(2)
        given["leave"][0, 0] = value
        with pytest.raises(ValueError, match=r"^leave: not finite, or beyond 1e\+06$"):
            module.selection_of(given)
    given = weights(2) | {"middle_bias": np.zeros(2, np.int64)}
    with pytest.raises(ValueError, match=r"^middle_bias: expected floating-point .* got int64$"):
        module.selection_of(given)


def test_the_number_of_features() -> None:
    assert (module.feature_number(5), module.feature_number(1)) == (67, 19)


def test_a_perceptron_shares_what_is_not_nothing() -> None:
    rng = np.random.default_rng(1)
    shapes = [(4, FEATURES), (4,), (4, 4), (4,), (SLOTS + 1, 4), (SLOTS + 1,)]
    selection = module.Selection(*(rng.normal(size=shape) for shape in shapes))
    features, hidden = rng.normal(size=FEATURES), np.zeros((2, 4))
    probability = np.array([0.3, 9, 9, 9, 9])
    module.judge(selection, features, np.zeros(SLOTS + 2), hidden, probability)
    first = np.maximum(selection.enter @ features + selection.enter_bias, 0)
    second = np.maximum(selection.middle @ first + selection.middle_bias, 0)
    assert (first > 0).any()
    assert (second == 0).any()
    odds = np.exp(selection.leave @ second + selection.leave_bias)
    np.testing.assert_allclose(probability, [0.3, *(0.7 * odds / odds.sum())])
    # What is known of the numbers beforehand counts; that of no target has no say.
    prior = np.array([77.0, 0.5, -1.0, 2.0, 0.0])
    module.judge(selection, features, prior, hidden, probability)
    odds = odds * np.exp(prior[1:])
    np.testing.assert_allclose(probability, [0.3, *(0.7 * odds / odds.sum())])

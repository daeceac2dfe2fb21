"""What a frame's spots say of each other's numbers."""

from typing import Any

import numpy as np
import pytest

from dscsnet.engines.array_types import Float
from dscsnet.engines.fitting.population import MORE, PULL, population_shift, weigh_by_frame

#: Of 0, 1, ... 5 targets and of more.
CLASSES = 7
#: Shares of the numbers in what a selection learnt from.
LEARNT = np.array([0, *[(1 - MORE) / 5] * 5, MORE])


def reference(probability: Float, rounds: int = 4000) -> Float:
    """Shares of the numbers by expectation maximisation with NumPy, to convergence."""
    known = probability[probability[:, 0] < 0.5][:, 1:]
    share = LEARNT[1:].copy()
    for _ in range(rounds):
        weighed = known * share / LEARNT[1:]
        posterior = weighed / weighed.sum(1, keepdims=True)
        share = (posterior.sum(0) + PULL * LEARNT[1:]) / (len(known) + PULL)
    return share


def shift_of(probability: Any, frame: Any = None) -> Float:
    probability = np.ascontiguousarray(probability, np.float64)
    frame = np.zeros(len(probability), np.int64) if frame is None else np.asarray(frame, np.int64)
    return population_shift(probability, frame)


def spots(number: int, truth: Float, sharpness: float, seed: int) -> Float:
    """Probabilities as one states them who saw each spot alone, with all numbers as in LEARNT.

    Each spot gives evidence of its true number, whose strength is a Gaussian's.
    """
    rng = np.random.default_rng(seed)
    true = rng.choice(np.arange(1, CLASSES), number, p=truth)
    seen = true + rng.normal(size=number) / sharpness
    likelihood = np.exp(-0.5 * (sharpness * (seen[:, None] - np.arange(1, CLASSES))) ** 2)
    posterior = likelihood * LEARNT[1:]
    posterior /= posterior.sum(1, keepdims=True)
    return np.concatenate([np.full((number, 1), 0.01), 0.99 * posterior], 1)


def test_it_is_that_of_expectation_maximisation_by_numpy() -> None:
    probability = spots(200, np.array([0.7, 0.2, 0.05, 0.03, 0.01, 0.01]), 1.5, seed=1)
    shift = shift_of(probability)
    assert shift.shape == probability.shape
    assert (shift[:, 0] == 0).all()
    assert (shift == shift[0]).all()  # of one frame
    found = LEARNT[1:] * np.exp(shift[0, 1:])
    assert found.sum() == pytest.approx(1)
    np.testing.assert_allclose(found, reference(probability), atol=0.02)


def test_shares_come_to_be_those_of_the_spots() -> None:
    truth = np.array([0.85, 0.1, 0.02, 0.01, 0.01, 0.01])
    for number, error in ((100, 0.45), (1000, 0.12), (20_000, 0.02)):
        shift = shift_of(spots(number, truth, 2.0, seed=number))
        assert abs(LEARNT[1:] * np.exp(shift[0, 1:]) - truth).max() < error


def test_one_spot_alone_hardly_changes_its_own_number() -> None:
    """Its pull is one against 100: the odds of what it thinks itself rise by less than a tenth."""
    for sure in (1 / 6, 0.5, 0.9, 1.0):
        probability = np.full((1, CLASSES), (1 - sure) / 5)
        probability[0, 0], probability[0, 2] = 0.0, sure
        shift = shift_of(probability)[0]
        assert abs(shift[1:] - shift[3:4]).max() < 0.1
        weighed = probability[0] * np.exp(shift)
        assert weighed[2] / weighed.sum() == pytest.approx(sure, abs=0.04)


def test_frames_know_nothing_of_each_other() -> None:
    singles = spots(80, np.array([1.0, 0, 0, 0, 0, 0]), 2.0, seed=2)
    triples = spots(150, np.array([0, 0, 1.0, 0, 0, 0]), 2.0, seed=3)
    together = shift_of(np.concatenate([singles, triples]), [4] * 80 + [9] * 150)
    np.testing.assert_array_equal(together[:80], shift_of(singles))
    np.testing.assert_array_equal(together[80:], shift_of(triples))
    assert together[0, 1] > 0.5 > -0.4 > together[0, 3]
    assert together[80, 3] > 0.5 > -0.5 > together[80, 1]
    # A frame's last spot is its own, and of a frame of one spot little is known.
    mixed = shift_of(np.concatenate([singles, triples[:1], singles]), [0] * 80 + [1] + [2] * 80)
    np.testing.assert_array_equal(mixed[80], shift_of(triples[:1])[0])
    np.testing.assert_array_equal(mixed[81:], shift_of(singles))


def test_what_is_unknown_or_likelier_empty_counts_for_nothing() -> None:
    known = spots(60, np.array([0.9, 0.1, 0, 0, 0, 0]), 2.0, seed=4)
    unknown = np.full((40, CLASSES), np.nan)
    empty = np.tile([0.5, 0, 0, 0, 0.5, 0, 0], (40, 1))
    nothing = np.zeros((40, CLASSES))
    expected = shift_of(known)[0]
    for others in (unknown, empty, nothing):
        found = shift_of(np.concatenate([others, known]))
        np.testing.assert_allclose(found, np.tile(expected, (100, 1)), atol=1e-12)
    for others in (unknown, empty, nothing):
        np.testing.assert_allclose(shift_of(others), 0, atol=1e-12)


@pytest.mark.parametrize("classes", [0, 1, 2])
def test_with_one_number_there_is_nothing_to_share(classes: int) -> None:
    assert (shift_of(np.full((3, classes), 0.5)) == 0).all()


def test_no_spots_no_shift() -> None:
    assert shift_of(np.empty((0, CLASSES))).shape == (0, CLASSES)


def test_odds_are_multiplied_and_what_is_unknown_stays() -> None:
    """With NumPy, as the formula stands."""
    known = spots(80, np.array([0.1, 0.8, 0.1, 0, 0, 0]), 1.0, seed=5)
    known[7], known[9] = np.nan, [1, 0, 0, 0, 0, 0, 0]
    frame = np.zeros(80, np.int64)
    found = weigh_by_frame(known, frame)
    shift = population_shift(known, frame)
    np.testing.assert_array_equal(found.shift, shift)
    weighed = known[:, 1:] * np.exp(shift[:, 1:])
    with np.errstate(invalid="ignore"):
        weighed *= (1 - known[:, :1]) / weighed.sum(1, keepdims=True)
    expected = np.where(np.isfinite(weighed), weighed, known[:, 1:])
    np.testing.assert_allclose(found.probability[:, 1:], expected, rtol=1e-13)
    np.testing.assert_array_equal(found.probability[:, 0], known[:, 0])
    before, after = (np.nan_to_num(p[:, :-1]).argmax(1) for p in (known[:, 1:], expected))
    assert found.changed.tolist() == (before != after).tolist()
    assert 0 < found.changed.sum() < 40

"""Log-odds and features at their bounds."""

import numpy as np
import pytest
from msgspec.structs import astuple

from dscsnet.engines.card import ScoreWeights
from dscsnet.engines.readouts import score as module


def test_log_odds_are_bounded() -> None:
    found = module.log_odds(np.array([0.0, 1e-9, 0.5, 0.8, 1 - 1e-9, 1.0]))
    np.testing.assert_allclose(found, [-12, -12, 0, np.log(4), 12, 12], rtol=1e-5, atol=1e-12)


def test_of_a_hit_they_are_students_and_never_infinite() -> None:
    sigma = np.array([0.1, 0.3])
    variance = (sigma**2 + (2 * sigma) ** 2) / 2
    miss = (1 + 0.25**2 / (4 * variance)) ** -2
    expected = np.log((1 - miss) / miss)
    np.testing.assert_allclose(module.hit_log_odds(sigma, 2 * sigma), expected)
    np.testing.assert_allclose(module.hit_log_odds(2 * sigma, sigma), expected)
    least = 2 * np.log1p(0.0625 / (4 * 1e-12))
    assert module.hit_log_odds(np.zeros(1), np.zeros(1)) == pytest.approx(least)


def test_features_are_in_the_order_of_the_weights() -> None:
    one = np.ones(5)
    chi2 = np.array([0.5, 1.0, np.e, 1e9, np.nan])
    doubted = np.array([True, False, False, True, False])
    found = module.features(0.1 * one, 0.2 * one, 0.5 * one, 0.8 * one, 0.2 * one, chi2, doubted)
    assert found.shape == (5, len(ScoreWeights.__struct_fields__))
    assert (found[:, 0] == 1).all()
    np.testing.assert_allclose(found[:, 1], module.hit_log_odds(0.1 * one, 0.2 * one))
    np.testing.assert_allclose(found[0, 2:5], [0, np.log(4), -np.log(4)], atol=1e-12)
    np.testing.assert_allclose(found[:, 5], [0, 0, 1, np.log(1e6), 0])
    assert found[:, 6].tolist() == [1, 0, 0, 1, 0]


def test_a_score_is_a_probability_whatever_it_is_made_from() -> None:
    values = np.zeros((4, 7))
    values[:, 1] = 1e9, -1e9, 0, 2
    found = module.score(np.array(astuple(ScoreWeights())), values)
    np.testing.assert_allclose(found, [1, 0, 0.5, 1 / (1 + np.exp(-2))], atol=1e-200)


def test_further_targets_are_scored_from_two_in_a_hundred_on() -> None:
    assert module.FURTHER_FROM == 0.02

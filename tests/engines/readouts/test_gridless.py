"""Limits of the gridless readout: from which value on there is doubt, or a target is given."""

from typing import Any

import numpy as np
import pytest
from msgspec.structs import astuple
from msgspec.structs import replace as changed
from scipy.special import expit

from dscsnet.engines.card import GridlessReadout, ScoreWeights
from dscsnet.engines.estimates import Doubt
from dscsnet.engines.fitting import Refined
from dscsnet.engines.readouts import gridless as module
from dscsnet.engines.readouts.score import score
from dscsnet.engines.readouts.stated import Statement

READOUT = GridlessReadout()


def refined(number: int, **columns: Any) -> Refined:
    """Two slots a crop, one target in each."""
    names = ("x", "y", "log_intensity", "sigma_x", "sigma_y", "sigma_log_intensity")
    given = {name: np.ones((number, 2)) for name in (*names, "covariance_xy")}
    given |= {name: np.ones(number) for name in ("chi2", "psf_factor", "level")}
    given |= {"sigma_psf_factor": np.zeros(number), "count": np.ones(number, int)}
    given |= {"probability": np.zeros((number, 4)), "features": np.zeros((number, 0))}
    given |= {"alone": np.zeros(number, bool)}
    told = {name: np.array(each, given[name].dtype) for name, each in columns.items()}
    return Refined(**given | told)


def stated(existence: list[list[float]], finite: list[bool] | None = None) -> Statement:
    """Targets that are there for certain, sigmas of 1."""
    number, slots = np.shape(existence)
    return Statement(
        np.array([True] * number if finite is None else finite),
        np.zeros((number, slots + 2)),
        np.zeros((number, slots + 2)),
        np.array(existence),
        np.zeros((number, slots)),
        np.ones((6, number, slots)),
    )


def doubts(finite: bool = True, **columns: Any) -> list[int]:
    number = len(next(iter(columns.values())))
    told = stated([[0.9, 0.1]] * number, [finite] * number)
    found, _ = module.targets_of(READOUT, told, refined(number, **columns))
    assert found.doubt.dtype == np.uint8
    return found.doubt.tolist()


def test_doubt_begins_beyond_the_limits() -> None:
    assert doubts(chi2=[3.0, 3.001, np.nan]) == [0, Doubt.MISFIT, 0]
    assert doubts(chi2=[9.0], finite=False) == [Doubt.NO_RESULT]
    limit = np.exp(0.12)
    assert doubts(psf_factor=[limit - 1e-9, limit + 1e-9, 1 / limit - 1e-9, np.nan]) == [
        *(0, Doubt.PSF, Doubt.PSF, 0),
    ]
    assert doubts(psf_factor=[1.2, 1.2], count=[1, 0]) == [Doubt.PSF, 0]
    # Two sigmas of the ratio more are allowed.
    sigma = 0.5 * 1.2 * (np.log(1.2) - 0.12)
    assert doubts(psf_factor=[1.2, 1.2], sigma_psf_factor=[0.999 * sigma, 1.001 * sigma]) == [
        *(Doubt.PSF, 0),
    ]
    assert doubts(probability=[[0, 0, 0.8, 0.2], [0, 0, 0.79, 0.21], [0.5, 0.5, 0, 0]]) == [
        *(0, Doubt.CROWDED, 0),
    ]


def test_further_targets_are_given_from_their_limit_on() -> None:
    told = stated([[0.9, 0.1], [0.0999, 0.1001], [0.9, 0.9]], [True, True, False])
    fits = refined(3, count=[0, 0, 0], chi2=[9.0, 1.0, 1.0])
    nothing, _ = module.targets_of(READOUT, told, fits)
    assert nothing.doubt.tolist() == [Doubt.MISFIT, 0, Doubt.NO_RESULT]
    assert len(nothing.crop) == 0
    asking = changed(READOUT, least_existence=0.1, further_weights=ScoreWeights())
    found, _ = module.targets_of(asking, told, fits)
    assert found.crop.tolist() == [0, 0, 1]
    assert not found.likely.any()


def test_probabilities_of_a_number_and_of_at_least_that() -> None:
    """Of the likely targets the number's, of further ones that of so many or more."""
    told = stated([[0.9, 0.9]] * 2)
    probability = [[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]]
    asking = changed(READOUT, least_existence=0.1, further_weights=ScoreWeights())
    fits = refined(2, probability=probability, count=[2, 0])
    found, details = module.targets_of(asking, told, fits)
    assert found.crop.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(expit(details.features[:, 3]), [0.3, 0.3, 0.6, 0.3])


def test_targets_are_in_order_of_likeliness_and_score() -> None:
    told = stated([[0.2, 0.3, 0.9]] * 2)
    asking = changed(READOUT, least_existence=0.1, further_weights=ScoreWeights())
    ones = {name: np.ones((2, 3)) for name in ("y", "log_intensity", "sigma_log_intensity")}
    sigma = np.array([[0.3, 0.1, 0.2]] * 2)
    probability = [[0, 0.2, 0.4, 0.3, 0.1]] * 2
    fits = refined(2, x=[[0.0, 1, 2]] * 2, **ones, sigma_x=sigma, sigma_y=sigma, count=[2, 0],
                   probability=probability, alone=[True, True])  # fmt: skip
    found, details = module.targets_of(asking, told, fits)
    assert found.crop.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.x[:3].tolist() == [1, 0, 2]
    assert found.likely.tolist() == [True, True, False, False, False, False]
    assert (np.diff(found.score[3:]) <= 0).all()
    # The fit's sigmas stand for themselves in likely targets only.
    assert found.sigma_x[:2].tolist() == [0.1, 0.3]
    assert details.alone.tolist() == found.likely.tolist()
    blended = module.blend_sigmas(READOUT, details.refined_sigma[2:], details.network_sigma[2:])
    np.testing.assert_allclose(found.sigma_x[2:], blended[:, 0], rtol=1e-14)
    expected = score(np.array(astuple(ScoreWeights())), np.ascontiguousarray(details.features))
    np.testing.assert_allclose(found.score, expected, rtol=1e-14)


def test_sigmas_are_calibrated() -> None:
    readout = changed(READOUT, sigma_scale=2.0, sigma_network=0.5, sigma_floor=3.0)
    found = module.blend_sigmas(readout, np.array([1.0, 2.0]), np.array([8.0, 0.0]))
    np.testing.assert_allclose(found, np.sqrt([4 + 16 + 9, 16 + 9]))


def test_bounds_of_what_a_network_states() -> None:
    outputs = {
        "count": np.array([[0.0, 0, 0, 0]]),
        "existence": np.array([[-800.0, 800.0]]),
        "position": np.array([[[1.0, 2], [3, 4]]]),
        "log_intensity": np.array([[5.0, 6]]),
        "log_sigma": np.array([[[-21.0, 6, 0], [-20, 5, 1]]]),
    }
    told = module.state(outputs)
    assert told.existence.tolist() == [[1.0, pytest.approx(np.exp(-700.0))]]
    assert told.slots[:2].tolist() == [[[3, 1]], [[4, 2]]]
    assert told.slots[2].tolist() == [[6, 5]]
    np.testing.assert_allclose(told.slots[3], [[np.exp(-20)] * 2])
    np.testing.assert_allclose(told.slots[4], [[np.exp(5)] * 2])
    np.testing.assert_allclose(told.slots[5], [[np.e, 1]])
    assert told.finite.tolist() == [True]


@pytest.mark.parametrize("name", ["count", "existence", "position", "log_intensity", "log_sigma"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_of_a_crop_that_is_not_finite_nothing_is_known(name: str, value: float) -> None:
    outputs = {
        "count": np.ones((2, 4)) * [3, 2, 1, 0],
        "existence": np.array([[1.0, 2.0]] * 2),
        "position": np.ones((2, 2, 2)),
        "log_intensity": np.ones((2, 2)),
        "log_sigma": np.ones((2, 2, 3)),
    }
    outputs[name].reshape(2, -1)[1, -1] = value
    told = module.state({key: column.astype(np.float32) for key, column in outputs.items()})
    assert told.finite.tolist() == [True, False]
    assert told.number[1].tolist() == [0.25] * 4
    assert told.existence[1].tolist() == [0.5, 0.5]
    assert told.slots[:3, 1].tolist() == [[0, 0]] * 3
    assert told.slots[3:, 1].tolist() == [[1, 1]] * 3
    np.testing.assert_allclose(told.log_number, np.log(told.number))

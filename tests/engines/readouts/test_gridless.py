"""Limits of the gridless readout: from which value on there is doubt, or a target is given."""

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace as changed

from dscsnet.engines.card import GridlessReadout, ScoreWeights
from dscsnet.engines.estimates import Doubt
from dscsnet.engines.fitting import Refined, Slots
from dscsnet.engines.readouts import gridless as module

READOUT = GridlessReadout()


def refined(number: int, **columns: Any) -> Refined:
    """Two slots a crop, one target in each."""
    names = ("x", "y", "log_intensity", "sigma_x", "sigma_y", "sigma_log_intensity")
    given = {name: np.ones((number, 2)) for name in (*names, "covariance_xy")}
    given |= {name: np.ones(number) for name in ("chi2", "psf_factor", "level")}
    given |= {"sigma_psf_factor": np.zeros(number), "count": np.ones(number, int)}
    given |= {"probability": np.zeros((number, 4)), "features": np.zeros((number, 0))}
    given |= {"alone": np.zeros(number, bool)}
    return Refined(**given | {name: np.array(each) for name, each in columns.items()})


def doubts(finite: bool = True, **columns: Any) -> list[int]:
    number = len(next(iter(columns.values())))
    found = module._doubts(READOUT, refined(number, **columns), np.full(number, finite))
    assert found.dtype == np.uint8
    return found.tolist()


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


def stated(existence: list[list[float]]) -> module.Stated:
    slots = Slots(*np.ones((6, len(existence), 2)))
    return module.Stated(np.zeros((len(existence), 4)), np.array(existence), slots)


def test_further_targets_are_given_from_their_limit_on() -> None:
    told = stated([[0.9, 0.1], [0.0999, 0.1001], [0.9, 0.9]])
    doubt = np.array([Doubt.MISFIT, 0, Doubt.NO_RESULT | Doubt.PSF], np.uint8)
    assert not module._further(READOUT, told, doubt).any()
    asking = changed(READOUT, least_existence=0.1, further_weights=ScoreWeights())
    expected = [[True, True], [False, True], [False, False]]
    assert module._further(asking, told, doubt).tolist() == expected


def test_probabilities_of_a_number_and_of_at_least_that() -> None:
    one = refined(2, probability=[[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]], count=[2, 0])
    np.testing.assert_allclose(module._chosen(one), [0.3, 0.4])
    np.testing.assert_allclose(module._at_least(one), [[0.9, 0.7, 0.4], [0.6, 0.3, 0.1]])


def test_sigmas_are_calibrated() -> None:
    readout = changed(READOUT, sigma_scale=2.0, sigma_network=0.5, sigma_floor=3.0)
    found = module.blend_sigmas(readout, np.array([1.0, 2.0]), np.array([8.0, 0.0]))
    np.testing.assert_allclose(found, np.sqrt([4 + 16 + 9, 16 + 9]))


def test_bounds_of_what_a_network_states() -> None:
    outputs = {
        "count": np.zeros((1, 4)),
        "existence": np.array([[-800.0, 800.0]]),
        "position": np.array([[[1.0, 2], [3, 4]]]),
        "log_intensity": np.array([[5.0, 6]]),
        "log_sigma": np.array([[[-21.0, 6, 0], [-20, 5, 1]]]),
    }
    told = module.state(outputs, np.ones(1, bool))
    assert told.existence.tolist() == [[1.0, pytest.approx(np.exp(-700.0))]]
    assert (told.slots.x.tolist(), told.slots.y.tolist()) == ([[3, 1]], [[4, 2]])
    assert told.slots.log_intensity.tolist() == [[6, 5]]
    np.testing.assert_allclose(told.slots.sigma_x, [[np.exp(-20)] * 2])
    np.testing.assert_allclose(told.slots.sigma_y, [[np.exp(5)] * 2])
    np.testing.assert_allclose(told.slots.sigma_log_intensity, [[np.e, 1]])
    nothing = module.state(outputs, np.zeros(1, bool))
    assert nothing.count.tolist() == [[0.25] * 4]
    assert nothing.existence.tolist() == [[0.5, 0.5]]

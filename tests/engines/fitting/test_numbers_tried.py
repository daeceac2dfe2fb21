"""Which numbers of targets are tried: seen in whose probability is weighed anew."""

import numpy as np
import pytest
from msgspec import structs
from numpy.typing import NDArray

from dscsnet.engines.fitting import Refined
from tests.engines.fitting.test_fits import EXACT, SLOTS, crowded, fit, images, slots

Float = NDArray[np.float64]

ALL = structs.replace(EXACT, alternatives=SLOTS, least_probability=0.0)


def tried(stated: list[float], **settings: float) -> tuple[list[int], Refined]:
    """Numbers whose probability changes when two targets in light noise are fitted."""
    x, y, log_intensity = crowded(1, 2, seed=4)
    pixels = images(x, y, log_intensity, 2)
    pixels += np.random.default_rng(4).normal(size=pixels.shape)
    with np.errstate(divide="ignore"):
        log_count = np.log(np.array([stated]))
    found = fit(pixels, slots(x, y, log_intensity), log_count, structs.replace(ALL, **settings))
    told = np.array(stated) / np.sum(stated)
    return np.flatnonzero(~np.isclose(found.probability[0], told, rtol=1e-9)).tolist(), found


def test_numbers_are_tried_from_the_least_probability_on() -> None:
    """Powers of two: the probability after the division is exactly the least one, and half that."""
    stated = [2**-5, 2**-1, 2**-2, 2**-3, 2**-4, 2**-6, 2**-6]
    assert tried(stated, least_probability=2.0**-3)[0] == [1, 2, 3]
    assert tried(stated, least_probability=2.0**-2)[0] == [1, 2]
    assert tried(stated, least_probability=0.01)[0] == [1, 2, 3, 4, 5]


def test_no_more_are_tried_than_was_asked_for() -> None:
    stated = [2**-5, 2**-3, 2**-2, 2**-1, 2**-4, 2**-6, 2**-6]
    assert tried(stated, alternatives=2)[0] == [2, 3]
    assert tried(stated, alternatives=3)[0] == [1, 2, 3]


def test_none_is_no_alternative_however_likely() -> None:
    changed, found = tried([0.4, 0.01, 0.5, 0.03, 0.02, 0.02, 0.02])
    assert 0 not in changed
    assert {3, 4, 5} <= set(changed)
    assert found.probability[0, 0] == pytest.approx(0.4)


@pytest.mark.parametrize("rubbish", [np.nan, -np.inf, np.inf])
def test_where_no_probability_is_known_there_is_no_target(rubbish: float) -> None:
    x, y, log_intensity = crowded(1, 2, seed=4)
    log_count = np.full((1, SLOTS + 2), rubbish)
    found = fit(images(x, y, log_intensity, 2), slots(x, y, log_intensity), log_count, ALL)
    assert found.count.tolist() == [0]
    np.testing.assert_array_equal(found.probability, [[1.0, 0, 0, 0, 0, 0, 0]])


def test_what_is_not_known_is_impossible() -> None:
    stated = [0.05, 0.3, 0.6, 0.0, 0.05, 0.0, 0.0]
    _, found = tried(stated)
    x, y, log_intensity = crowded(1, 2, seed=4)
    log_count = np.log(np.array([[0.05, 0.3, 0.6, 1.0, 0.05, 1.0, 1.0]]))
    log_count[0, [3, 5, 6]] = np.nan, np.inf, -np.inf
    pixels = images(x, y, log_intensity, 2)
    pixels += np.random.default_rng(4).normal(size=pixels.shape)
    again = fit(pixels, slots(x, y, log_intensity), log_count, ALL)
    np.testing.assert_allclose(again.probability, found.probability, rtol=1e-9, atol=1e-250)
    assert again.probability[0, [3, 5, 6]].max() < 1e-250

"""Estimates of batches: taken apart, put together, spread over more crops."""

from dataclasses import fields

import numpy as np
import pytest

from dscsnet.engines.estimates import Doubt, Estimates

CROPS = ("chi2", "doubt", "psf_scale", "occupied")
#: Numbers of targets with a probability: 0, 1, 2, 3 and more.
NUMBERS = 5


def make(crop: list[int], crops: int, seed: int = 0) -> Estimates:
    rng = np.random.default_rng(seed)
    columns = {
        field.name: rng.random(crops if field.name in CROPS else len(crop))
        for field in fields(Estimates)
    }
    likely = rng.random(len(crop)) > 0.4
    doubt = rng.integers(0, 8, crops).astype(np.uint8)
    special = {"crop": np.array(crop, np.int64), "likely": likely, "doubt": doubt}
    special["probability"] = rng.dirichlet(np.ones(NUMBERS), crops)
    return Estimates(**{**columns, **special})


def same(found: Estimates, expected: Estimates) -> None:
    for name, column in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), column, err_msg=name)
        assert getattr(found, name).dtype == column.dtype, name


WHOLE = make([0, 0, 2, 3, 3, 3], 5)


def test_parts_put_together_are_the_whole() -> None:
    parts = [WHOLE.slice(0, 1), WHOLE.slice(1, 3), WHOLE.slice(3, 5)]
    assert [part.crops for part in parts] == [1, 2, 2]
    assert [part.crop.tolist() for part in parts] == [[0, 0], [1], [0, 0, 0]]
    np.testing.assert_array_equal(parts[2].x, WHOLE.x[3:])
    np.testing.assert_array_equal(parts[1].doubt, WHOLE.doubt[1:3])
    same(Estimates.join(parts), WHOLE)
    assert Estimates.join([WHOLE]) is WHOLE
    same(Estimates.join([Estimates.none(), WHOLE, Estimates.none()]), WHOLE)


def test_the_likeliest_leave_the_others_out() -> None:
    found = WHOLE.likeliest()
    assert found.likely.all()
    np.testing.assert_array_equal(found.crop, WHOLE.crop[WHOLE.likely])
    np.testing.assert_array_equal(found.score, WHOLE.score[WHOLE.likely])
    np.testing.assert_array_equal(found.chi2, WHOLE.chi2)
    np.testing.assert_array_equal(found.doubt, WHOLE.doubt)
    np.testing.assert_array_equal(found.number, WHOLE.number)
    assert WHOLE.number.tolist() == np.bincount(WHOLE.crop[WHOLE.likely], minlength=5).tolist()


def test_crops_between_have_no_result() -> None:
    index = np.array([1, 2, 4, 5, 7])
    found = WHOLE.spread(index, 9)
    assert found.crops == 9
    assert found.crop.tolist() == [1, 1, 4, 5, 5, 5]
    missing = np.setdiff1d(np.arange(9), index)
    assert (found.doubt[missing] == Doubt.NO_RESULT).all()
    for name in ("chi2", "psf_scale", "occupied", "probability"):
        assert np.isnan(getattr(found, name)[missing]).all()
        np.testing.assert_array_equal(getattr(found, name)[index], getattr(WHOLE, name))
    np.testing.assert_array_equal(found.doubt[index], WHOLE.doubt)
    np.testing.assert_array_equal(found.converged, found.doubt == 0)


def test_nothing_is_nothing_of_the_right_kinds() -> None:
    none = Estimates.none()
    assert (none.crops, len(none.x)) == (0, 0)
    assert none.probability.shape == (0, 0)
    assert none.certainty.shape == (0,)
    assert Estimates.join([none, none]).crops == 0
    assert [each.dtype.char for each in (none.crop, none.likely, none.doubt, none.x)] == [
        *("l", "?", "B", "d"),
    ]


def test_some_crops_estimates_are_replaced_by_others() -> None:
    other = make([0, 0, 0, 2], 3, seed=1)
    index = np.array([0, 1, 3])
    found = WHOLE.replaced(index, other)
    assert found.crop.tolist() == [0, 0, 0, 2, 3]
    # As if each crop's estimates were taken from whoever has the word, and joined again.
    parts = [other.slice(0, 1), other.slice(1, 2), WHOLE.slice(2, 3), other.slice(2, 3)]
    same(found, Estimates.join([*parts, WHOLE.slice(4, 5)]))
    same(WHOLE.replaced(np.arange(5), WHOLE), WHOLE)
    nothing = np.empty(0, np.int64)
    same(WHOLE.replaced(nothing, make([], 0)), WHOLE)
    before = WHOLE.chi2.copy(), WHOLE.doubt.copy(), WHOLE.probability.copy()
    WHOLE.replaced(index, other)
    for now, then in zip((WHOLE.chi2, WHOLE.doubt, WHOLE.probability), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_certainty_is_the_probability_of_the_number_that_is_given() -> None:
    number = [0, 2, 0, 1, 3]
    crop = np.repeat(np.arange(5), number)
    found = make(crop.tolist(), 5)
    found = Estimates(**{**vars(found), "likely": np.ones(len(crop), bool)})
    expected = [found.probability[i, k] for i, k in enumerate(number)]
    np.testing.assert_array_equal(found.certainty, expected)
    found.probability[3] = np.nan
    assert np.isnan(found.certainty).tolist() == [False, False, False, True, False]
    unknown = Estimates(**{**vars(found), "probability": np.empty((5, 0))})
    assert np.isnan(unknown.certainty).all()


@pytest.mark.parametrize(("name", "bit"), [("MISFIT", 1), ("PSF", 2), ("CROWDED", 4)])
def test_bits_of_doubt_are_published(name: str, bit: int) -> None:
    assert Doubt[name] == bit
    assert Doubt.NO_RESULT == 8

"""Estimates of batches: taken apart, put together, spread over more crops."""

from dataclasses import fields

import numpy as np
import pytest

from dscsnet.engines.estimates import Doubt, Estimates

CROPS = ("chi2", "doubt", "psf_scale", "occupied")


def make(crop: list[int], crops: int, seed: int = 0) -> Estimates:
    rng = np.random.default_rng(seed)
    columns = {
        field.name: rng.random(crops if field.name in CROPS else len(crop))
        for field in fields(Estimates)
    }
    likely = rng.random(len(crop)) > 0.4
    doubt = rng.integers(0, 8, crops).astype(np.uint8)
    return Estimates(**{**columns, "crop": np.array(crop), "likely": likely, "doubt": doubt})


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
    for name in ("chi2", "psf_scale", "occupied"):
        assert np.isnan(getattr(found, name)[missing]).all()
        np.testing.assert_array_equal(getattr(found, name)[index], getattr(WHOLE, name))
    np.testing.assert_array_equal(found.doubt[index], WHOLE.doubt)
    np.testing.assert_array_equal(found.converged, found.doubt == 0)


def test_nothing_is_nothing_of_the_right_kinds() -> None:
    none = Estimates.none()
    assert (none.crops, len(none.x)) == (0, 0)
    assert [each.dtype.char for each in (none.crop, none.likely, none.doubt, none.x)] == [
        *("l", "?", "B", "d"),
    ]


@pytest.mark.parametrize(("name", "bit"), [("MISFIT", 1), ("PSF", 2), ("CROWDED", 4)])
def test_bits_of_doubt_are_published(name: str, bit: int) -> None:
    assert Doubt[name] == bit
    assert Doubt.NO_RESULT == 8

"""Where fits begin, and why spots are dropped."""

import math
from collections import Counter

import numpy as np
import pytest

from dscsnet.tools.calibration import sieve as module
from dscsnet.tools.calibration.fit import ALL, INTENSITY, OWN, SHAPE, SpotFits, X, Y, spot_images
from dscsnet.tools.calibration.psf import ellipse, shape_of
from dscsnet.tools.calibration.sieve import NOT_GAUSSIAN, FittedSpots, reach


def parameters(number: int, sigma: float = 0.6) -> np.ndarray:
    rows = np.zeros((number, ALL))
    rows[:, INTENSITY] = 1000
    rows[:, SHAPE] = shape_of(np.array([sigma**2, sigma**2, 0.0]))
    return rows


def test_windows_tell_widths_up_to_two_fifths_within_their_border() -> None:
    assert [reach(half) for half in (6, 15)] == pytest.approx([1.6, 5.2])


@pytest.mark.parametrize(("sigma", "width"), [(0.8, 0.8), (0.2, 0.4), (2.5, 1.6)])
def test_fits_begin_at_the_width_that_light_and_peak_tell(sigma: float, width: float) -> None:
    image = spot_images(parameters(1, sigma), 13)
    start = module._start(image)
    inner = image[0, 2:-2, 2:-2].sum()
    assert start[0, INTENSITY] == pytest.approx(inner)
    assert np.exp(start[0, OWN : OWN + 2]) == pytest.approx([width, width], rel=0.05)
    assert not start[0, [X, Y, OWN + 2]].any()


def test_fits_begin_somewhere_whatever_the_pixels_are() -> None:
    pixels = np.zeros((2, 13, 13))
    pixels[1] = -1.0
    pixels[1, 6, 6] = 10.0
    start = module._start(pixels)
    assert start[:, INTENSITY].tolist() == [0, 10]
    np.testing.assert_allclose(np.exp(start[:, OWN : OWN + 2]), 0.4)


def test_dark_spots_have_no_shot_noise() -> None:
    pixels = -spot_images(parameters(2), 13)
    _, weights = module._fit(pixels, np.full(2, 5.0), gain=2.0)
    assert weights.max() <= 1 / 25 * (1 + 1e-9)
    fits, weights = module._fit(-pixels, np.full(2, 5.0), gain=2.0)
    light = spot_images(fits.parameters, 13)
    np.testing.assert_allclose(weights, 1 / (25 + light / 2), rtol=1e-3)
    _, weights = module._fit(-pixels, np.full(2, 5.0), gain=None)
    np.testing.assert_allclose(weights, 1 / 25)


def judged(change: dict[tuple[int, int], float], **columns: object) -> Counter[str]:
    """Reasons to drop three good fits of which numbers are changed."""
    rows = parameters(3)
    for place, value in change.items():
        rows[place] = value
    pixels, size = spot_images(rows, 13), 13
    fits = {
        "parameters": rows,
        "normal": np.tile(np.eye(ALL), (3, 1, 1)),
        "gradient": np.zeros((3, ALL)),
        "chi2": np.zeros(3),
        "converged": np.ones(3, bool),
    }
    fits |= columns
    weights = np.ones((3, size, size))
    pixels = pixels + columns.pop("off", 0.0)  # type: ignore[operator]
    fits.pop("off", None)
    fitted = FittedSpots(pixels, np.ones(3), weights, SpotFits(**fits), *[np.arange(3)] * 2)  # type: ignore[arg-type]
    kept, dropped = module._judge(fitted, 6, Counter())
    assert len(kept.pixels) + dropped.total() == 3
    return +dropped


def log(sigma: float) -> float:
    return math.log(sigma)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({(1, X): 2.0}, None),
        ({(1, X): 2.01}, "the fit goes astray"),
        ({(1, Y): -2.01}, "the fit goes astray"),
        ({(1, INTENSITY): 0.0}, "the fit goes astray"),
        ({(1, OWN): log(0.24), (1, OWN + 1): log(0.24)}, "narrower than 0.25 px: hot pixels"),
        ({(1, OWN): log(0.26), (1, OWN + 1): log(0.26)}, None),
        ({(1, OWN): log(1.59)}, None),
        ({(1, OWN): log(1.61)}, "wider than 1.6 px"),
        ({(1, OWN + 1): log(1.61)}, "wider than 1.6 px"),
    ],
)
def test_reasons_to_drop_a_spot(change: dict[tuple[int, int], float], reason: str | None) -> None:
    assert judged(change) == ({} if reason is None else {reason: 1})


def test_fits_that_do_not_end_or_tell_all_are_dropped() -> None:
    assert judged({}, converged=np.array([True, False, True])) == {"the fit goes astray": 1}
    normal = np.tile(np.eye(ALL), (3, 1, 1))
    normal[1, 4, 4] = 0.0
    normal[2, 3, 4] = normal[2, 4, 3] = 1.0
    assert judged({}, normal=normal) == {"the fit goes astray": 2}
    assert judged({}, normal=np.eye(ALL) * 10.0 ** np.arange(ALL)[None] + np.zeros((3, 1, 1))) == {}


def test_what_a_gaussian_leaves_over_is_at_most_twice_the_noise() -> None:
    freedom = (169 - ALL) / 169  # of chi-square, a pixel
    off = np.full((3, 13, 13), math.sqrt(1.98 * freedom))
    off[1] = math.sqrt(2.1 * freedom)
    off[2] = 0
    assert judged({(k, INTENSITY): 1e-3 for k in range(3)}, off=off) == {NOT_GAUSSIAN: 1}


def test_two_per_cent_of_the_light_may_be_elsewhere() -> None:
    image = spot_images(parameters(3), 13)
    assert judged({}, off=0.02 * image) == {}
    bright = {(k, INTENSITY): 1e6 for k in range(3)}
    assert judged(bright, off=0.02 * 1000 * image * math.sqrt(20)) == {NOT_GAUSSIAN: 3}


def test_an_ellipse_without_width_across_has_none() -> None:
    for share in np.linspace(0.1, 0.9, 33):
        found = ellipse(np.array([share, 1 - share, math.sqrt(share * (1 - share))]))
        assert (found.long, found.short) == pytest.approx((1, 0), abs=1e-7)


def test_all_are_fitted_anew_with_one_shape() -> None:
    pixels = spot_images(parameters(2, 0.7), 13)
    noise, number = np.full(2, 5.0), np.arange(2)
    fits, weights = module._fit(pixels, noise, gain=None)
    fitted = FittedSpots(pixels, noise, weights, fits, number, 10 + number)
    before = fitted.fits.parameters.copy()
    shape = shape_of(np.array([0.5**2, 0.6**2, 0.05]))
    again = fitted.refit(shape)
    np.testing.assert_array_equal(again.parameters[:, SHAPE], np.tile(shape, (2, 1)))
    np.testing.assert_array_equal(fitted.fits.parameters, before)
    # With a narrower shape the light of the rim is left over.
    assert (again.chi2 > fitted.fits.chi2 + 1).all()
    one = fitted.take(np.array([False, True]))
    assert (len(one.pixels), len(one.noise), len(one.weights)) == (1, 1, 1)
    assert (one.track.tolist(), one.row.tolist()) == ([1], [11])
    np.testing.assert_array_equal(one.fits.parameters, before[1:])

"""Means of spots and of tracks, and how far their errors are believed."""

import math

import numpy as np
import pytest

from dscsnet.tools.calibration import combine
from dscsnet.tools.calibration.combine import (
    Tracks,
    agree,
    log_widths,
    mean_tracks,
    shape_scatter,
)
from dscsnet.tools.calibration.mixture import NarrowMode

ROUND = np.array([0.25, 0.25, 0.0])
SIGMA = 0.002  # of each element


def errors(number: int) -> np.ndarray:
    return np.broadcast_to(SIGMA**2 * np.eye(3), (number, 3, 3))


def test_widths_and_their_errors() -> None:
    error = np.array([[[4.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 9.0]]]) * 1e-6
    width, spread = log_widths(np.array([[0.3, 0.2, 0.1]]), error)
    assert width[0] == pytest.approx(math.log(0.5))
    assert spread[0] == pytest.approx(0.5 * math.sqrt(8e-6) / 0.5)
    nothing, _ = log_widths(np.array([[-0.3, 0.2, 0.0]]), error)
    assert nothing[0] == pytest.approx(0.5 * math.log(0.5e-6))


@pytest.mark.parametrize(("away", "wider"), [(0.5, 1.0), (3.0, 6.0)])
def test_the_error_of_a_track_grows_where_its_spots_disagree(away: float, wider: float) -> None:
    spots = ROUND + np.array([[1.0, 0, 0], [-1.0, 0, 0]]) * away * SIGMA
    tracks = mean_tracks(spots, errors(2), np.array([7, 7]))
    assert len(tracks) == 1
    np.testing.assert_allclose(tracks.covariance, [ROUND])
    np.testing.assert_allclose(tracks.error, [wider * SIGMA**2 / 2 * np.eye(3)])
    assert (tracks.number[0], tracks.spots[0], tracks.varies[0]) == (7, 2, False)


def test_outliers_are_left_out_of_a_track_unless_most_are() -> None:
    stray = ROUND + np.array([30 * SIGMA, 0, 0])
    tracks = mean_tracks(np.array([ROUND, ROUND, stray]), errors(3), np.zeros(3, int))
    np.testing.assert_allclose(tracks.covariance, [ROUND])
    corners = ROUND + 30 * SIGMA * np.eye(3)
    tracks = mean_tracks(corners, errors(3), np.zeros(3, int))
    np.testing.assert_allclose(tracks.covariance, [ROUND + 10 * SIGMA])


@pytest.mark.parametrize(
    ("deviation", "error", "varies"),
    [(0.2, 0.01, True), (0.2, 0.15, False), (0.067, 0.001, False), (0.068, 0.001, True)],
)
def test_a_track_varies_where_its_width_does_beyond_noise(
    deviation: float, error: float, varies: bool
) -> None:
    widths = np.array([-1.0, -1.0, 0.0, 1.0, 1.0]) * deviation
    assert combine._varies(widths, np.full(5, error)) == varies
    assert not combine._varies(widths[:4], np.full(4, error))


def test_twice_the_noise_is_no_variation_yet() -> None:
    widths = np.array([-0.2, -0.2, 0.0, 0.2, 0.2])
    half = 0.5 * combine.MAD_TO_SIGMA * 0.2
    assert not combine._varies(widths, np.full(5, half))
    assert combine._varies(widths, np.full(5, np.nextafter(half, 0)))


@pytest.mark.parametrize(("number", "wider"), [(3, 1.0), (4, 4 * 9 / 9)])
def test_the_common_error_grows_where_more_than_three_disagree(number: int, wider: float) -> None:
    signs = np.array([1.0, -1.0, 1.0, -1.0])[:number, None]
    spots = ROUND + signs * np.array([3 * SIGMA, 0, 0])
    weights = np.linalg.inv(errors(number))
    mean, error = combine._weighted(spots, weights, np.ones(number))
    np.testing.assert_allclose(mean, spots.mean(axis=0))
    np.testing.assert_allclose(error, wider * SIGMA**2 / number * np.eye(3))
    mean, error = combine._weighted(np.tile(ROUND, (number, 1)), weights, np.ones(number))
    np.testing.assert_allclose(error, SIGMA**2 / number * np.eye(3))


def tracks_of(covariance: np.ndarray, varies: list[bool]) -> Tracks:
    number = len(covariance)
    ones = np.ones(number, np.int64)
    return Tracks(np.arange(number), covariance, errors(number), ones, np.array(varies))


def test_tracks_of_changing_width_count_only_where_there_are_no_others() -> None:
    shapes = np.tile(ROUND, (4, 1))
    some = agree(tracks_of(shapes, [False, False, False, True]))
    assert some.member[3] == 0
    assert (some.member[:3] > 0.5).all()
    every = agree(tracks_of(shapes, [True] * 4))
    assert (every.member > 0.5).all()
    np.testing.assert_allclose(every.covariance, ROUND)


def test_a_track_of_another_form_is_none_of_them() -> None:
    shapes = np.tile(ROUND, (9, 1))
    shapes[0] += [0.03, -0.03, 0.0]  # as wide on the whole, and elliptical
    found = agree(tracks_of(shapes, [False] * 9))
    assert found.member[0] == 0
    np.testing.assert_allclose(found.covariance, ROUND)


def test_scatter_of_the_widths_widens_the_error_along_and_across(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A width with 5 % of scatter has 10 % of it in its square, px²; half as much across."""
    monkeypatch.setattr(
        combine,
        "narrow_mode",
        lambda widths, _errors: NarrowMode(math.log(0.5), 0.05, np.ones(len(widths))),
    )
    found = agree(tracks_of(np.tile(ROUND, (4, 1)), [False] * 4))
    scatter = (2 * 0.05 * 0.25) ** 2 * np.array([1.0, 1.0, 0.5])
    np.testing.assert_allclose(found.error, np.diag(SIGMA**2 + scatter) / 4)
    assert found.scatter == 0.05


def test_where_no_track_is_near_the_mean_all_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    member = np.array([0.6, 0.2])
    monkeypatch.setattr(combine, "narrow_mode", lambda *_: NarrowMode(math.log(0.5), 0.0, member))
    apart = ROUND + np.array([[30.0, -30.0, 0], [-30.0, 30.0, 0]]) * SIGMA
    found = agree(tracks_of(apart, [False] * 2))
    np.testing.assert_allclose(found.covariance, (0.6 * apart[0] + 0.2 * apart[1]) / 0.8)
    np.testing.assert_array_equal(found.member, member)


def test_shapes_of_one_kind_do_not_scatter() -> None:
    """Beyond the errors; of axes at random as much as each is longer than the other."""
    random = np.random.default_rng(5)
    error = np.tile(1e-4 * np.eye(3), (200, 1, 1))
    noise = random.normal(0, 1e-2, (200, 3))
    alike = np.array([0.5, 0.4, 0.05]) + noise
    assert shape_scatter(alike, error) == 0
    angle = random.uniform(0, math.pi, 200)
    turned = 0.04 * np.stack([np.cos(2 * angle), -np.cos(2 * angle), np.sin(2 * angle)], axis=1)
    found = shape_scatter(alike + turned, error)
    # Half of the cosines are below 0.707; of a normal distribution, half are below 0.674 sigma.
    assert found == pytest.approx(0.04 / 0.45 * 0.707 / 0.674, rel=0.15)
    assert shape_scatter((alike + turned)[:4], error[:4]) == 0

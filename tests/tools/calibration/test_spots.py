"""Spots of frames: how many, how far apart, and which are of one object."""

import numpy as np
import pytest

from dscsnet.pipeline.sources import SourceFrame
from dscsnet.tools.calibration import spots as module
from dscsnet.tools.calibration.spots import MOST_HALF, Spots, find_spots


def frame_of(places: list[tuple[int, int]], index: int = 0, side: int = 200) -> SourceFrame:
    """Spots with ever less light."""
    rows, columns = np.indices((side, side))
    image = np.random.default_rng(0).normal(100, 1, (side, side))
    for number, (x, y) in enumerate(places):
        image += (500 - 2 * number) * np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2))
    return SourceFrame(index, image.astype(np.float32), None)


GRID = [(x, y) for y in range(20, 181, 16) for x in range(20, 181, 16)][:30]


@pytest.mark.parametrize(("frame_count", "kept"), [(0, 30), (1, 30), (160, 25), (1000, 20)])
def test_the_brightest_of_a_frame_as_many_as_are_its_share(frame_count: int, kept: int) -> None:
    found, left_out = find_spots([frame_of(GRID)], frame_count, None)
    assert list(zip(found.x, found.y, strict=True)) == GRID[:kept]
    assert left_out.total() == 30 - kept


def test_saturation_is_that_of_the_spots_core() -> None:
    places = [(40, 60), (120, 60)]
    frame = frame_of(places)
    frame.pixels[61, 41], frame.pixels[60, 122] = 4095, 4095
    found, _ = find_spots([frame], 1, 4095.0)
    by_place = dict(zip(zip(found.x, found.y, strict=True), found.saturated, strict=True))
    assert any(by_place.values())
    assert not find_spots([frame_of(places)], 1, 4095.0)[0].saturated.any()
    assert not find_spots([frame], 1, None)[0].saturated.any()
    assert find_spots([frame_of(places)], 1, 550.0)[0].saturated.all()


def test_clearance_is_to_the_nearest_that_matters_or_to_the_edge() -> None:
    x, y = np.array([50, 56, 53, 20, 90]), np.array([40, 43, 50, 7, 56])
    contrast = np.array([100.0, 3.1, 90.0, 100.0, 2.9])
    chosen = np.array([0, 2, 3, 4])
    found = module._clearance(x, y, contrast, chosen, (60, 100))
    # 0: the faint one 6 px away; 2: 7 px up; 3: 7 px from the upper edge; 4: 3 px from the lower.
    assert found.tolist() == [6, 7, 7, 3]
    contrast[1] = 2.9  # less than 3 % of the first
    assert module._clearance(x, y, contrast, chosen[:1], (60, 100)).tolist() == [10]
    contrast[1] = module.NEIGHBOUR_SHARE * contrast[0]
    assert module._clearance(x, y, contrast, chosen[:1], (60, 100)).tolist() == [6]
    sides = np.array([5, 94, 50, 50]), np.array([50, 50, 4, 53])
    alone = [
        module._clearance(np.array([a]), np.array([b]), np.ones(1), np.array([0]), (60, 100))[0]
        for a, b in zip(*sides, strict=True)
    ]
    assert alone == [5, 5, 4, 6]


def test_windows_are_about_the_spot_and_nothing_beyond_the_frame() -> None:
    pixels = np.arange(12.0).reshape(3, 4)
    pixels[1, 2] = np.inf
    (window,) = module._windows(pixels, np.array([1]), np.array([2]))
    assert window[MOST_HALF, MOST_HALF] == 9
    assert window[MOST_HALF, MOST_HALF + 2] == 11
    assert np.isfinite(window).sum() == 11


def spots_of(rows: list[tuple[int, int, float]], first_track: int = 0) -> Spots:
    x, y, contrast = (np.array(column) for column in zip(*rows, strict=True)) if rows else [[]] * 3
    none = module._no_spots()
    number = len(rows)
    return Spots(
        np.zeros((number, *none.windows.shape[1:])),
        *(np.zeros(number, int), np.array(x, int), np.array(y, int), np.array(contrast, float)),
        *(np.zeros(number, int), np.zeros(number, bool), first_track + np.arange(number)),
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(53, 50, 100.0)], [7]),
        ([(53, 51, 100.0)], [-1]),  # more than 3 px
        ([(50, 50, 149.0)], [7]),
        ([(50, 50, 151.0)], [-1]),
        ([(50, 50, 67.0)], [7]),
        ([(50, 50, 66.0)], [-1]),
        ([(52, 50, 100.0), (51, 50, 100.0)], [-1, 7]),  # the nearer one
        ([(61, 50, 100.0), (50, 51, 100.0)], [8, 7]),
        ([], []),
    ],
)
def test_spots_of_one_object_are_near_and_alike(
    found: list[tuple[int, int, float]], expected: list[int]
) -> None:
    before = spots_of([(50, 50, 100.0), (60, 50, 100.0)], first_track=7)
    assert module._link(before, spots_of(found)).tolist() == expected


def test_tracks_go_on_from_frame_to_frame_and_not_over_a_gap() -> None:
    frames = [frame_of([(50, 50), (120, 120)], k) for k in (0, 1, 3)]
    found, _ = find_spots(frames, 3, None)
    assert found.track.tolist() == [0, 1, 0, 1, 2, 3]
    assert found.frame.tolist() == [0, 0, 1, 1, 3, 3]


def test_a_flat_frame_has_no_spots_and_bad_pixels_are_passed_over() -> None:
    assert len(find_spots([SourceFrame(0, np.full((64, 64), 7.0), None)], 1, None)[0]) == 0
    frame = frame_of([(50, 50)])
    frame.pixels[:, :8] = np.nan
    found, _ = find_spots([frame], 1, None)
    assert found.x.tolist() == [50]


@pytest.mark.parametrize(
    ("away", "seen"), [((2, 0), 1), ((3, 0), 2), ((0, 2), 1), ((0, 3), 2), ((2, 2), 1), ((3, 3), 2)]
)
def test_a_peak_is_the_greatest_within_two_pixels(
    monkeypatch: pytest.MonkeyPatch, away: tuple[int, int], seen: int
) -> None:
    band = np.zeros((60, 60), np.float32)
    band[30, 30], band[30 + away[1], 30 + away[0]] = 100, 90
    monkeypatch.setattr(module, "band_pass", lambda _pixels: (band, 1.0))
    found, left_out = find_spots([SourceFrame(0, band, None)], 1, None)
    assert (len(found), left_out.total()) == (seen, 0)
    assert (found.x[0], found.y[0], found.contrast[0]) == (30, 30, 100)


@pytest.mark.parametrize(
    ("height", "seen", "clear"), [(8.1, 2, 10), (8.0, 1, 10), (5.1, 1, 10), (5.0, 1, 29)]
)
def test_spots_stand_8_sigma_high_and_neighbours_5(
    monkeypatch: pytest.MonkeyPatch, height: float, seen: int, clear: int
) -> None:
    band = np.zeros((60, 60), np.float32)
    band[30, 30], band[30, 40] = 20, height
    monkeypatch.setattr(module, "band_pass", lambda _pixels: (band, 1.0))
    found, _ = find_spots([SourceFrame(0, band, None)], 1, None)
    assert (len(found), found.clearance[0]) == (seen, clear)


def test_the_band_lies_between_two_blurs() -> None:
    """Of one bright pixel: a Gaussian of 1 px less one of 4 px, about the median."""
    pixels = np.full((81, 81), 500.0)
    pixels[40, 40] += 1000
    band, noise = module.band_pass(pixels)
    rows, columns = np.indices((81, 81)) - 40
    expected = sum(
        sign * np.exp(-(rows**2 + columns**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
        for sign, sigma in ((1, 1.0), (-1, 4.0))
    )
    np.testing.assert_allclose(band, 1000 * expected, atol=0.6)
    assert noise == pytest.approx(1.4826 * np.median(np.abs(band)), rel=1e-4)

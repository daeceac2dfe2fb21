from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import norm

from dscsnet.detector_stub import spots as module
from dscsnet.detector_stub.config import SpotSettings
from dscsnet.detector_stub.spots import Candidates, FrameError, SpotDetector
from dscsnet.engines.imaging import central_fraction, render


def detector(**changes: object) -> SpotDetector:
    return SpotDetector(msgspec.structs.replace(SpotSettings(), **changes))


def noise(seed: int, shape: tuple[int, int] = (256, 320), level: float = 1000.0) -> np.ndarray:
    return level + 10 * np.random.default_rng(seed).standard_normal(shape)


def test_targets_at_a_peak_ratio_of_8_are_found_where_they_are() -> None:
    x, y = np.meshgrid(np.arange(20, 300, 25) + 0.3, np.arange(20, 240, 25) - 0.2)
    intensity = 8 * 10 / central_fraction(0.6)
    targets = render(x.ravel(), y.ravel(), np.full(x.size, intensity), (256, 320), 0.6)
    found = detector(threshold=5.0).detect(np.rint(noise(1) + targets).astype(np.uint16))
    distance = np.hypot(found.x[:, None] - x.ravel(), found.y[:, None] - y.ravel())
    assert (distance.min(0) < 1).mean() >= 0.97
    assert np.median(distance.min(0)) < 0.3
    assert (distance.min(1) > 1.5).sum() <= 2
    assert np.median(found.score) == pytest.approx(10.5, rel=0.2)


def test_false_alarms_on_white_noise_follow_the_gaussian_tail() -> None:
    search = detector(threshold=3.5, link_gap=0, border=0, max_candidates=10_000)
    alarms = [len(search.detect(noise(seed).astype(np.float32))) for seed in range(12)]
    pixels = norm.sf(3.5) * 256 * 320
    # neighbours are correlated by the filter, so that some pixels share an alarm
    assert 0.5 * pixels < np.mean(alarms) < 1.1 * pixels
    stricter = [
        len(detector(border=0).detect(noise(seed).astype(np.float32))) for seed in range(12)
    ]
    assert sum(stricter) == 0


@pytest.mark.parametrize("gain", [1e-12, 1e-3, 1e3])
def test_nothing_depends_on_the_count_level(gain: float) -> None:
    frame = noise(3) + render([100.4], [80.7], [800.0], (256, 320), 0.6)
    reference = detector().detect(frame.astype(np.float32))
    scaled = detector().detect((frame * gain).astype(np.float32))
    assert len(reference) == 1
    for name in ("x", "y", "score"):
        np.testing.assert_allclose(getattr(scaled, name), getattr(reference, name), rtol=2e-3)


def test_a_high_level_costs_no_digits() -> None:
    """Whole counts about any level are the same float32 numbers about a pixel's own."""
    low = np.rint(noise(3) + render([100.4], [80.7], [400.0], (256, 320), 0.6)).astype(np.uint16)
    one, other = detector().detect(low), detector().detect(low + np.uint16(60_000))
    assert len(one) >= 1
    for name in ("x", "y", "score", "width", "height"):
        np.testing.assert_array_equal(getattr(other, name), getattr(one, name))


@pytest.mark.parametrize("method", ["matched", "white_tophat", "black_tophat"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_flat_frames_hold_nothing(method: str, dtype: type) -> None:
    for level in (0, 37, 255):
        frame = np.full((48, 64), level, dtype)
        assert len(detector(method=method).detect(frame)) == 0


def test_a_target_in_a_noiseless_frame_is_found_with_a_finite_score() -> None:
    for dtype in (np.uint8, np.uint16, np.float32):
        frame = (100 + render([30.0], [20.0], [150.0], (64, 64), 0.6)).astype(dtype)
        found = detector().detect(frame)
        assert len(found) == 1
        assert (found.x[0], found.y[0]) == pytest.approx((30, 20), abs=0.02)
        assert np.isfinite(found.score[0])


def test_frames_of_bad_values_hold_nothing() -> None:
    for value in (np.nan, np.inf, -np.inf, 3e38):
        assert len(detector().detect(np.full((40, 50), value, np.float32))) == 0
    frame = noise(4, (40, 50)).astype(np.float32)
    assert len(detector().detect(frame, np.ones(frame.shape, bool))) == 0


def test_bad_pixels_are_no_candidates_and_hide_none() -> None:
    clean = noise(5) + render([60.2], [70.1], [1500.0], (256, 320), 0.6)
    frame = clean.astype(np.float32)
    bad = np.zeros(frame.shape, bool)
    frame[70, 62] = np.nan
    frame[150:160, 200:215] = np.inf
    frame[30, 40], bad[30, 40] = 1e9, True
    frame[200, :], bad[200, :] = 0, True
    found = detector().detect(frame, bad)
    assert len(found) == 1
    assert (found.x[0], found.y[0]) == pytest.approx((60.2, 70.1), abs=0.3)


@pytest.mark.parametrize("size", [(15, 9), (31, 20), (3, 12)])
@pytest.mark.parametrize("saturation", [65535.0, None])
def test_a_saturated_blob_is_one_candidate_with_its_size(
    size: tuple[int, int], saturation: float | None
) -> None:
    width, height = size
    frame = np.rint(noise(6)).astype(np.uint16)
    frame[100 : 100 + height, 140 : 140 + width] = 65535
    found = detector(max_size=48).detect(frame, saturation=saturation)
    assert len(found) == 1
    centre = (140 + (width - 1) / 2, 100 + (height - 1) / 2)
    assert (found.x[0], found.y[0]) == pytest.approx(centre, abs=0.1)
    # the filter's halo adds at most its reach on either side
    assert width <= found.width[0] <= width + 8
    assert height <= found.height[0] <= height + 8


def test_a_blob_larger_than_max_size_is_no_candidate() -> None:
    frame = np.rint(noise(6)).astype(np.uint16)
    frame[50:150, 140:240] = 60000
    found = detector(max_size=24).detect(frame, saturation=60000.0)
    inside = (found.x > 150) & (found.x < 230) & (found.y > 60) & (found.y < 140)
    assert not inside.any()


def test_a_large_object_does_not_hide_its_neighbour() -> None:
    frame = noise(7)
    frame[100:120, 100:130] += 2000
    frame += render([142.0], [110.0], [900.0], frame.shape, 0.6)
    found = detector().detect(frame.astype(np.float32))
    assert sorted(np.round(found.x)) == [114.0, 142.0] or sorted(np.round(found.x)) == [
        115.0,
        142.0,
    ]


def test_parts_are_linked_across_the_gap_and_no_further() -> None:
    frame = noise(8)
    frame[60, 60] = frame[60, 64] = 6000
    apart = detector(psf_sigma=0.3, link_gap=1).detect(frame.astype(np.float32))
    linked = detector(psf_sigma=0.3, link_gap=3).detect(frame.astype(np.float32))
    assert sorted(np.round(apart.x, 1)) == [60.0, 64.0]
    assert np.round(linked.x, 1).tolist() == [62.0]
    assert linked.width.tolist() == [5.0]


def test_border_and_the_strongest_candidates() -> None:
    x = np.array([1.0, 40, 80, 120, 160])
    light = np.array([5000.0, 900, 2700, 1800, 1400])
    frame = (noise(9, (64, 200)) + render(x, [30.0] * 5, light, (64, 200), 0.6)).astype(np.float32)
    everything = detector(border=0).detect(frame)
    assert np.round(everything.x).tolist() == [1, 80, 120, 160, 40]
    assert (np.diff(everything.score) <= 0).all()
    limited = detector(border=5, max_candidates=2).detect(frame)
    assert np.round(limited.x).tolist() == [80, 120]


def test_top_hats_find_bright_and_dark_structure() -> None:
    frame = noise(10) + render([60, 200], [50, 120], [2500, -2500], (256, 320), 0.8)
    place: Callable[[Candidates], list[float]] = lambda found: np.round(found.x).tolist()  # noqa: E731
    assert place(detector(method="white_tophat").detect(frame.astype(np.float32))) == [60]
    assert place(detector(method="black_tophat").detect(frame.astype(np.float32))) == [200]
    assert place(detector().detect(frame.astype(np.float32))) == [60]


def test_a_sloping_background_makes_no_candidates() -> None:
    y, x = np.mgrid[:256, :320]
    frame = noise(11) + 40.0 * x + 25.0 * y
    assert len(detector().detect(frame.astype(np.float32))) == 0


@given(
    arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=30),
        elements=st.floats(width=32),
    )
)
@settings(max_examples=60, deadline=None)
def test_any_frame_gives_finite_candidates_inside_it(frame: np.ndarray) -> None:
    found = detector(threshold=1.5, border=0).detect(frame)
    columns = np.stack([found.x, found.y, found.score, found.width, found.height])
    assert np.isfinite(columns).all()
    height, width = frame.shape
    assert ((found.x >= -0.5) & (found.x <= width - 0.5)).all()
    assert ((found.y >= -0.5) & (found.y <= height - 0.5)).all()
    assert ((found.width >= 1) & (found.width <= width)).all()


def test_wrong_frames_are_refused_by_name() -> None:
    with pytest.raises(FrameError, match=r"expected \(height, width\), got shape \(3, 4, 5\)"):
        detector().detect(np.zeros((3, 4, 5), np.uint8))
    with pytest.raises(FrameError, match=r"the mask is \(3, 3\) and the frame \(4, 4\)"):
        detector().detect(np.zeros((4, 4), np.uint8), np.zeros((3, 3), bool))


@pytest.mark.parametrize("turn", [False, True])
def test_what_is_too_long_along_either_axis_is_no_candidate(turn: bool) -> None:
    frame = noise(6)
    frame[100:104, 140:155] += 3000
    frame = (frame.T if turn else frame).astype(np.float32)
    assert len(detector(max_size=30).detect(frame)) == 1
    assert len(detector(max_size=10).detect(frame)) == 0


@pytest.mark.parametrize("level", [3e6, -3e6])
def test_flat_float_frames_have_the_noise_of_their_rounding(level: float) -> None:
    """float32 holds seven digits: what is smaller than that is no target, above or below zero."""
    pixels = np.full((64, 64), level, np.float32)
    pixels[30, 30] += 0.5  # two of the level's steps
    assert not len(SpotDetector(SpotSettings()).detect(pixels))
    pixels[30, 30] += 1000
    assert len(SpotDetector(SpotSettings()).detect(pixels)) == 1


def test_candidates_at_the_limits_of_border_and_size() -> None:
    """Of a frame of 30 x 20 px with a border of 5 px: columns 5 to 24, rows 5 to 14."""
    inside = [(5, 5), (24, 5), (5, 14), (24, 14)]
    outside = [(4.99, 9), (24.01, 9), (9, 4.99), (9, 14.01)]
    x, y = np.array(inside + outside, float).T
    small = np.full(8, 7.0)
    score = np.arange(8.0)
    search = detector(border=5, max_size=7, max_candidates=3)
    found = search._select(Candidates(x, y, score, small, small), (20, 30))
    assert list(zip(found.x, found.y, strict=True)) == [inside[k] for k in (3, 2, 1)]
    assert found.score.tolist() == [3, 2, 1]
    wide, high = small.copy(), small.copy()
    wide[3], high[1] = 7.01, 8.0
    found = search._select(Candidates(x, y, 0 * score, wide, high), (20, 30))
    assert list(zip(found.x, found.y, strict=True)) == [inside[k] for k in (0, 2)]


def test_bad_pixels_take_the_mean_of_the_good_ones_around() -> None:
    """About a typical value: near zero float32 resolves more."""
    pixels = (1000 + np.add.outer(np.arange(20), np.arange(30)) ** 1.5).astype(np.float32)
    good = np.ones(pixels.shape, bool)
    whole = module._filled(pixels, good)
    np.testing.assert_array_equal(whole, pixels - pixels[10, 15])  # of no median: it takes time
    good[9:11, 14] = False
    filled = module._filled(pixels, good)
    np.testing.assert_allclose(filled[good], (pixels - np.median(pixels[good]))[good])
    for row in (9, 10):
        around = np.zeros_like(good)
        around[row - 3 : row + 4, 11:18] = True
        assert filled[row, 14] == pytest.approx(filled[around & good].mean(), rel=1e-4)
    assert not len(SpotDetector(SpotSettings()).detect(np.full((9, 9), np.nan, np.float32)))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_float_is_a_measurement_below_1e30_counts(sign: int) -> None:
    limit = np.float64(1e30)
    pixels = np.full((1, 3), 1e29)
    pixels[0, 1:] = sign * np.nextafter(limit, 0), sign * limit
    assert module._good_pixels(pixels, None).tolist() == [[True, True, False]]


def test_a_pixel_far_beyond_all_others_is_no_measurement() -> None:
    """A million million times the typical count; a dim frame of such counts is one."""
    pixels = np.full((3, 3), 50.0)
    pixels[1, 1], pixels[2, 2] = 4.9e13, 5.1e13
    bad = module._good_pixels(pixels, None)
    assert np.argwhere(~bad).tolist() == [[2, 2]]
    assert module._good_pixels(np.full((3, 3), 5.1e13), None).all()


@pytest.mark.parametrize("factor", [1e-15, 1e-6, 1e6, 1e12, 1e20])
def test_the_unit_of_the_counts_changes_nothing(factor: float) -> None:
    frame = noise(9) + 0.0
    frame[60, 70] += 800
    frame[20:23, 100:103] += 300
    plain = detector().detect(frame.astype(np.float32))
    scaled = detector().detect((factor * frame.astype(np.float64)).astype(np.float32))
    assert len(plain) > 1
    for name, column in plain.to_dict().items():
        np.testing.assert_allclose(getattr(scaled, name), column, rtol=1e-4)


def test_the_weakest_candidates_that_are_left_out_are_counted() -> None:
    frame = noise(3) + 0.0
    for i in range(5):
        frame[20 + 20 * i, 30] += 500 + 100 * i
    few = detector(max_candidates=2)
    assert len(few.detect(frame.astype(np.float32))) == 2
    assert few.left_out == 3
    assert not len(few.detect(np.full((40, 40), np.nan, np.float32)))
    assert few.left_out == 0

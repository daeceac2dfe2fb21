"""Patches, lines and doubts of photon transfer against data whose answer is known."""

import math

import cv2
import numpy as np
import pytest
from scipy import integrate, stats

from dscsnet.pipeline.sources import SourceFrame
from dscsnet.tools.calibration import noise as module
from dscsnet.tools.calibration.noise import Line, Patches, measure_noise


def patches_of(image: np.ndarray, scale: float = 1.0, rounded: bool = False) -> Patches:
    pixels = image.astype(np.float32)
    return module._patches(pixels, pixels, scale, rounded)


def line_of(level: np.ndarray, variance: np.ndarray) -> Line:
    found = module._fit_line(Patches(np.arange(len(level)), level, variance))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("shape", "number"), [((1, 1), 0), ((2, 90), 0), ((17, 90), 0), ((18, 17), 0), ((18, 34), 2)]
)
def test_whole_patches_within_a_border_of_one_pixel(shape: tuple[int, int], number: int) -> None:
    found = patches_of(np.random.default_rng(0).normal(0, 1, shape))
    assert len(found.place) == len(found.level) == len(found.variance) == number


def test_the_variance_of_white_noise_with_some_pixels_far_off() -> None:
    image = np.random.default_rng(0).normal(50, 3, (322, 322))
    image[20::40, 20::40] += 300
    found = patches_of(image, scale=2.0)
    assert np.median(found.variance) == pytest.approx(4 * 9 * module.MEDIAN_SHARE, rel=0.02)
    np.testing.assert_allclose(np.median(found.level), 50, rtol=0.01)


def test_a_slope_is_no_noise_and_bad_pixels_are_no_patch() -> None:
    rows, columns = np.indices((34, 50))
    image = 2.0 * rows - 3.0 * columns
    np.testing.assert_allclose(patches_of(image).variance, 0, atol=1e-8)
    image[5, 5] = np.nan
    assert patches_of(image).place.tolist() == [1, 2, 3, 4, 5]


def test_few_whole_counts_off_are_rounding() -> None:
    """Of whole counts that are mostly alike the others are no outliers."""
    image = np.zeros((18, 18))
    image[4::6, 4::6] = 1
    assert patches_of(image, 0.2).variance[0] == 0
    assert patches_of(image, 0.2, rounded=True).variance[0] > 0


def test_frames_that_repeat_have_no_noise_in_time() -> None:
    image = np.random.default_rng(1).normal(100, 5, (50, 50)).astype(np.float32)
    found = measure_noise(SourceFrame(k, image, None) for k in range(2))
    assert found is not None
    assert (found.method, found.sigma, found.sigma_error) == ("in time", 0, 0)


def test_a_scene_that_moves_is_measured_in_space() -> None:
    random = np.random.default_rng(2)
    scene = random.normal(100, 2, (2, 66, 66)) + np.linspace(0, 500, 66)
    frames = [SourceFrame(k, each.astype(np.float32), None) for k, each in enumerate(scene)]
    found = measure_noise(frames)
    assert found is not None
    assert found.method == "in time"
    apart = [SourceFrame(2 * k, frame.pixels, None) for k, frame in enumerate(frames)]
    alone = measure_noise(apart)
    assert alone is not None
    assert alone.method == "in space"
    assert alone.sigma == pytest.approx(2, rel=0.1)


def test_pairs_do_not_overlap_and_are_of_consecutive_frames_of_one_size() -> None:
    random = np.random.default_rng(3)
    slope = np.linspace(0, 900, 40)
    shapes = [(40, 40), (40, 40), (40, 40), (30, 40), (40, 40)]
    frames = [
        SourceFrame(k, (slope + random.normal(0, 1, shape)).astype(np.float32), None)
        for k, shape in enumerate(shapes)
    ]
    alone, pairs = module._collect(frames)
    assert (len(alone.level), len(pairs.level)) == (4 * 4 + 2, 4)
    np.testing.assert_allclose(pairs.level[:4], (alone.level[:4] + alone.level[4:8]) / 2, rtol=1e-5)
    assert len(module._collect(frames[1:2] + frames[3:])[1].level) == 0


def test_a_common_change_of_level_is_no_other_scene() -> None:
    level = np.linspace(0, 100, 30)
    place, still = np.arange(30), np.full(30, 0.1)
    first, brighter = Patches(place, level, still), Patches(place, level + 50, still)
    other = Patches(place, level[::-1], still)
    assert module._same_scene(first, brighter, first)
    assert not module._same_scene(first, other, first)
    assert not module._same_scene(first, Patches(place + 1, level, still), first)
    one = Patches(place[:1], level[:1], still[:1])
    assert not module._same_scene(one, one, one)


def test_the_line_of_exact_points() -> None:
    level = np.linspace(100, 1100, 40)
    found = line_of(level, 9 + 0.05 * level)
    share = module._biweight_share()
    assert (found.offset, found.slope) == pytest.approx((9 / share, 0.05 / share))
    np.testing.assert_allclose(found.error, 0, atol=1e-12)
    assert 0.97 < share < 1


def test_textured_patches_do_not_move_the_line() -> None:
    random = np.random.default_rng(4)
    level = np.repeat(np.linspace(100, 1100, 200), 2)
    variance = (9 + 0.05 * level) * (1 + module.RELATIVE * random.standard_normal(400))
    clean = line_of(level, variance)
    variance[::8] *= 4
    found = line_of(level, variance)
    assert found.slope == pytest.approx(clean.slope, rel=0.1)
    assert found.offset == pytest.approx(clean.offset, abs=3)


def test_the_error_of_the_line_is_the_scatter_of_many() -> None:
    random = np.random.default_rng(5)
    level = np.linspace(100, 1100, 120)
    lines = [
        line_of(level, (9 + 0.05 * level) * (1 + module.RELATIVE * random.standard_normal(120)))
        for _ in range(150)
    ]
    spread = np.std([(each.offset, each.slope) for each in lines], axis=0)
    told = np.mean([np.sqrt(np.diag(each.error)) for each in lines], axis=0)
    np.testing.assert_allclose(told, spread, rtol=0.25)


@pytest.mark.parametrize(
    "level", [np.linspace(0, 9, 29), np.full(40, 7.0)], ids=["few", "of one level"]
)
def test_no_line_through_too_little(level: np.ndarray) -> None:
    assert module._fit_line(Patches(np.arange(len(level)), level, np.ones(len(level)))) is None


def test_no_line_where_all_patches_but_a_few_are_of_one_level() -> None:
    level = np.full(60, 50.0)
    level[0] = 51.0
    variance = np.ones(60)
    variance[0] = 1e6  # left out as textured: one level remains
    assert module._fit_line(Patches(np.arange(60), level, variance)) is None


LEVEL = np.linspace(100, 1100, 100)
DOUBTS = {
    "": 9 + 0.05 * LEVEL,
    "noise does not grow surely": 9 + 0.0004 * LEVEL,
    "noise grows more steeply": 0.05 * LEVEL - 4.9,
    "noise does not grow in proportion": 9 + 0.05 * np.minimum(LEVEL, 600),
}


@pytest.mark.parametrize("reason", DOUBTS)
def test_doubts_of_a_gain(reason: str) -> None:
    patches = Patches(np.arange(100), LEVEL, DOUBTS[reason])
    line = module._fit_line(patches)
    told = module._doubt(patches, line, 100, 1100, math.sqrt(np.median(DOUBTS[reason])))
    assert told.startswith(reason)
    assert bool(told) == bool(reason)
    assert module._doubt(patches, None, 100, 1100, 5) == "only 100 patches of 16 px"


def test_a_gain_is_told_where_one_half_of_the_levels_is_nearly_empty() -> None:
    for level in (
        np.append(np.linspace(100, 500, 99), 1100),
        np.append(np.linspace(700, 1100, 99), 100),
    ):
        patches = Patches(np.arange(100), level, 9 + 0.05 * level)
        assert module._doubt(patches, module._fit_line(patches), 100, 1100, 6) == ""


def test_noise_on_a_line_with_its_error() -> None:
    line = Line(9.0, 0.05, np.array([[0.04, -1e-5], [-1e-5, 1e-6]]))
    sigma, error = module._on_line(line, 500)
    assert sigma == pytest.approx(math.sqrt(34))
    variance = 0.04 - 2 * 500 * 1e-5 + 500**2 * 1e-6
    assert error == pytest.approx(0.5 * math.sqrt(variance) / sigma)


def test_figures_of_high_passed_noise() -> None:
    """Its correlation, clipping, and the spread and skew of a patch's variance."""
    along = np.convolve([1, -2, 1], [1, -2, 1]) / 6  # autocorrelation of the filter
    assert (np.outer(along, along) ** 2).sum() == pytest.approx(module.CORRELATED, abs=5e-3)
    assert (module.KERNEL**2).sum() == pytest.approx(1)
    assert module.KERNEL.sum() == pytest.approx(0)
    freedom = 16**2 / module.CORRELATED
    assert pytest.approx(math.sqrt(2 / freedom)) == module.RELATIVE
    assert pytest.approx(stats.chi2.median(freedom) / freedom, rel=1e-4) == module.MEDIAN_SHARE
    inside = integrate.quad(lambda x: x * x * stats.norm.pdf(x), -3.5, 3.5)[0]
    share = inside / (stats.norm.cdf(3.5) - stats.norm.cdf(-3.5))
    assert pytest.approx(share) == module.CLIPPED_VARIANCE


def test_the_biweight_location_is_that_of_its_sum_over_chi_square() -> None:
    """Of a chi-square's quantiles over its mean, by iteration to the end."""
    freedom = 16**2 / module.CORRELATED
    values = stats.chi2.ppf((np.arange(20_000) + 0.5) / 20_000, freedom) / freedom
    share = 1.0
    for _ in range(60):
        ratio = np.minimum(((values - share) / (4 * module.RELATIVE * share)) ** 2, 1)
        share = float(np.average(values, weights=(1 - ratio) ** 2))
    assert module._biweight_share() == pytest.approx(share, abs=1e-3)


def test_the_typical_noise_and_its_error_by_the_scatter_of_places() -> None:
    """Three patches of each of five places, which come in any order."""
    by_place = np.array([[9.0, 8, 10], [11, 12, 10], [8, 7, 9], [20, 19, 21], [10, 9, 11]])
    order = np.random.default_rng(0).permutation(15)
    place = np.repeat(np.arange(5), 3)[order]
    sigma, error = module._typical(Patches(place, np.zeros(15), by_place.ravel()[order]))
    assert sigma == pytest.approx(math.sqrt(10 / module.MEDIAN_SHARE))
    medians = np.array([9, 11, 8, 20, 10])
    spread = np.median(np.abs(medians - 10)) / stats.norm.ppf(0.75)
    # A median's standard error is sqrt(pi / 2) times a mean's.
    expected = math.sqrt(math.pi / 2) * spread / math.sqrt(5) / 2 / sigma
    assert error == pytest.approx(expected, rel=1e-4)


def exact(offset: float, slope: float) -> Patches:
    level = np.linspace(100, 1100, 60)
    return Patches(np.arange(60), level, module._biweight_share() * (offset + slope * level))


def measured(monkeypatch: pytest.MonkeyPatch, alone: Patches, pairs: Patches) -> module.Noise:
    monkeypatch.setattr(module, "_collect", lambda _frames: (alone, pairs))
    found = measure_noise([])
    assert found is not None
    return found


def test_gain_read_noise_and_their_level(monkeypatch: pytest.MonkeyPatch) -> None:
    patches = exact(9.0, 0.05)
    found = measured(monkeypatch, patches, patches)
    assert (found.method, found.reason) == ("in time", "")
    assert found.gain == pytest.approx(20)
    assert found.read == pytest.approx(3)
    assert found.level == 600
    low, high = np.percentile(patches.level, [1, 99])
    assert (found.lowest, found.highest) == pytest.approx((low, high))
    assert found.sigma == pytest.approx(math.sqrt(9 + 0.05 * 600))
    assert found.gain_error < 1e-6
    line = Line(9.0, 0.05, np.array([[0.04, 0.0], [0.0, 1e-6]]))
    monkeypatch.setattr(module, "_fit_line", lambda _patches: line)
    told = measured(monkeypatch, patches, patches)
    assert told.gain_error == pytest.approx(1e-3 / 0.05**2)
    assert told.read_error == pytest.approx(0.2 / (2 * 3))


def test_without_noise_at_level_0_there_is_no_read_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(monkeypatch, exact(0.0, 0.05), exact(0.0, 0.05))
    line = Line(-0.01, 0.05, np.diag([1.0, 1e-8]))
    monkeypatch.setattr(module, "_fit_line", lambda _patches: line)
    below = measured(monkeypatch, exact(0.0, 0.05), exact(0.0, 0.05))
    assert found.gain == pytest.approx(20)
    assert below.gain == pytest.approx(20)
    assert math.isnan(below.read)
    assert math.isnan(below.read_error)


@pytest.mark.parametrize(("factor", "method"), [(1.43, "in time"), (1.45, "in space")])
def test_a_scene_moves_too_much_from_a_fifth_more_noise_on(
    monkeypatch: pytest.MonkeyPatch, factor: float, method: str
) -> None:
    alone = exact(9.0, 0.05)
    pairs = Patches(alone.place, alone.level, factor * alone.variance)
    assert measured(monkeypatch, alone, pairs).method == method


def test_enough_patches_end_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.MOST_PATCHES == 200_000
    monkeypatch.setattr(module, "MOST_PATCHES", 7)
    frames = [SourceFrame(k, np.ones((34, 34), np.float32), None) for k in range(9)]
    alone, _ = module._collect(frames)
    assert len(alone.level) == 8  # after two frames of four patches there are more than 7


def test_clipped_variances_leave_outliers_out() -> None:
    """Of a patch's values those beyond 3.5 deviations, by the median of their sizes."""
    random = np.random.default_rng(6)
    image = random.normal(0, 2, (18, 18)).astype(np.float32)
    image[9, 9] = 60
    high = cv2.filter2D(image, cv2.CV_32F, module.KERNEL.astype(np.float32))[1:-1, 1:-1].ravel()
    limit = 3.5 * np.median(np.abs(high)) / stats.norm.ppf(0.75)
    inside = high[np.abs(high) <= limit].astype(float)
    expected = (inside**2).mean() / module.CLIPPED_VARIANCE
    assert len(inside) < 256
    assert patches_of(image).variance[0] == pytest.approx(expected, rel=1e-5)


def test_a_line_is_degenerate_whatever_the_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns are reckoned in ones and in the range of the levels."""
    asked: list[np.ndarray] = []
    monkeypatch.setattr(module.np.linalg, "cond", lambda matrix: asked.append(matrix) or 1.0)
    level = np.linspace(100.0, 300.0, 51)
    line = module._fit_line(Patches(np.arange(51), level, np.full(51, 4.0)))
    assert line is not None
    away = (level - 200) / 200
    np.testing.assert_allclose(asked[0], np.diag([51, (away**2).sum()]) / 4**2, atol=1e-12)
    assert (line.offset, line.slope) == pytest.approx((4 / module._biweight_share(), 0))
    limit = module.MOST_CONDITION
    monkeypatch.setattr(module.np.linalg, "cond", lambda matrix: limit)
    assert module._fit_line(Patches(np.arange(51), level, np.full(51, 4.0))) is None


def told_doubt(
    monkeypatch: pytest.MonkeyPatch,
    line: tuple[float, float, float, float],
    dark: tuple[float, float],
    bright: tuple[float, float],
) -> str:
    """What is doubted of a line (offset, its variance, slope, its variance) and its halves."""
    halves = iter([Line(0.0, slope, np.diag([1.0, error])) for slope, error in (dark, bright)])
    monkeypatch.setattr(module, "_fit_line", lambda _patches: next(halves))
    offset, offset_error, slope, slope_error = line
    whole = Line(offset, slope, np.diag([offset_error, slope_error]))
    return module._doubt(exact(9.0, 0.05), whole, 0.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("line", "dark", "bright", "words"),
    [
        ((0.0, 1.0, 0.05, 1e-4), (0.0, 1.0), (0.0, 1.0), ""),
        ((0.0, 1.0, 0.0499, 0.0), (0.0, 1.0), (0.0, 1.0), "does not grow surely"),
        ((0.0, 1.0, 0.05, 1.01e-4), (0.0, 1.0), (0.0, 1.0), "does not grow surely"),
        ((-3.0, 1.0, 1.0, 0.0), (0.0, 1.0), (0.0, 1.0), ""),
        ((-3.01, 1.0, 1.0, 0.0), (0.0, 1.0), (0.0, 1.0), "more steeply"),
        ((0.0, 1.0, 1.0, 0.0), (0.0, 0.25), (4.0, 0.75), ""),
        ((0.0, 1.0, 1.0, 0.0), (0.0, 0.25), (4.01, 0.75), "in proportion"),
        ((0.0, 1.0, 10.0, 0.0), (3.0, 0.0), (0.0, 0.0), ""),
        ((0.0, 1.0, 10.0, 0.0), (3.01, 0.0), (0.0, 0.0), "in proportion"),
    ],
)
def test_doubts_begin_beyond_their_limits(
    monkeypatch: pytest.MonkeyPatch,
    line: tuple[float, float, float, float],
    dark: tuple[float, float],
    bright: tuple[float, float],
    words: str,
) -> None:
    told = told_doubt(monkeypatch, line, dark, bright)
    assert words in told
    assert bool(told) == bool(words)

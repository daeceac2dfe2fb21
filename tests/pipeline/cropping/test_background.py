"""The background and noise estimator against closed forms, SciPy and Monte Carlo truth."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.ndimage import maximum_filter
from scipy.special import erf
from scipy.stats import norm

from dscsnet.engines.array_types import Float
from dscsnet.pipeline.cropping import background, robust
from dscsnet.pipeline.cropping.background import (
    estimate_background,
    slope_share,
    subtract_backgrounds,
)

SIZE = 11
CROPS = 3000
OFFSETS = np.arange(SIZE) - SIZE // 2
BORDER = np.maximum(abs(OFFSETS)[:, None], abs(OFFSETS)[None]) >= SIZE // 2 - 1
FLOAT_STEP = 1e-9


def estimates(values: Float, usable: NDArray[np.bool_] | None = None) -> Float:
    """(n, 4) level, slope_x, slope_y, noise."""
    usable = np.ones(values.shape, bool) if usable is None else usable
    return subtract_backgrounds(values, usable, False)[1].astype(float)


def spot_images(x: Float, y: Float, psf_sigma: float) -> Float:
    """(n, size, size) targets with a peak pixel of 1 when centred, integrated over the pixels."""

    def profile(position: Float) -> Float:
        edges = np.arange(SIZE + 1) - SIZE / 2 - position[:, None]
        return np.diff(erf(edges / (np.sqrt(2) * psf_sigma)), axis=1)

    center = 2 * erf(0.5 / (np.sqrt(2) * psf_sigma))
    return profile(y)[:, :, None] * profile(x)[:, None, :] / center**2


def border_positions(rng: np.random.Generator) -> tuple[Float, Float]:
    """Positions within the outer two pixels, on any side."""
    along, depth = rng.uniform(-5.5, 5.5, CROPS), rng.uniform(3.5, 5.5, CROPS)
    depth *= rng.choice([-1, 1], CROPS)
    swap = rng.random(CROPS) < 0.5
    return np.where(swap, along, depth), np.where(swap, depth, along)


@pytest.mark.parametrize("cutoff", [0.5, 2.0, 4.0, 9.0])
def test_biweight_variance_is_the_gaussian_integral(cutoff: float) -> None:
    def moment(power: int) -> float:
        return quad(
            lambda r: r**power * (1 - (r / cutoff) ** 2) ** 2 * norm.pdf(r), -cutoff, cutoff
        )[0]

    assert robust.biweight_variance(cutoff) == pytest.approx(moment(2) / moment(0), rel=1e-9)


def test_median_and_sort_agree_with_numpy() -> None:
    rng = np.random.default_rng(1)
    for count in [*range(1, 30), 72, 441]:
        for values in (rng.normal(size=count), rng.integers(0, 4, count).astype(float)):
            assert robust.median(values.copy()) == np.median(values)
            ordered = values.copy()
            robust.sort_in_place(ordered)
            np.testing.assert_array_equal(ordered, np.sort(values))


def test_resolution_finds_the_step_of_tied_values_only() -> None:
    rng = np.random.default_rng(2)
    coarse = np.sort(256.0 * np.round(rng.normal(0, 2, 72)))
    assert robust.resolution(coarse, 1.0) == 256
    assert robust.resolution(np.sort(rng.normal(size=72)), 1e-9) == 1e-9
    flat_with_odd_pixels = np.sort(np.r_[np.full(70, 100.0), 20.0, 900.0])
    assert robust.resolution(flat_with_odd_pixels, 1.0) == 1.0


def test_solve_is_weighted_least_squares() -> None:
    rng = np.random.default_rng(3)
    offsets, counts = rng.normal(size=(2, 40)) * 3, rng.normal(size=40)
    weights = rng.random(40)
    means, slopes = background._solve(counts, offsets, weights, True)
    design = np.c_[np.ones(40), offsets.T] * np.sqrt(weights)[:, None]
    expected = np.linalg.lstsq(design, counts * np.sqrt(weights))[0]
    level = means[0] - slopes[0] * means[1] - slopes[1] * means[2]
    np.testing.assert_allclose([level, *slopes[:2]], expected, rtol=1e-9)
    centred = offsets - (offsets @ weights / weights.sum())[:, None]
    information = (centred * weights) @ centred.T
    assert slopes[2] == pytest.approx(expected[1:] @ information @ expected[1:])


def unusable(rng: np.random.Generator, size: int, share: float) -> NDArray[np.bool_]:
    return rng.random((size, size)) >= share


def opposite_slope(values: Float, usable: NDArray[np.bool_]) -> float:
    """Median slope along x between opposite pixels of the border, 0 from too few."""
    size = len(values)
    slopes = [
        (values[row, far] - values[row, near]) / (far - near)
        for row in range(size)
        for near, far in ((i, size - 1 - i) for i in range(size // 2))
        if far - near >= size / 2
        and (row in (0, 1, size - 2, size - 1) or near < 2)
        and usable[row, near]
        and usable[row, far]
    ]
    return float(np.median(slopes)) if len(slopes) >= size // 2 else 0.0


@pytest.mark.parametrize("size", [5, 7, 11, 15])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_opposite_slope_is_the_median_over_pairs_of_border_pixels(size: int, share: float) -> None:
    rng = np.random.default_rng(size)
    seen = 0
    for _ in range(30):
        values, usable = rng.normal(size=(size, size)), unusable(rng, size, share)
        for along_x in (True, False):
            lines, marks = (values, usable) if along_x else (values.T, usable.T)
            expected = opposite_slope(lines, marks)
            seen += expected != 0
            found = background._opposite_slope(values, usable, along_x)
            assert found == pytest.approx(expected, rel=1e-12)
    assert seen


def flanked(above: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels beside one of these, over a side or a corner."""
    neighbours = np.ones((3, 3), bool)
    neighbours[1, 1] = False
    beside: NDArray[np.bool_] = maximum_filter(
        above, footprint=neighbours, mode="constant", cval=False
    )
    return beside


def reference(values: Float, usable: NDArray[np.bool_], step: float) -> list[float]:
    """Level, slopes and noise by the method that the module describes, with NumPy alone."""
    size = len(values)
    place = np.arange(size) - size // 2
    border = np.maximum(abs(place)[:, None], abs(place)[None]) >= size // 2 - 1
    chosen = usable & border
    sloped = chosen.sum() >= max(border.sum() / 6, 6)
    if not sloped:
        chosen = usable
    rows, columns = np.nonzero(chosen)
    counts, x, y = values[chosen], place[columns], place[rows]
    step = robust.resolution(np.sort(counts), step)
    floor = step / np.sqrt(12)
    slopes = [opposite_slope(values, usable), opposite_slope(values.T, usable.T)]
    slopes = slopes if sloped else [0.0, 0.0]
    flat = counts - slopes[0] * x - slopes[1] * y
    level = np.median(flat)
    noise = max(norm.ppf(0.75) ** -1 * np.median(abs(flat - level)), floor)
    keep = np.ones(len(counts), bool)
    wald, middle = 0.0, (level, 0.0, 0.0)
    fitted = 3 if sloped else 1
    for iteration in range(10):
        scale = max(noise, 0.6 * step)
        plane = level + slopes[0] * place[None, :] + slopes[1] * place[:, None]
        if iteration == 4 and sloped:
            keep = ~flanked((values - plane > 4 * scale) & usable)[chosen]
            keep = keep if keep.mean() >= 0.5 else np.ones(len(counts), bool)
        residuals = counts - plane[chosen]
        weights = np.maximum(1 - (residuals / (4 * scale)) ** 2, 0) ** 2 * keep
        used = (weights > 0).sum()
        if used < 2 * fitted:
            break
        middle = tuple(np.average(each, weights=weights) for each in (counts, x, y))
        if sloped:
            design = np.c_[x - middle[1], y - middle[2]]
            information = (design.T * weights) @ design
            right = (design.T * weights) @ (counts - middle[0])
            slopes = list(np.linalg.solve(information, right))
            wald = float(right @ slopes)
        level = middle[0] - slopes[0] * middle[1] - slopes[1] * middle[2]
        left = counts - level - slopes[0] * x - slopes[1] * y
        variance = np.average(left**2, weights=weights)
        variance /= robust.biweight_variance(4 * scale / noise)
        noise = max(np.sqrt(variance * used / (used - fitted)), floor)
    certain = np.clip((wald / noise**2 - 4) / 8, 0, 1)
    slopes = [certain**2 * (3 - 2 * certain) * each for each in slopes]
    level = middle[0] - slopes[0] * middle[1] - slopes[1] * middle[2]
    return [level, *slopes, noise]


@pytest.mark.parametrize("kind", ["noise", "slope", "targets", "integers", "masked", "few", "wide"])
def test_estimates_are_those_of_the_method(kind: str) -> None:
    rng = np.random.default_rng(12)
    for _ in range(60):
        size = 15 if kind == "wide" else SIZE
        offsets = np.arange(size) - size // 2
        values, usable, step = (
            rng.normal(0, 5, (size, size)) + 40,
            np.ones((size, size), bool),
            1e-9,
        )
        if kind in ("slope", "masked", "wide"):
            tilt = rng.normal(0, 0.4, 2)
            values += tilt[0] * offsets[None, :] + tilt[1] * offsets[:, None]
        if kind in ("targets", "masked"):
            x, y = rng.uniform(-5, 5, (2, 1))
            values += rng.uniform(20, 500) * spot_images(x, y, 0.7)[0]
        if kind == "integers":
            values, step = np.round(values / 6), 1.0
        if kind in ("masked", "few"):
            usable = unusable(rng, size, 0.9 if kind == "few" else 0.3)
            usable[5, 2:9] = True
        found = estimate_background(values, usable, step)
        assert found[4]
        np.testing.assert_allclose(found[:4], reference(values, usable, step), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("size", [5, 11])
@pytest.mark.parametrize("bright", [0.5, 1.5, 2.5])
def test_pixels_beside_a_bright_one_are_left_out(size: int, bright: float) -> None:
    """Against a maximum filter over the eight neighbours."""
    rng = np.random.default_rng(size)
    plane = (10.0, 0.3, -0.2)
    place = np.arange(size) - size // 2
    rows, columns = np.nonzero(np.ones((size, size), bool))
    offsets = np.array([columns, rows], float) - size // 2
    outcomes = set()
    for _ in range(50):
        noise = rng.normal(size=(size, size))
        values = noise + plane[0] + plane[1] * place[None, :] + plane[2] * place[:, None]
        usable = unusable(rng, size, 0.2)
        above = (noise > bright) & usable
        flank = flanked(above)
        keep = np.full(size * size, np.nan)
        background._keep_unflanked(values, usable, plane, bright, offsets, keep)
        enough = (~flank).sum() >= size * size / 2
        outcomes.add(bool(enough))
        expected = ~flank if enough else np.ones_like(flank)
        np.testing.assert_array_equal(keep, expected.ravel().astype(float))
    assert (bright > 2) == (False not in outcomes)


def test_half_of_the_border_is_enough_to_leave_the_rest_out() -> None:
    """Of four pixels two lie beside the bright one, then three."""
    values, usable = np.zeros((5, 5)), np.ones((5, 5), bool)
    values[0, 0] = 9.0
    beside, apart = [[-2.0, -1.0], [-1.0, -2.0], [-1.0, -1.0]], [[2.0, 2.0], [2.0, 1.0]]
    for places, expected in (
        ([*beside[:2], *apart], [0.0, 0.0, 1.0, 1.0]),
        ([*beside, apart[0]], [1.0] * 4),
    ):
        keep = np.full(4, np.nan)
        offsets = np.ascontiguousarray(np.array(places).T)
        background._keep_unflanked(values, usable, (0.0, 0.0, 0.0), 1.0, offsets, keep)
        assert keep.tolist() == expected


@pytest.mark.parametrize("size", [7, 9, 11, 15, 21])
def test_gaussian_noise_is_unbiased(size: int) -> None:
    rng = np.random.default_rng(size)
    found = estimates(300 + 7 * rng.normal(size=(CROPS, size, size)))
    assert found[:, 3].mean() == pytest.approx(7, rel=0.03)
    border = size**2 - (size - 4) ** 2
    assert found[:, 0].mean() == pytest.approx(300, abs=5 * 7 / np.sqrt(border * CROPS))
    # The mean and the standard deviation of the border would be the best there are.
    assert found[:, 0].std() < 1.15 * 7 / np.sqrt(border)
    assert found[:, 3].std() < 1.3 * 7 / np.sqrt(2 * (border - 3))


@pytest.mark.parametrize(("rows", "columns"), [(6, 6), (8, 8), (11, 6), (7, 11)])
def test_gaussian_noise_at_the_frame_edge(rows: int, columns: int) -> None:
    rng = np.random.default_rng(4)
    usable = np.zeros((CROPS, SIZE, SIZE), bool)
    usable[:, SIZE - rows :, SIZE - columns :] = True
    found = estimates(5 * rng.normal(size=usable.shape), usable)
    assert found[:, 3].mean() == pytest.approx(5, rel=0.03)
    assert abs(found[:, 0].mean()) < 0.1


@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("psf_sigma", [0.45, 0.9])
@pytest.mark.parametrize("peak", [5.0, 20.0, 200.0])
def test_targets_in_the_border_bias_nothing(targets: int, psf_sigma: float, peak: float) -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(size=(CROPS, SIZE, SIZE))
    for _ in range(targets):
        values += peak * spot_images(*border_positions(rng), psf_sigma)
    found = estimates(values)
    # Two wide targets at the limit of detection hide in the noise and are the worst case.
    hidden = targets == 2 and psf_sigma > 0.5 and peak < 10
    assert abs(found[:, 0].mean()) < (0.3 if hidden else 0.15)
    assert found[:, 3].mean() == pytest.approx(1, rel=0.2 if hidden else 0.1)
    # Not only on average: nearly every single level is good.
    assert np.quantile(abs(found[:, 0]), 0.95) < (0.6 if hidden else 0.5)


def test_bright_cluster_in_the_middle_does_not_leak_into_the_border() -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(size=(CROPS, SIZE, SIZE))
    for _ in range(4):
        x, y = rng.uniform(-2, 2, (2, CROPS))
        values += rng.uniform(20, 200, (CROPS, 1, 1)) * spot_images(x, y, 0.9)
    found = estimates(values)
    assert abs(found[:, 0].mean()) < 0.1
    assert found[:, 3].mean() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(("low", "high"), [(5, 200), (-200, -5), (4, 8)])
def test_contaminated_pixels(low: float, high: float) -> None:
    rng = np.random.default_rng(7)
    values = rng.normal(size=(CROPS, SIZE, SIZE))
    rows, columns = np.nonzero(BORDER)
    for crop in values:
        chosen = rng.choice(rows.size, int(0.15 * rows.size), replace=False)
        crop[rows[chosen], columns[chosen]] += rng.uniform(low, high, chosen.size)
    found = estimates(values)
    assert abs(found[:, 0].mean()) < 0.1
    assert found[:, 3].mean() == pytest.approx(1, rel=0.10)


@pytest.mark.parametrize("slopes", [(5.0, -3.0), (0.5, 0.0), (-200.0, 90.0)])
@pytest.mark.parametrize("with_target", [False, True])
def test_plane_is_recovered_within_its_standard_error(
    slopes: tuple[float, float], with_target: bool
) -> None:
    rng = np.random.default_rng(8)
    values = rng.normal(size=(CROPS, SIZE, SIZE))
    values += 1000 + slopes[0] * OFFSETS[None, None, :] + slopes[1] * OFFSETS[None, :, None]
    if with_target:
        values += 100 * spot_images(*border_positions(rng), 0.7)
    found = estimates(values)
    error = 1 / np.sqrt((BORDER * OFFSETS**2).sum())  # of least squares on the whole border
    spread = 1.45 if with_target else 1.15  # a target takes away a side of the border
    for column, slope in ((1, slopes[0]), (2, slopes[1])):
        assert found[:, column].mean() == pytest.approx(slope, abs=0.15 * error)
        assert found[:, column].std() < spread * error
    assert found[:, 0].mean() == pytest.approx(1000, abs=0.03)
    assert found[:, 3].mean() == pytest.approx(1, rel=0.03)


def test_without_a_slope_mostly_the_constant_is_used() -> None:
    found = estimates(np.random.default_rng(9).normal(size=(CROPS, SIZE, SIZE)))
    error = 1 / np.sqrt((BORDER * OFFSETS**2).sum())
    assert np.mean(found[:, 1] == 0) > 0.8
    assert found[:, 1].std() < 0.5 * error


def test_slope_share_rises_smoothly_from_none_to_all() -> None:
    wald = np.linspace(0, 20, 401)
    share = np.array([slope_share(value) for value in wald])
    assert (share[wald <= 4] == 0).all()
    assert (share[wald >= 12] == 1).all()
    assert (np.diff(share) >= 0).all()
    assert np.diff(share).max() < 0.012


@pytest.mark.parametrize("sigma", [0.4, 0.7, 2.0])
@pytest.mark.parametrize("step", [1.0, 256.0])
def test_rounded_counts(sigma: float, step: float) -> None:
    rng = np.random.default_rng(10)
    phase = rng.uniform(0, 1, (CROPS, 1, 1))
    counts = step * np.round(100 + phase + sigma * rng.normal(size=(CROPS, SIZE, SIZE)))
    usable = np.ones(counts.shape, bool)
    found = subtract_backgrounds(counts, usable, True)[1].astype(float) / step
    total = np.hypot(sigma, 1 / np.sqrt(12))
    assert found[:, 3].mean() == pytest.approx(total, rel=0.03)
    assert (found[:, 0] - 100 - phase[:, 0, 0]).mean() == pytest.approx(0, abs=0.02)
    assert found[:, 3].min() >= 0.999 / np.sqrt(12)


def test_flat_integers_have_the_rounding_error_as_noise() -> None:
    level, slope_x, slope_y, noise, enough = estimate_background(
        np.full((SIZE, SIZE), 77.0), np.ones((SIZE, SIZE), bool), 1.0
    )
    assert (level, slope_x, slope_y, enough) == (77, 0, 0, True)
    assert noise == pytest.approx(1 / np.sqrt(12))


def test_mostly_unusable_border_falls_back_to_the_whole_crop() -> None:
    rng = np.random.default_rng(11)
    values = 50 + rng.normal(size=(CROPS, SIZE, SIZE)) + 3 * OFFSETS[None, None, :]
    usable = np.broadcast_to(~BORDER, values.shape).copy()
    usable[:, 0, 0] = True
    found = estimates(values, usable)
    assert (found[:, 1:3] == 0).all()
    assert found[:, 0].mean() == pytest.approx(50, abs=0.5)


@pytest.mark.parametrize(("size", "least"), [(11, 12), (15, 18), (7, 7)])
def test_a_sixth_of_the_border_is_enough_for_a_plane(size: int, least: int) -> None:
    """Of 72 pixels in two rings that is 12; of 104, 18; of 40, 7."""
    columns = np.arange(size) - size // 2
    values = np.broadcast_to(50.0 + 3.0 * columns, (size, size)).copy()
    border = np.maximum(abs(columns)[:, None], abs(columns)[None]) >= size // 2 - 1
    rows, places = np.nonzero(border & (columns[None] % 2 == 0))
    chosen = np.linspace(0, rows.size - 1, least).round().astype(int)
    for number, slope in ((least, 3.0), (least - 1, 0.0)):
        usable = np.zeros((size, size), bool)
        usable[rows[chosen[:number]], places[chosen[:number]]] = True
        usable[size // 2, size // 2] = True
        found = estimate_background(values, usable, FLOAT_STEP)
        assert found[1] == pytest.approx(slope, abs=1e-6)
        assert found[2] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("level", [0.0, 1.0, 1e6, -1e6, 3e-30])
def test_flat_floats_have_the_rounding_error_of_their_level_as_noise(level: float) -> None:
    values = np.full((1, SIZE, SIZE), level)
    values[0, 5, 5] = level / 2  # the largest counts
    noise = subtract_backgrounds(values, np.ones(values.shape, bool), False)[1][0, 3]
    step = max(abs(level) * np.finfo(np.float32).eps, 4 * np.finfo(np.float32).tiny)
    assert noise == pytest.approx(step / np.sqrt(12), rel=1e-6)
    assert noise >= np.finfo(np.float32).tiny


@pytest.mark.parametrize("count", [1, 2, 3])
def test_too_few_pixels_give_their_median_and_say_so(count: int) -> None:
    values, usable = np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE), bool)
    values[4, 2 : 2 + count] = [10, 12, 40][:count]
    usable[4, 2 : 2 + count] = True
    level, *slopes, noise, enough = estimate_background(values, usable, FLOAT_STEP)
    assert level == np.median([10, 12, 40][:count])
    assert slopes == [0, 0]
    assert noise > 0
    assert not enough


def test_pixels_on_one_line_give_no_plane() -> None:
    values, usable = np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE), bool)
    usable[0] = usable[1, :3] = True
    values[0] = np.arange(SIZE)
    level, *_, noise, enough = estimate_background(values, usable, FLOAT_STEP)
    assert enough
    assert np.isfinite([level, noise]).all()


def test_no_usable_pixel_gives_nan() -> None:
    pixels, background, enough = subtract_backgrounds(
        np.ones((1, SIZE, SIZE)), np.zeros((1, SIZE, SIZE), bool), False
    )
    assert not pixels.any()
    assert np.isnan(background).all()
    assert not enough.any()

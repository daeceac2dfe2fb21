"""The search without a network, function by function: starts, costs, and what is told of them."""

import math
from typing import Any

import numpy as np
import pytest

from dscsnet.engines.imaging import render
from dscsnet.engines.noise_model import NO_LIGHT_NOISE, NoiseModel
from tests.engines.plain import plain

module, workspace, spline = plain("orders", "workspace", "spline")

SIZE, MOST = 9, 3
OPTIONS = module.OrderOptions(
    starts=2,
    steps=20,
    tolerance=1e-2,
    reach=9.0,
    target_penalty=3.0,
    plane_precision=1e-4,
    width_precision=0.0,
)
SHARED, WIDTH = workspace.SHARED, workspace.WIDTH


def make(image: Any = None, options: Any = OPTIONS) -> tuple[Any, Any]:
    """Workspace of a crop in units of its noise, and orders that know nothing yet."""
    space = workspace.make_workspace(SIZE, MOST, spline.PsfTable(np.zeros((0, 0, 0)), 1, 0.0))
    space.psf[:] = 0.6, 0.7
    image = np.zeros((SIZE, SIZE)) if image is None else image
    workspace.open_window(space, image, np.ones(image.shape, bool), 1.0, 0, 9.0, 9.0)
    module._set_prior(space, MOST, options)
    orders = module.Orders(
        np.zeros((MOST + 1, SHARED + 3 * MOST)),
        np.zeros(MOST + 1),
        np.full(MOST + 1, np.inf),
        np.zeros((SIZE, SIZE)),
        np.ones((SIZE, SIZE)),
        np.zeros((2, 3, SIZE)),
    )
    for axis in range(2):
        module.fill_profile(SIZE // 2, space.psf[axis], 0, SIZE - 1, orders.kernel[axis])
    return space, orders


def test_priors_are_weak_and_at_the_centre() -> None:
    space, _ = make()
    target = [1 / 9, 1 / 9, 2.5**-2]
    np.testing.assert_allclose(space.precision, [1e-4, 1e-4, 1e-4, 1e18, *target * 3])
    np.testing.assert_array_equal(space.mean, [0, 0, 0, 0, *[4.0, 4.0, 3.5] * 3])
    space.mean[:] = 1
    module._set_prior(space, MOST, OPTIONS._replace(width_precision=25.0))
    assert (space.precision[WIDTH], space.mean[0], space.mean[WIDTH]) == (25.0, 0.0, 0.0)


def test_misfit_counts_by_its_logarithm_from_the_number_of_pixels_on() -> None:
    assert module._deviance(50.0, 80) == 50.0
    assert module._deviance(80.0, 80) == 80.0
    assert module._deviance(160.0, 80) == pytest.approx(80 * (1 + math.log(2)))


def test_a_fit_is_good_up_to_its_freedom() -> None:
    space, orders = make()
    free = 81 - 3 - 3
    for misfit, good in ((free, True), (free + 1e-9, False)):
        orders.misfit[1] = misfit
        assert module._good(space, orders, 1) == good


def test_the_best_fit_of_a_number_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    space, orders = make()
    monkeypatch.setattr(module, "penalty", lambda *_: 2.0)
    for step, (misfit, kept) in enumerate(((40.0, 40.0), (40.0, 40.0), (30.0, 30.0), (35.0, 30.0))):
        monkeypatch.setattr(module, "descend", lambda *_, misfit=misfit: misfit)
        space.values[:] = step
        module._keep(space, orders, 2, OPTIONS)
        assert orders.misfit[2] == kept
        assert orders.cost[2] == pytest.approx(kept + 2 + 3 * 2 * math.log(81))
        assert orders.values[2, 0] == (0, 0, 2, 2)[step]


def test_the_residual_is_what_is_left() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(SIZE, SIZE))
    image[2, 3] = np.nan
    space, orders = make(image)
    orders.residual[:] = 7
    orders.values[1, :7] = 0.5, 0, 0, 0, 3.2, 4.9, math.log(20)
    module._leave(space, orders, 1)
    expected = image - 0.5 - render([3.2], [4.9], [20], (SIZE, SIZE), 0.6, 0.7)
    expected[2, 3] = 0  # not of the window
    np.testing.assert_allclose(orders.residual, expected, atol=1e-8)
    assert (orders.sigma == 1).all()


def test_the_residual_is_over_the_noise_of_each_pixel() -> None:
    image = np.random.default_rng(0).normal(size=(SIZE, SIZE))
    image[2, 3] = np.nan
    space, orders = make(image)
    module.set_light_noise(space, 2.0, 0.1, 4.0)
    light = np.linspace(0, 50, space.window[0])
    workspace.weigh(space, light)
    sigma = np.ones((SIZE, SIZE))
    sigma[np.isfinite(image)] = np.sqrt(1 + light / 8 + 0.01 * light**2)
    orders.values[1, :7] = 0.5, 0, 0, 0, 3.2, 4.9, math.log(20)
    module._leave(space, orders, 1)
    expected = image - 0.5 - render([3.2], [4.9], [20], (SIZE, SIZE), 0.6, 0.7)
    expected[2, 3] = 0
    np.testing.assert_allclose(orders.residual, expected / sigma, atol=1e-8)
    np.testing.assert_allclose(orders.sigma, sigma)


def test_the_centre_is_that_of_what_is_above_the_noise() -> None:
    _, orders = make()
    orders.residual[2, 3], orders.residual[2, 6], orders.residual[8, 8] = 5, 8, 2
    orders.residual[0, 0] = -50
    x, y, light = module._center(orders)
    assert (x, y, light) == pytest.approx(((3 * 3 + 6 * 6) / 9, 2, 9), rel=1e-6)
    orders.sigma[2, 3] = 4.0  # the pixel's own noise: its excess is as many counts more
    x, y, light = module._center(orders)
    assert (x, y, light) == pytest.approx(((12 * 3 + 6 * 6) / 18, 2, 18), rel=1e-6)
    orders.residual[:] = 0
    assert module._center(orders) == pytest.approx((1, 1, 1e-9))


@pytest.mark.parametrize(("x", "y"), [(2, 2), (6, 2), (2, 6), (6, 6), (3, 5)])
def test_the_next_target_is_put_on_the_peak(x: int, y: int) -> None:
    space, orders = make()
    orders.residual[:] = render([x], [y], [500], (SIZE, SIZE), 0.6, 0.7)
    orders.residual[0, 0] = orders.residual[8, 8] = 1e4  # hot, but the filter does not fit there
    if (x, y) in ((2, 2), (6, 6)):
        orders.residual[0, 0] = orders.residual[8, 8] = 0
    space.values[:] = 9
    module._add_peak(space, orders, 2)
    assert space.values[SHARED + 3 : SHARED + 5].tolist() == [x, y]
    assert math.exp(space.values[SHARED + 5]) == pytest.approx(500, rel=1e-2)
    assert (space.values[: SHARED + 3] == 9).all()


def test_the_next_target_is_as_bright_as_its_peak_is_in_counts() -> None:
    space, orders = make()
    orders.residual[:] = render([3], [5], [500], (SIZE, SIZE), 0.6, 0.7) / 4
    orders.sigma[:] = 4.0
    module._add_peak(space, orders, 1)
    assert space.values[SHARED : SHARED + 2].tolist() == [3, 5]
    assert math.exp(space.values[SHARED + 2]) == pytest.approx(500, rel=1e-2)


def test_of_equal_peaks_the_first_is_taken_and_none_is_too_faint() -> None:
    space, orders = make()
    module._add_peak(space, orders, 1)
    assert space.values[SHARED : SHARED + 3].tolist() == [2, 2, math.log(3)]


def test_a_target_is_split_along_what_it_leaves() -> None:
    rng = np.random.default_rng(1)
    space, orders = make()
    orders.residual[:] = rng.normal(size=(SIZE, SIZE))
    space.values[SHARED : SHARED + 3] = 4.2, 3.7, 5.0
    module._split(space, orders, 0, 2)
    y, x = np.mgrid[:SIZE, :SIZE]
    right, down = x - 4.2, y - 3.7
    light = orders.residual * (right**2 + down**2 < 2.5**2)
    angle = 0.5 * math.atan2(
        (light * 2 * right * down).sum(), (light * (right**2 - down**2)).sum() + 1e-9
    )
    step = 0.35 * np.array([math.cos(angle), math.sin(angle), 0])
    middle = np.array([4.2, 3.7, 5 - math.log(2)])
    np.testing.assert_allclose(space.values[SHARED : SHARED + 3], middle - step)
    np.testing.assert_allclose(space.values[SHARED + 3 : SHARED + 6], middle + step)


def test_without_anything_left_it_is_split_along_x() -> None:
    space, orders = make()
    space.values[SHARED : SHARED + 6] = 1, 1, 1, 4, 4, 5
    module._split(space, orders, 1, 3)
    assert space.values[SHARED : SHARED + 3].tolist() == [1, 1, 1]
    half = 5 - math.log(2)
    np.testing.assert_allclose(space.values[SHARED + 3 :], [3.65, 4, half, 4.35, 4, half])


def test_random_starts_share_the_light_around_its_centre() -> None:
    space, _ = make()
    draws = np.arange(9.0).reshape(3, 3)
    module._scatter(space, 2, 3.0, 5.0, 100.0, draws)
    expected = [[3 + 0.9 * a, 5 + 0.9 * b, math.log(50) + 0.5 * c] for a, b, c in draws[:2]]
    np.testing.assert_allclose(space.values[SHARED : SHARED + 6], np.ravel(expected))
    module._scatter(space, 2, 3.0, 5.0, 5.9, 0 * draws)
    assert space.values[SHARED + 2] == math.log(3)


def sought(
    monkeypatch: pytest.MonkeyPatch, costs: list[float], good: bool = False
) -> list[tuple[int, str]]:
    """What each number of targets was begun from, where its fits cost that much."""
    space, orders = make()
    orders.cost[:] = -1
    said: list[tuple[int, str]] = []
    begun = ["before"]

    def keep(_space: Any, orders: Any, targets: int, _options: Any) -> None:
        said.append((targets, begun[-1]))
        orders.cost[targets] = costs[targets]

    monkeypatch.setattr(module, "_keep", keep)
    monkeypatch.setattr(module, "_good", lambda *_: good)
    monkeypatch.setattr(module, "_add_peak", lambda *_: begun.append("peak"))
    monkeypatch.setattr(module, "_split", lambda s, o, k, targets: begun.append(f"split {k}"))
    monkeypatch.setattr(module, "_scatter", lambda *given: begun.append(f"draw {given[-1][0, 0]}"))
    draws = np.arange(2.0)[:, None, None] * np.ones((2, MOST, 3))
    module._fit_orders(space, orders, MOST, OPTIONS, draws)
    return said


def test_each_number_has_its_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = ["draw 0.0", "draw 1.0"]
    starts = [["before"], ["peak", *draws], ["peak", "split 0", *draws]]
    starts += [["peak", "split 0", "split 1", *draws]]
    expected = [(k, start) for k, row in enumerate(starts) for start in row]
    assert sought(monkeypatch, [5, 4, 3, 2]) == expected
    assert sought(monkeypatch, [5, 5, 5, 5]) == expected
    told = sought(monkeypatch, [5, 4, 3, 2], good=True)  # nothing is drawn where a fit is good
    assert told == [each for each in expected if "draw" not in each[1]]


def test_two_rises_in_a_row_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert max(sought(monkeypatch, [5, 6, 7, 8]))[0] == 2
    assert max(sought(monkeypatch, [5, 6, 6, 8]))[0] == 3
    assert max(sought(monkeypatch, [5, 6, 4, 8]))[0] == 3
    assert max(sought(monkeypatch, [5, np.inf, 4, 8]))[0] == 1
    assert max(sought(monkeypatch, [5, np.nan, 4, 8]))[0] == 1


def results(most: int = MOST) -> Any:
    return module.OrderResults(
        np.zeros(1, np.int64),
        np.full((6, 1, most), np.nan),
        np.full((1, most), np.nan),
        *np.full((3, 1), np.nan),
        np.zeros((1, most + 1)),
    )


@pytest.mark.parametrize("width", [0.0, 25.0])
def test_the_least_cost_is_told_with_its_posterior(width: float) -> None:
    noise, told = 2.0, results()
    image = render([3.2, 5.5], [4.9, 3.1], [90, 120], (SIZE, SIZE), 0.6, 0.7)
    image += 1.3 * np.random.default_rng(2).normal(size=image.shape)
    space, orders = make(image, OPTIONS._replace(width_precision=width))
    orders.cost[:], orders.misfit[2] = (30, 12, 10, 12), 146.0
    orders.values[2, :10] = 0.1, 0, 0, 0.05, 3.2, 4.9, math.log(90), 5.5, 3.1, math.log(120)
    module._write(space, orders, MOST, 0, noise, told)
    odds = np.exp(-0.5 * np.array([20, 2, 0, 2]))
    np.testing.assert_allclose(told.probability[0], odds / odds.sum())
    assert told.targets[0] == 2
    excess = 146 / (81 - 6 - (4 if width else 3))
    assert told.chi2[0] == pytest.approx(excess)
    module.invert_normal(space, orders.values[2], 2)
    inverse = np.tril(space.factor[:10, :10])
    covariance = excess * inverse.T @ inverse
    places = SHARED + 3 * np.arange(2)
    for a in range(3):
        told_as = told.slots[a, 0, :2] - (math.log(noise) if a == 2 else 0)
        np.testing.assert_allclose(told_as, orders.values[2, places + a])
        variance = covariance[places + a, places + a]
        np.testing.assert_allclose(told.slots[3 + a, 0, :2] ** 2, variance)
    np.testing.assert_allclose(told.covariance_xy[0, :2], covariance[places, places + 1])
    assert np.isnan(told.slots[:, 0, 2]).all()
    if width:
        assert told.psf_factor[0] == pytest.approx(math.exp(0.05))
        sigma = math.exp(0.05) * math.sqrt(min(covariance[WIDTH, WIDTH], 1 / width))
        assert told.sigma_psf_factor[0] == pytest.approx(sigma)
    else:
        assert np.isnan(told.psf_factor[0])


def test_of_equal_costs_fewer_targets_are_told_and_no_width_without_any() -> None:
    space, orders = make(options=OPTIONS._replace(width_precision=25.0))
    told = results()
    orders.cost[:], orders.misfit[0] = (10, 10, 12, np.inf), 40.0
    module._write(space, orders, MOST, 0, 1.0, told)
    assert told.targets[0] == 0
    assert told.probability[0, 3] == 0
    assert told.chi2[0] == pytest.approx(40 / 77)
    assert np.isnan(told.psf_factor[0])
    assert np.isnan(told.slots).all()
    space.window[0], told.chi2[0] = 4, np.nan
    module._write(space, orders, MOST, 0, 1.0, told)
    assert np.isnan(told.chi2[0])  # as many unknowns as pixels
    space.window[0] = 5
    module._write(space, orders, MOST, 0, 1.0, told)
    assert told.chi2[0] == 40.0


@pytest.mark.parametrize(
    ("pixels", "psf", "fitted"),
    [
        (5, (0.6, 0.7), True),
        (4, (0.6, 0.7), False),
        (81, (0.0, 0.7), False),
        (81, (0.6, 0.0), False),
        (81, (math.inf, 0.7), False),
        (81, (0.6, math.nan), False),
    ],
)
def test_a_crop_without_pixels_or_psf_is_left_alone(
    pixels: int, psf: tuple[float, float], fitted: bool
) -> None:
    usable = np.zeros((1, SIZE, SIZE), bool)
    usable.flat[np.linspace(0, 80, pixels).astype(int)] = True
    told = module.search_orders(
        np.zeros((1, SIZE, SIZE), np.float32),
        usable,
        np.ones(1),
        np.array([psf]),
        spline.PsfTable(np.zeros((0, 0, 0)), 1, 0.0),
        NO_LIGHT_NOISE,
        OPTIONS._replace(starts=0),
        np.zeros((0, 1, 3)),
    )
    assert told.probability.sum() == pytest.approx(float(fitted))
    assert told.probability.shape == (1, 2)
    assert told.slots.shape == (6, 1, 1)


def test_memory_is_for_every_number(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[Any] = []
    monkeypatch.setattr(
        module, "_fit_orders", lambda space, orders, *_: shapes.extend(o.shape for o in orders)
    )
    monkeypatch.setattr(module, "_write", lambda *_: None)
    told = module.search_orders(
        np.zeros((1, SIZE, SIZE), np.float32),
        np.ones((1, SIZE, SIZE), bool),
        np.ones(1),
        np.full((1, 2), 0.5),
        spline.PsfTable(np.zeros((0, 0, 0)), 1, 0.0),
        NO_LIGHT_NOISE,
        OPTIONS,
        np.zeros((2, MOST, 3)),
    )
    assert shapes == [(4, 13), (4,), (4,), (SIZE, SIZE), (SIZE, SIZE), (2, 3, SIZE)]
    assert [each.shape for each in told] == [(1,), (6, 1, 3), (1, 3), (1,), (1,), (1,), (1, 4)]
    assert told.targets[0] == told.probability.sum() == 0
    assert all(np.isnan(each).all() for each in told[1:6])


@pytest.mark.parametrize(("gain", "fits"), [(math.inf, 1), (0.5, 2)])
def test_where_light_makes_noise_all_is_fitted_anew(
    monkeypatch: pytest.MonkeyPatch, gain: float, fits: int
) -> None:
    """Once by the pixels' own light, then by that of the best number; that number once more."""
    done: list[str] = []

    def fit_orders(_space: Any, orders: Any, *_: Any) -> None:
        orders.cost[:] = 3, 1, 2, 9
        done.append("fit")

    monkeypatch.setattr(module, "_fit_orders", fit_orders)
    monkeypatch.setattr(module, "weigh_by_fit", lambda s, v, targets: done.append(f"by {targets}"))
    monkeypatch.setattr(module, "descend", lambda s, v, targets, *_: done.append(f"{targets}") or 7)
    told: list[float] = []
    monkeypatch.setattr(module, "_write", lambda s, orders, *_: told.append(orders.misfit[1]))
    pixels = render([4], [4], [100], (SIZE, SIZE), 0.6)[None].astype(np.float32)
    module.search_orders(
        pixels,
        np.ones(pixels.shape, bool),
        np.ones(1),
        np.full((1, 2), 0.6),
        spline.PsfTable(np.zeros((0, 0, 0)), 1, 0.0),
        NoiseModel(gain, 0.0),
        OPTIONS,
        np.zeros((2, MOST, 3)),
    )
    if fits == 1:
        assert (done, told) == (["fit"], [0])
    else:
        assert (done, told) == (["fit", "by 1", "fit", "by 1", "1"], [7])

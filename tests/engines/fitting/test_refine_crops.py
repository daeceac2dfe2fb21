"""The loop of the refinement, function by function: at the limits of what is believed."""

import math
from typing import Any

import numpy as np
import pytest

from dscsnet.engines.imaging import render
from dscsnet.engines.noise_model import USUAL_NOISE
from tests.engines.plain import plain

module, counts, workspace, spline = plain("refine_crops", "counts", "workspace", "spline")

OPTIONS = counts.Options(8, 1e-3, 2.0, 0.25, 400.0, 3.0, 1.2, 3, 0.03, 2.5, 1.5, 4.0, False)
SIZE = 7


def make() -> tuple[Any, Any]:
    space = workspace.make_workspace(SIZE, 2, spline.PsfTable(np.zeros((0, 0, 0)), 1, 0.0))
    return space, counts.make_search(2)


def taken(values: list[float], noise: float = 2.0) -> list[float]:
    """The one slot of a crop, x, y, ln intensity and their sigmas, as the fit sees it."""
    out = np.zeros((6, 1))
    module._take_slots(np.array(values).reshape(6, 1, 1), 0, SIZE, noise, out)
    result: list[float] = out[:, 0].tolist()
    return result


def test_slots_are_kept_within_the_crop_and_their_sigmas_within_bounds() -> None:
    ln2 = math.log(2)
    assert taken([1, 2, 5, 0.1, 0.2, 0.3]) == [1, 2, 5 - ln2, 0.1, 0.2, 0.3]
    assert taken([-0.6, 6.6, -50, 1e-5, 11, 0]) == [-0.5, 6.5, -50 - ln2, 1e-4, 10, 1e-4]
    assert taken([7, -1, 0, 1, 1, 1])[:2] == [6.5, -0.5]


def test_what_is_not_finite_has_a_stand_in() -> None:
    nan, inf = math.nan, math.inf
    assert taken([nan, inf, nan, 1, 1, 1]) == [3, 3, 3, 10, 10, 10]
    assert taken([1, 2, 5, nan, inf, inf]) == [3, 3, 3, 10, 10, 10]


def test_the_prior_is_the_network_answer_widened() -> None:
    space, _ = make()
    slots = np.arange(1.0, 13.0).reshape(6, 2)
    module._set_prior(space, slots, OPTIONS)
    assert space.precision[:4].tolist() == [0.25, 0.25, 0.25, 400.0]
    assert space.mean.tolist() == [0, 0, 0, 0, 1, 3, 5, 2, 4, 6]
    np.testing.assert_allclose(space.precision[4:], (2 * slots[3:].T.ravel()) ** -2)
    space.mean[:] = 9
    module._set_prior(space, slots, OPTIONS._replace(width_precision=0.0))
    assert space.precision[3] == workspace.HELD
    assert space.mean[:4].tolist() == [0, 0, 0, 0]


def test_the_window_is_that_of_the_most_targets_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    space, search = make()
    space.psf[:], search.candidates[:] = (0.5, 0.6), (1, 2, 0)
    told: list[Any] = []
    monkeypatch.setattr(module, "open_window", lambda *given: told.append(given[4:]) or 5)
    assert module._open_window(space, None, None, 1.0, search, 1, OPTIONS) == 5
    module._open_window(space, None, None, 1.0, search, 2, OPTIONS)
    assert [each[0] for each in told] == [1, 2]
    assert told[0][1:] == pytest.approx((2.7, 3.0))


def test_starts_are_the_answer_then_where_it_led_then_drawn() -> None:
    space, search = make()
    space.mean[:], search.best[2, :] = np.arange(10), 20 + np.arange(10)
    search.slots[3:] = [[1, 2], [3, 4], [5, 6]]
    draws = np.arange(12.0).reshape(2, 2, 3) / 10
    start = lambda number: module._set_start(space, search, 2, number, draws)  # noqa: E731
    search.objective[2] = 1.0
    start(0)
    np.testing.assert_array_equal(space.values, space.mean)
    start(1)
    np.testing.assert_array_equal(space.values, search.best[2])
    start(2)
    moved = (search.slots[3:].T * draws[1]).ravel()
    np.testing.assert_allclose(space.values - space.mean, [0, 0, 0, 0, *moved])
    search.objective[2] = np.inf
    start(1)
    np.testing.assert_array_equal(space.values, space.mean)


@pytest.mark.parametrize(
    ("best", "misfit", "margin", "hard"),
    [
        (1, 1.5 * 13, 0.0, False),
        (1, 1.5 * 13 + 0.01, 0.0, True),
        (1, 1.0, 4.01, True),
        (1, 1.0, 4.0, False),
        (0, 1e9, 9.0, False),
    ],
)
def test_a_crop_is_hard_for_its_misfit_or_a_close_second(
    best: int, misfit: float, margin: float, hard: bool
) -> None:
    space, search = make()
    space.window[0] = 20
    search.candidates[:], search.objective[:] = (best, 2, 1), (3.0, 3.0, 7.0)
    search.misfit[best] = misfit
    tried = 2 if best else 1
    options = OPTIONS._replace(hard_margin=margin)
    assert module._is_hard(space, search, tried, options) == hard


def test_without_freedom_a_crop_is_hard_from_the_limit_itself_on() -> None:
    space, search = make()
    space.window[0], search.candidates[0] = 3, 1
    for misfit, hard in ((1.5, False), (1.51, True)):
        search.misfit[1] = misfit
        assert module._is_hard(space, search, 1, OPTIONS) == hard


def test_only_what_pays_is_fitted_and_easy_crops_once(monkeypatch: pytest.MonkeyPatch) -> None:
    space, search = make()
    search.candidates[:], search.objective[:] = (2, 1, 0), 5.0
    fitted: list[tuple[int, int, float]] = []
    starts: list[int] = []

    def fit(_space: Any, _search: Any, targets: int, scale: float, _options: Any) -> float:
        assert np.isinf(search.objective[targets]) or starts[-1] > 0
        search.objective[targets] = 1.0
        fitted.append((starts[-1], targets, scale))
        return 2.0

    monkeypatch.setattr(module, "fit_count", fit)
    monkeypatch.setattr(module, "_set_start", lambda s, f, targets, start, d: starts.append(start))
    monkeypatch.setattr(module, "_is_hard", lambda *_: False)
    monkeypatch.setattr(module, "pays", lambda search, targets, scale, options: targets == 2)
    module._fit_counts(space, search, 2, OPTIONS, np.zeros((2, 2, 3)))
    assert fitted == [(0, 2, 0.0)]
    monkeypatch.setattr(module, "_is_hard", lambda *_: True)
    monkeypatch.setattr(module, "pays", lambda *_: True)
    fitted.clear()
    search.objective[:] = 5.0
    module._fit_counts(space, search, 2, OPTIONS, np.zeros((2, 2, 3)))
    assert fitted == [(s, t, 2.0 if (s, t) != (0, 2) else 0.0) for s in range(3) for t in (2, 1)]


def test_a_crop_without_targets_gives_level_and_misfit_alone() -> None:
    space, search = make()
    space.window[0], space.precision[workspace.WIDTH] = 20, 400.0
    search.misfit[0], search.best[0, 0] = 32.0, 1.5
    results = module.Results(
        np.ones(1, np.int64),
        np.full((6, 1, 2), 8.0),
        np.zeros((1, 2)),
        *np.full((4, 1), np.nan),
        np.zeros((1, 4)),
        np.zeros(1, bool),
    )
    module._write(space, search, 0, 0, 2.0, results)
    assert (results.targets[0], results.level[0], results.chi2[0]) == (0, 3.0, 2.0)
    assert np.isnan(results.psf_factor[0])
    assert (results.slots == 8).all()
    space.window[0], results.chi2[0] = 4, np.nan
    module._write(space, search, 0, 0, 2.0, results)
    assert np.isnan(results.chi2[0])  # as many pixels as unknowns
    space.window[0] = 5
    module._write(space, search, 0, 0, 2.0, results)
    assert results.chi2[0] == 32.0


def course(
    monkeypatch: pytest.MonkeyPatch,
    psf: tuple[float, float] = (0.5, 0.6),
    opened: int = 9,
    best: int = 2,
    features: int = 0,
    judged: bool = False,
    uneven: bool = False,
) -> tuple[list[str], Any]:
    """What is done with one crop, and its results; the selection wants one target."""
    done: list[str] = []

    def note(name: str, answer: Any = None) -> Any:
        def step(*given: Any) -> Any:
            done.append(name)
            if name == "judge":
                assert given[2].tolist() == [7, 8, 9, 10]
                assert given[3].shape == (2, 4)
            if name == "fit_alone":
                done[-1] += f" {given[2]} {given[3]}"
            if name == "write":
                done[-1] += f" {given[2]}"
            return answer

        return step

    for name, answer in (("open_window", opened), ("fit_counts", None), ("write", None)):
        monkeypatch.setattr(module, f"_{name}", note(name, answer))
    for name in ("weigh_by_first", "fit_alone"):
        monkeypatch.setattr(module, f"_{name}", note(name))
    for name in ("fill_features", "weigh_counts", "judge"):
        monkeypatch.setattr(module, name, note(name))
    monkeypatch.setattr(module, "is_uneven", lambda *_: uneven)
    monkeypatch.setattr(module, "best_count", lambda *_: best)
    monkeypatch.setattr(module, "likeliest", lambda *_: 1)
    hidden, leave = (4, 3) if judged else (0, 0)
    selection = module.Selection(
        *(np.zeros((hidden, 5)), np.zeros(hidden), np.zeros((hidden, hidden)), np.zeros(hidden)),
        *(np.zeros((leave, hidden)), np.zeros(leave)),
    )
    results = module.refine_crops(
        np.zeros((1, SIZE, SIZE), np.float32),
        np.ones((1, SIZE, SIZE), bool),
        np.ones(1),
        np.array([psf]),
        np.ones((6, 1, 2)),
        np.log([[0.1, 0.2, 0.6, 0.1]]),
        OPTIONS,
        np.zeros((0, 2, 3)),
        spline.PsfTable(np.zeros((0, 0, 0)), 1, 0.0),
        USUAL_NOISE,
        np.zeros((1, 2)),
        selection,
        np.array([[7.0, 8.0, 9.0, 10.0]]),
        np.zeros((1, features)),
    )
    np.testing.assert_allclose(results.probability, [[0.1, 0.2, 0.6, 0.1]])
    assert results.targets[0] == 2
    shapes = [each.shape for each in results]
    assert shapes == [(1,), (6, 1, 2), (1, 2), (1,), (1,), (1,), (1,), (1, 4), (1,)]
    return done, results


@pytest.mark.parametrize(
    "psf", [(0.0, 0.6), (0.5, 0.0), (math.inf, 0.6), (0.5, math.inf), (math.nan, 0.6), (0.5, -1)]
)
def test_without_a_psf_the_network_has_the_word(
    monkeypatch: pytest.MonkeyPatch, psf: tuple[float, float]
) -> None:
    done, results = course(monkeypatch, psf)
    assert done == []
    assert (results.slots == 1).all()
    assert (results.covariance_xy == 0).all()
    assert all(np.isnan(each).all() for each in results[3:7])


def test_what_is_done_with_a_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = ["open_window", "fit_counts"]
    assert course(monkeypatch, opened=0)[0] == ["open_window"]
    assert course(monkeypatch, opened=1)[0] == [*begun, "weigh_counts", "write 2"]
    assert course(monkeypatch, features=5)[0] == [
        *(*begun, "fill_features", "weigh_counts", "write 2"),
    ]
    assert course(monkeypatch, features=5, judged=True)[0] == [
        *(*begun, "fill_features", "judge", "write 1"),
    ]
    assert course(monkeypatch, features=5, best=0, judged=True)[0] == [*begun, "write 0"]
    assert course(monkeypatch, features=5, best=0)[0] == [*begun, "weigh_counts", "write 0"]
    assert not course(monkeypatch)[1].alone[0]


def test_where_light_makes_noise_the_fits_light_weighs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One weighing for all numbers, so that they compare; the chosen one's own at the end."""
    begun = ["open_window", "weigh_by_first", "fit_counts"]
    done, results = course(monkeypatch, uneven=True)
    assert done == [*begun, "weigh_counts", "fit_alone 2 True", "write 2"]
    assert results.alone[0]
    done, _ = course(monkeypatch, features=5, judged=True, uneven=True)
    assert done == [*begun, "fill_features", "judge", "fit_alone 1 True", "write 1"]
    done, _ = course(monkeypatch, best=0, uneven=True)
    assert done == [*begun, "weigh_counts", "write 0"]
    assert course(monkeypatch, opened=0, uneven=True)[0] == ["open_window"]


@pytest.mark.parametrize("alone", [False, True])
def test_a_fit_that_stands_alone_is_not_blended(alone: bool) -> None:
    space, search = make()
    image = render([3.2], [2.9], [80], (SIZE, SIZE), 0.6)
    space.psf[:], space.mean[4:] = 0.6, 3.0
    workspace.open_window(space, image, np.ones(image.shape, bool), 1.0, 0, 9.0, 9.0)
    space.precision[:] = 0.04
    search.slots[:, 0] = 4.0, 2.0, 3.0, 0.01, 0.02, 0.03
    values = search.best[1]
    values[4:7] = 3.2, 2.9, math.log(80)
    module.descend(space, values, 1, 20, 1e-9)
    results = module.Results(
        np.ones(1, np.int64),
        np.full((6, 1, 2), 8.0),
        np.zeros((1, 2)),
        *np.full((4, 1), np.nan),
        np.zeros((1, 4)),
        np.array([alone]),
    )
    module._write(space, search, 1, 0, 2.0, results)
    module.invert_normal(space, values, 1)
    inverse = np.tril(space.factor[:7, :7])
    covariance = (inverse.T @ inverse)[4:, 4:]
    of_network = np.array([0.01, 0.02, 0.03]) ** 2
    weight = np.ones(3) if alone else of_network / (of_network + np.diag(covariance))
    expected = weight * values[4:7] + (1 - weight) * [4.0, 2.0, 3.0] + [0, 0, math.log(2)]
    np.testing.assert_allclose(results.slots[:3, 0, 0], expected)
    np.testing.assert_allclose(results.slots[3:, 0, 0] ** 2, weight * np.diag(covariance))
    shared = weight[0] * weight[1] * covariance[0, 1]
    assert results.covariance_xy[0, 0] == pytest.approx(shared)

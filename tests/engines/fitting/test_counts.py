"""Numbers of targets, function by function: at their limits, and against sums by hand."""

import math
from typing import Any

import numpy as np
import pytest

from tests.engines.plain import plain

counts, workspace, spline = plain("counts", "workspace", "spline")

OPTIONS = counts.Options(
    steps=8,
    tolerance=1e-3,
    prior_scale=2.0,
    plane_precision=1.0,
    width_precision=0.0,
    window_sigmas=3.0,
    window_margin=1.2,
    alternatives=3,
    least_probability=0.03,
    count_penalty=2.5,
    hard_chi2=1.5,
    hard_margin=4.0,
    judged=False,
)


def search(objective: list[float], candidates: list[int]) -> Any:
    """Fits of 0, 1, 2, 3 targets."""
    found = counts.make_search(3)
    found.objective[:], found.candidates[: len(candidates)] = objective, candidates
    found.probability[:] = [0.1, 0.2, 0.4, 0.25, 0.05]
    return found


def space(pixels: int, precision: float) -> Any:
    made = workspace.make_workspace(5, 3, spline.PsfTable(np.zeros((0, 0, 0)), 1, 0.0))
    made.window[0], made.precision[workspace.WIDTH] = pixels, precision
    return made


def test_of_equal_fits_the_likelier_number_is_the_best() -> None:
    assert counts.best_count(search([9, 5, 5, 7], [2, 1, 3]), 3) == 2
    assert counts.best_count(search([9, 5, 5, 7], [1, 2, 3]), 3) == 1
    assert counts.best_count(search([9, 5, 5, 4], [2, 1, 3]), 3) == 3
    assert counts.best_count(search([9, 5, 5, 4], [2, 1, 3]), 2) == 2  # 3 was not tried


def test_a_second_number_is_close_within_the_margin_alone() -> None:
    three = search([9, 5, 4, 7], [2, 1, 3])
    assert not counts.is_close(three, 3, 1.0)
    assert counts.is_close(three, 3, 1.01)
    assert not counts.is_close(three, 1, 100.0)  # there is no second one


@pytest.mark.parametrize(("precision", "held"), [(1e18, True), (0.99e18, False), (400.0, False)])
def test_a_width_that_is_held_takes_no_freedom(precision: float, held: bool) -> None:
    assert counts.freedom(space(30, precision), 2) == 30 - 6 - (3 if held else 4)


def test_misfit_beyond_the_freedom_inflates() -> None:
    assert counts.inflation(space(30, 1.0), 60.0, 2) == pytest.approx(60 / 20)
    assert counts.inflation(space(30, 1.0), 10.0, 2) == 1.0
    assert counts.inflation(space(10, 1.0), 7.0, 2) == 7.0  # none is left
    assert counts.inflation(space(11, 1.0), 7.0, 2) == 7.0


def test_the_cost_of_a_number() -> None:
    found = search([0, 0, 0, 0], [2])
    assert counts._count_cost(found, 2, OPTIONS) == pytest.approx(5 - 2 * math.log(0.4))
    found.probability[2] = 0.0
    assert counts._count_cost(found, 2, OPTIONS) == pytest.approx(5 + 600 * math.log(10))


def test_fewer_targets_pay_only_where_they_can_win() -> None:
    found = search([9, 5, 20, 7], [2, 1, 3])
    found.misfit[2] = 30.0
    cost = 2.5 - 2 * math.log(0.2)
    found.objective[2] = 15 + cost
    assert not counts.pays(found, 1, 2.0, OPTIONS)
    found.objective[2] += 1e-9
    assert counts.pays(found, 1, 2.0, OPTIONS)
    found.objective[2] = -1e9
    assert not counts.pays(found, 1, 2.0, OPTIONS)
    assert not counts.pays(found, 2, 2.0, OPTIONS)
    assert counts.pays(found, 3, 2.0, OPTIONS)  # more targets always fit better
    assert counts.pays(found, 1, 2.0, OPTIONS._replace(judged=True))


def fitted(monkeypatch: pytest.MonkeyPatch, misfit: float, penalty: float) -> None:
    monkeypatch.setattr(counts, "descend", lambda *_: misfit)
    monkeypatch.setattr(counts, "penalty", lambda *_: penalty)
    monkeypatch.setattr(counts, "occam", lambda *_: -3.0)


def test_the_first_fit_sets_the_scale_and_the_best_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    found, place = search([np.inf] * 4, [2]), space(30, 1.0)
    place.values[:] = np.arange(place.values.size)
    fitted(monkeypatch, 60.0, 6.0)
    assert counts.fit_count(place, found, 2, 0.0, OPTIONS) == pytest.approx(3.0)
    cost = 5 - 2 * math.log(0.4)
    assert found.objective[2] == pytest.approx(22 + cost)
    assert (found.misfit[2], found.occam[2]) == (60.0, 0.0)
    assert found.best[2].tolist() == [*range(10), 0, 0, 0]
    place.values[:] += 1
    assert counts.fit_count(place, found, 2, 3.0, OPTIONS) == 3.0
    assert found.best[2, 0] == 0.0  # as good, so it is not taken
    fitted(monkeypatch, 57.0, 6.0)
    counts.fit_count(place, found, 2, 3.0, OPTIONS._replace(judged=True))
    assert found.objective[2] == pytest.approx(21 + cost)
    assert (found.misfit[2], found.occam[2], found.best[2, 0]) == (57.0, -3.0, 1.0)


def test_probability_is_shared_by_the_objectives() -> None:
    found, shared = search([9, 5, 4, np.inf], [2, 1, 3]), np.zeros(5)
    counts.weigh_counts(found, 3, shared)
    odds = np.exp(-0.5 * np.array([1.0, 0.0]))
    np.testing.assert_allclose(shared, [0.1, *(0.6 * odds / odds.sum()), 0.25, 0.05])


@pytest.mark.parametrize(
    ("stated", "tried"),
    [
        ([0.1, 0.3, 0.3, 0.3, 0.0], [1, 2, 3]),  # the first of equals
        ([0.5, 0.3, 0.1, 0.1, 0.0], [0]),
        ([0.3, 0.3, 0.2, 0.2, 0.0], [0]),
        ([0.5, 0.001, 0.498, 0.001, 0.0], [0]),
        ([0.1, 0.2, 0.4, 0.03, 0.27], [2, 1, 3]),
        ([0.1, 0.2, 0.41, 0.029, 0.261], [2, 1]),
        ([0.02, 0.01, 0.01, 0.01, 0.95], [0]),  # of more than can be fitted nothing is tried
    ],
)
def test_the_likeliest_are_tried(stated: list[float], tried: list[int]) -> None:
    found = counts.make_search(3)
    number = counts.rank_counts(np.log(np.maximum(stated, 1e-300)), OPTIONS, found)
    assert found.candidates[:number].tolist() == tried
    np.testing.assert_allclose(found.probability, stated, atol=1e-12)


def test_no_more_are_tried_than_asked_for() -> None:
    stated = np.log([0.1, 0.2, 0.3, 0.25, 0.15])
    for alternatives in (1, 2, 3):
        found, options = counts.make_search(3), OPTIONS._replace(alternatives=alternatives)
        assert counts.rank_counts(stated, options, found) == alternatives


def test_memory_is_for_every_number() -> None:
    shapes = [each.shape for each in counts.make_search(3)]
    assert shapes == [(6, 3), (5,), (4,), (4,), (4,), (4,), (4, 13)]


@pytest.mark.parametrize("unknown", [np.nan, np.inf, -np.inf])
def test_what_is_not_known_is_impossible(unknown: float) -> None:
    found = np.full(4, 7.0)
    counts._normalise(np.array([800.0, unknown, 800 + math.log(3), unknown]), found)
    np.testing.assert_allclose(found, [0.25, 0, 0.75, 0])
    counts._normalise(np.full(4, unknown), found)
    assert found.tolist() == [1, 0, 0, 0]

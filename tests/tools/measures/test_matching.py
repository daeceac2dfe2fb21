"""Matching against brute force over all pairings, and against SciPy's assignment."""

from itertools import combinations, permutations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from dscsnet.tools.measures.matching import assign, match_points

Positions = tuple[np.ndarray, np.ndarray]


def best_by_brute_force(first: Positions, second: Positions, radius: float) -> tuple[int, float]:
    """Most pairs, and the least sum of distances with that many."""
    for size in range(min(len(first[0]), len(second[0])), 0, -1):
        sums = []
        for chosen in combinations(range(len(first[0])), size):
            for partners in permutations(range(len(second[0])), size):
                gaps = [
                    float(np.hypot(first[0][i] - second[0][j], first[1][i] - second[1][j]))
                    for i, j in zip(chosen, partners, strict=True)
                ]
                if max(gaps) <= radius:
                    sums.append(sum(gaps))
        if sums:
            return size, min(sums)
    return 0, 0.0


@pytest.mark.parametrize("seed", range(60))
def test_most_pairs_at_the_least_sum_of_distances(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = tuple(rng.uniform(0, 1.5, (2, rng.integers(0, 6))))
    second = tuple(rng.uniform(0, 1.5, (2, rng.integers(0, 6))))
    partner, distance = match_points(first, second, 0.5)
    found = partner >= 0
    size, total = best_by_brute_force(first, second, 0.5)
    assert found.sum() == size
    assert distance[found].sum() == pytest.approx(total)
    assert len(set(partner[found])) == size
    assert np.isnan(distance[~found]).all()
    for i, j in enumerate(partner):
        if j >= 0:
            gap = np.hypot(first[0][i] - second[0][j], first[1][i] - second[1][j])
            assert distance[i] == pytest.approx(gap)
            assert gap <= 0.5


def test_a_near_pair_gives_way_to_two_pairs() -> None:
    # the middle two are 0.1 apart; as a pair they would leave both outer points alone
    partner, distance = match_points(([0.0, 0.45], [0, 0]), ([0.35, 0.9], [0, 0]), 0.5)
    assert partner.tolist() == [0, 1]
    np.testing.assert_allclose(distance, [0.35, 0.45])


def test_radius_is_included_and_holds() -> None:
    assert match_points(([0], [0]), ([0.5], [0]), 0.5)[0].tolist() == [0]
    assert match_points(([0], [0]), ([0.5001], [0]), 0.5)[0].tolist() == [-1]


@pytest.mark.parametrize("seed", range(20))
def test_assignment_costs_what_scipy_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(1, 12))
    shape = (rows, rows + int(rng.integers(0, 6)))
    # few distinct values: ties must not lead to a column given twice
    cost = rng.integers(0, 4, shape).astype(float) if seed % 2 else rng.random(shape)
    chosen = assign(cost)
    assert len(set(chosen)) == rows
    assert cost[np.arange(rows), chosen].sum() == pytest.approx(
        cost[linear_sum_assignment(cost)].sum()
    )


def test_no_assignment_of_many_is_worse_than_scipys() -> None:
    """Prices that go wrong in one row of a hundred matrices show only in many."""
    rng = np.random.default_rng(7)
    for _ in range(400):
        rows = int(rng.integers(2, 9))
        shape = (rows, rows + int(rng.integers(0, 4)))
        cost = rng.integers(0, 12, shape).astype(float)
        chosen = assign(cost)
        best = cost[linear_sum_assignment(cost)].sum()
        assert cost[np.arange(rows), chosen].sum() == best

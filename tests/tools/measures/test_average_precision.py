"""CSO-mAP by brute force and by hand-worked cases."""

import numpy as np
import pytest

from dscsnet.engines.geometry import Grid
from dscsnet.tools.measures.average_precision import DISTANCES, Points, average_precision


def points(rows: list[tuple[int, float, float, float]]) -> Points:
    """From (image, x, y, score)."""
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    image, x, y, score = (np.array(column) for column in columns)
    return Points(image.astype(int), x.astype(float), y.astype(float), score.astype(float))


def brute_force(predicted: Points, true: Points, limit: float) -> float:
    """The definition, step by step, with plain loops."""
    positive = {}
    for image in set(predicted.image):
        rows = [i for i in range(len(predicted.x)) if predicted.image[i] == image]
        rows.sort(key=lambda i: -predicted.score[i])
        taken: set[int] = set()
        for i in rows:
            near, best = None, np.inf
            for j in range(len(true.x)):
                gap = np.hypot(predicted.x[i] - true.x[j], predicted.y[i] - true.y[j])
                if true.image[j] == image and gap < best:
                    near, best = j, gap
            positive[i] = best <= limit and near not in taken
            if positive[i] and near is not None:
                taken.add(near)
    order = sorted(range(len(predicted.x)), key=lambda i: -predicted.score[i])
    hits, precision, recall = 0, [], []
    for rank, i in enumerate(order, 1):
        hits += positive[i]
        precision.append(hits / rank)
        recall.append(hits / len(true.x))
    area, before = 0.0, 0.0
    for k, reached in enumerate(recall):
        area += (reached - before) * max(precision[k:])
        before = reached
    return 100 * area


@pytest.mark.parametrize("seed", range(10))
def test_agrees_with_brute_force(seed: int) -> None:
    generator = np.random.default_rng(seed)
    true = Points(
        generator.integers(0, 8, 20),
        generator.uniform(0, 1, 20),
        generator.uniform(0, 1, 20),
        np.zeros(20),
    )
    predicted = Points(
        generator.integers(0, 9, 40),
        generator.uniform(0, 1, 40),
        generator.uniform(0, 1, 40),
        generator.permutation(40).astype(float),
    )
    result = average_precision(predicted, true)
    expected = [brute_force(predicted, true, limit) for limit in DISTANCES]
    np.testing.assert_allclose(result.by_distance, expected, atol=1e-9)
    assert result.cso_map == pytest.approx(np.mean(expected))


TRUE = [(0, 5.0, 5.0, 0.0), (0, 5.5, 5.0, 0.0)]


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        ([], 0.0),
        ([(0, 5.0, 5.0, 2.0), (0, 5.5, 5.0, 1.0)], 100.0),
        ([(0, 5.0, 5.0, 1.0)], 50.0),
        # A false alarm ranked first halves the precision at both hits... up to 2 of 3.
        ([(0, 9.0, 9.0, 3.0), (0, 5.0, 5.0, 2.0), (0, 5.5, 5.0, 1.0)], 100 * 2 / 3),
        # The same, ranked last, costs nothing.
        ([(0, 9.0, 9.0, 0.0), (0, 5.0, 5.0, 2.0), (0, 5.5, 5.0, 1.0)], 100.0),
        # Two predictions of one target: the second is false, though the other target is free.
        ([(0, 5.0, 5.0, 2.0), (0, 5.01, 5.0, 1.0)], 50.0),
        # The right place in the wrong image.
        ([(1, 5.0, 5.0, 2.0)], 0.0),
    ],
)
def test_by_hand(predicted: list[tuple[int, float, float, float]], expected: float) -> None:
    result = average_precision(points(predicted), points(TRUE), (0.1,))
    assert result.cso_map == pytest.approx(expected)


def test_threshold_is_inclusive_and_per_distance() -> None:
    true = points([(0, 0.0, 0.0, 0.0)])
    result = average_precision(points([(0, 0.125, 0.0, 1.0)]), true, (0.1, 0.125, 0.25))
    assert result.by_distance == (0.0, 100.0, 100.0)


def test_ties_keep_the_given_order() -> None:
    good, false = (0, 5.0, 5.0, 1.0), (0, 9.0, 9.0, 1.0)
    true = points(TRUE[:1])
    assert average_precision(points([good, false]), true, (0.1,)).cso_map == 100
    assert average_precision(points([false, good]), true, (0.1,)).cso_map == 50


def test_no_true_target() -> None:
    assert average_precision(points([(0, 1.0, 1.0, 1.0)]), points([])).cso_map == 0


def test_from_padded_leaves_absent_entries_out() -> None:
    grid = np.arange(6.0).reshape(2, 3)
    present = np.array([[True, False, True], [False, False, True]])
    result = Points.from_padded(grid, grid, grid, present)
    np.testing.assert_array_equal(result.image, [0, 0, 1])
    np.testing.assert_array_equal(result.x, [0, 2, 5])


def test_points_of_grids_are_the_cells_above_each_crops_limit() -> None:
    grids = np.zeros((2, 33, 33), np.float32)
    grids[0, 16, 19], grids[0, 4, 4], grids[1, 15, 16] = 60, 50, 30
    result = Points.from_grids(grids, [50, 20], Grid())
    np.testing.assert_array_equal(result.image, [0, 1])
    np.testing.assert_allclose(result.x, [6, 5])
    np.testing.assert_allclose(result.y, [5, 14 / 3])
    np.testing.assert_array_equal(result.score, [60, 30])
    assert len(Points.from_grids(grids, 20, Grid()).x) == 3
    assert len(Points.from_grids(grids, 50, Grid()).x) == 1  # a cell at its limit is none


@pytest.mark.parametrize(("second", "expected"), [(0.5, 100.0), (0.0, 50.0)])
def test_halfway_between_two_targets_the_one_given_first_is_meant(
    second: float, expected: float
) -> None:
    """Which leaves the other one, and only that, for a prediction upon it."""
    true = points([(0, 0.0, 3.0, 1.0), (0, 0.5, 3.0, 1.0)])
    predicted = points([(0, 0.25, 3.0, 0.9), (0, second, 3.0, 0.8)])
    assert average_precision(predicted, true, (0.25,)).cso_map == expected

"""ISTA and the grid's oracle against closed forms."""

import math
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dscsnet.engines.geometry import Grid  # noqa: E402
from dscsnet.tools.measures.average_precision import DISTANCES, Points, average_precision  # noqa: E402
from dscsnet.tools.references.grid_methods import ista, lasso_objective, oracle_points  # noqa: E402
from dscsnet.tools.simulation.csist import CropProtocol, Simulator  # noqa: E402
from dscsnet.tools.simulation.scenes import render_grid, true_points  # noqa: E402

GRID = Grid()


def share_within(distance: float, cells_per_pixel: int = 3) -> float:
    """Share of a cell's area within a distance of its centre."""
    half = 0.5 / cells_per_pixel
    area = math.pi * distance**2
    if distance > half:
        outside = distance**2 * math.acos(half / distance)
        area -= 4 * (outside - half * math.sqrt(max(0, distance**2 - half**2)))
    return 1.0 if distance > half * math.sqrt(2) else area / (2 * half) ** 2


@pytest.mark.parametrize(("ranking", "power"), [("intensity", 2), ("closeness", 1)])
def test_oracle_of_lone_targets_is_the_closed_form(ranking: str, power: int) -> None:
    # A lone target is uniform in its cell. Ranked at random, precision and recall both end at the
    # share p of hits: AP is p². Ranked best, all hits come first: AP is p.
    scenes = Simulator(CropProtocol(targets=(1, 1)), seed=3, exact=True).draw(40_000)
    found = average_precision(oracle_points(scenes, GRID, ranking), true_points(scenes))
    expected = [100 * share_within(distance) ** power for distance in DISTANCES]
    assert found.by_distance == pytest.approx(expected, abs=1.0)
    assert found.cso_map == pytest.approx(np.mean(expected), abs=0.3)


def test_oracle_is_what_the_labels_show() -> None:
    scenes = Simulator(CropProtocol(targets=(1, 3)), seed=3, exact=True).draw(300)
    labels = render_grid(scenes, GRID.crop_size, GRID.upsampling).numpy()
    expected = Points.from_grids(labels, 50.0, GRID)
    found = oracle_points(scenes, GRID)
    for points in (found, expected):
        assert len(points.x) == int(scenes.present.sum())
    order, other = (np.lexsort((p.x, p.y, p.image)) for p in (found, expected))
    np.testing.assert_allclose(found.x[order], expected.x[other])
    np.testing.assert_allclose(found.y[order], expected.y[other])
    np.testing.assert_allclose(found.score[order], expected.score[other])


def test_objective_falls_at_every_iteration_to_the_minimum() -> None:
    scenes = Simulator(CropProtocol(targets=(1, 2)), seed=1, exact=True).draw(4)
    objectives = [
        lasso_objective(
            ista(scenes.crops, GRID, 0.5, weight=5.0, iterations=n), scenes.crops, GRID, 0.5,
            weight=5.0,
        )
        for n in (0, 1, 2, 5, 20, 100, 500, 3000)
    ]  # fmt: skip
    for before, after in pairwise(objectives):
        assert (after < before).all()
    assert (objectives[-2] / objectives[-1] < 1.2).all()


def test_minimum_satisfies_the_optimality_conditions() -> None:
    # A wide grid of one cell a pixel is well conditioned, so that ISTA converges to the minimum.
    grid, weight = Grid(11, 1, 11), 3.0
    crops = Simulator(CropProtocol(targets=(1, 2)), seed=1, exact=True).draw(3).crops
    x = ista(crops, grid, 0.5, weight=weight, iterations=2000).flatten(1)
    line = torch.from_numpy(grid.operator(0.5)).float()
    dense = torch.kron(line, line)
    correlation = (crops.flatten(1) - x @ dense.mT) @ dense
    assert correlation.abs().max() <= weight + 1e-2
    lit = x != 0
    assert lit.any()
    torch.testing.assert_close(correlation[lit], weight * x[lit].sign(), rtol=0, atol=1e-2)

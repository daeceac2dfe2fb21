"""Methods that learn nothing: the oracle of the grid, and ISTA on the separable operator."""

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from dscsnet.engines.geometry import Grid
from dscsnet.engines.networks.layers import DataStep, soft_threshold
from dscsnet.tools.measures.average_precision import Points
from dscsnet.tools.simulation.scenes import Scenes, true_points

#: Weight of the l1 norm, counts: the best of a search over simulated crops (seed 7, 1,000 crops of
#: the CSIST-100K protocol, `ITERATIONS` iterations).
L1_WEIGHT = 7.0
ITERATIONS = 500

Ranking = Literal["intensity", "closeness"]
RANKINGS: tuple[Ranking, ...] = get_args(Ranking)


def oracle_points(scenes: Scenes, grid: Grid, ranking: Ranking = "intensity") -> Points:
    """The centre of the cell that holds each true target: all that a readout of cells can say.

    Args:
        ranking: `intensity`: by the true counts, which say nothing of how well the cell fits;
            `closeness`: the best there is. A network comes between the two, since the light that
            it puts into one cell is the more, the nearer the target is to the cell's centre.
    """
    true = true_points(scenes)
    x, y = (grid.cell_to_crop(grid.crop_to_cell(p)) for p in (true.x, true.y))
    score = true.score if ranking == "intensity" else -np.hypot(x - true.x, y - true.y)
    return Points(true.image, x, y, score)


def ista(
    crops: Tensor,
    grid: Grid,
    sigma: float,
    *,
    weight: float = L1_WEIGHT,
    iterations: int = ITERATIONS,
) -> Tensor:
    """Iterative shrinkage and thresholding: a minimum of |Φx - y|²/2 + weight |x|_1.

    Args:
        crops: (B, n, n) counts above background; the grid's field must be the whole crop.
        sigma: PSF standard deviation, px.

    Returns:
        (B, c n, c n) counts per cell.
    """
    data = DataStep(grid, sigma)
    step = 1 / float(data.gain.max()) ** 2
    y = crops.unsqueeze(1)
    x, threshold = torch.zeros_like(data.adjoint(y)), torch.tensor(weight * step)
    for _ in range(iterations):
        gradient = data.adjoint(data.forward_model(x) - y)
        x = soft_threshold(x - step * gradient, threshold)
    return x.squeeze(1)


def lasso_objective(
    grids: Tensor, crops: Tensor, grid: Grid, sigma: float, *, weight: float = L1_WEIGHT
) -> Tensor:
    """(B,) what ISTA lowers."""
    residual = DataStep(grid, sigma).forward_model(grids.unsqueeze(1)).squeeze(1) - crops
    return 0.5 * residual.square().sum((1, 2)) + weight * grids.abs().sum((1, 2))

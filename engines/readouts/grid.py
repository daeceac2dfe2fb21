"""Targets from the cells of a grid: the paper's rule, and one that gathers split targets."""

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.card import GridReadout, ModelCard
from dscsnet.engines.compiled import checked_kernel
from dscsnet.engines.engine import CropBatch
from dscsnet.engines.estimates import Doubt, Estimates
from dscsnet.engines.imaging import central_fraction
from dscsnet.engines.residual import reduced_chi2


def read_grid(
    card: ModelCard, readout: GridReadout, grids: NDArray[np.float32], batch: CropBatch
) -> Estimates:
    """Targets of a batch.

    The paper's rule: every cell above the thresholds is a target at the cell's centre. With
    `gather`, only cells that are the brightest of their 3x3 neighbourhood are, and each takes in
    its neighbours' counts: a network trained by mean squared error gives the expected counts of
    each cell, so that a target of which it is not sure is spread over several. Their centroid is
    then the expected position and their spread its standard deviation.

    Args:
        card: gives geometry and PSF.
        grids: (n, c s, c s) counts per cell.

    Returns:
        Targets with the cells' counts as intensity. The score, intensity / (intensity + limit)
        with the threshold that applied, orders targets; it is no probability. Position sigmas are
        in crop px; by the paper's rule those of a uniform error over the cell, 1 / (c sqrt(12)).
        The intensity's sigma is not given. A crop whose grid is not finite has no targets and has
        not converged.
    """
    finite = np.asarray(np.isfinite(grids).all((1, 2)))
    if not finite.all():
        grids = np.where(finite[:, None, None], grids, np.float32(0))
    limit = limits(readout, grids, batch.noise, card.psf_sigma)
    gather = _gathered if readout.gather else _single_cells
    image, column, row, intensity, spread_x, spread_y = gather(grids, limit)
    geometry = card.grid
    x, y = geometry.cell_to_crop(column), geometry.cell_to_crop(row)
    chi2 = reduced_chi2(
        batch.pixels, batch.usable, batch.noise, image, x, y, intensity, card.psf_sigma
    )
    unknown = np.full(len(grids), np.nan)
    return Estimates(
        crop=image,
        x=x,
        y=y,
        intensity=intensity,
        likely=np.ones(len(image), bool),
        score=intensity / (intensity + limit[image]),
        sigma_x=np.sqrt(spread_x + 1 / 12) / geometry.upsampling,
        sigma_y=np.sqrt(spread_y + 1 / 12) / geometry.upsampling,
        sigma_intensity=np.full(len(image), np.nan),
        chi2=chi2,
        doubt=(
            np.where(finite, 0, Doubt.NO_RESULT)
            | np.where(chi2 <= readout.max_chi2, 0, Doubt.MISFIT)
        ).astype(np.uint8),
        psf_scale=unknown,
        occupied=unknown,
        probability=np.empty((len(chi2), 0)),
    )


def limits(
    readout: GridReadout,
    grids: NDArray[np.float32],
    noise: NDArray[np.floating],
    psf_sigma: float,
) -> Float:
    """(n,) counts that a cell of each crop must exceed to be a target; above zero."""
    limit = np.full(len(grids), max(readout.threshold, np.finfo(np.float32).tiny))
    if readout.relative > 0:
        limit = np.maximum(limit, readout.relative * grids.max((1, 2), initial=0.0))
    if readout.significance > 0:
        known = np.nan_to_num(noise.astype(float))
        limit = np.maximum(limit, readout.significance * known / central_fraction(psf_sigma))
    return limit


#: Image, column, row (cells), intensity, and the variance of column and row (cells squared).
_Cells = tuple[NDArray[np.int64], Float, Float, Float, Float, Float]


def _single_cells(grids: NDArray[np.float32], limit: Float) -> _Cells:
    image, row, column = np.nonzero(grids > limit[:, None, None])
    none = np.zeros(len(image))
    return (
        image,
        column.astype(float),
        row.astype(float),
        grids[image, row, column].astype(float),
        none,
        none,
    )


@checked_kernel
def _is_peak(grid: NDArray[np.float32], row: int, column: int, limit: float) -> bool:
    """Whether a cell is above the limit and the brightest of its neighbourhood; ties: the first."""
    value = grid[row, column]
    if not value > limit:
        return False
    for i in range(max(row - 1, 0), min(row + 2, grid.shape[0])):
        for j in range(max(column - 1, 0), min(column + 2, grid.shape[1])):
            earlier = i < row or (i == row and j < column)
            if grid[i, j] > value or (earlier and grid[i, j] == value):
                return False
    return True


@checked_kernel
def _peaks(
    grids: NDArray[np.float32], limit: Float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(m, 3) image, row and column of the peaks, and their light summed around every cell.

    The second result, (n, h, w), is by how much each cell is claimed by the peaks beside it.
    """
    number, height, width = grids.shape
    # No two peaks touch, so there is at most one in each block of 2x2 cells.
    places = np.empty((number * ((height + 1) // 2) * ((width + 1) // 2), 3), np.int64)
    claims = np.zeros(grids.shape)
    found = 0
    for image in range(number):
        grid = grids[image]
        for row in range(height):
            for column in range(width):
                if _is_peak(grid, row, column, limit[image]):
                    places[found] = image, row, column
                    found += 1
                    for i in range(max(row - 1, 0), min(row + 2, height)):
                        for j in range(max(column - 1, 0), min(column + 2, width)):
                            claims[image, i, j] += grid[row, column]
    return places[:found], claims


@checked_kernel
def _gather_peak(
    grid: NDArray[np.float32], claims: Float, row: int, column: int
) -> tuple[float, float, float, float, float]:
    """Counts, centroid and variance of one peak's share of its neighbourhood, in cells."""
    total = sum_x = sum_y = sum_xx = sum_yy = 0.0
    for i in range(max(row - 1, 0), min(row + 2, grid.shape[0])):
        for j in range(max(column - 1, 0), min(column + 2, grid.shape[1])):
            # A cell between two peaks is divided in proportion to them.
            share = max(grid[i, j], 0.0) * grid[row, column] / claims[i, j]
            right, down = j - column, i - row
            total += share
            sum_x += share * right
            sum_y += share * down
            sum_xx += share * right * right
            sum_yy += share * down * down
    x, y = sum_x / total, sum_y / total
    return total, column + x, row + y, sum_xx / total - x * x, sum_yy / total - y * y


@checked_kernel
def _gathered(grids: NDArray[np.float32], limit: Float) -> _Cells:
    places, claims = _peaks(grids, limit)
    columns = np.empty((5, len(places)))
    for k in range(len(places)):
        image, row, column = places[k]
        columns[:, k] = _gather_peak(grids[image], claims[image], row, column)
    return places[:, 0].copy(), columns[1], columns[2], columns[0], columns[3], columns[4]

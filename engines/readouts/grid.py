"""The paper's readout: every grid cell above a threshold is one target at the cell's centre."""

import numpy as np
from numpy.typing import NDArray

from engines.card import GridReadout, ModelCard
from engines.estimates import Estimates
from engines.imaging import central_fraction
from engines.residual import reduced_chi2


def read_grid(
    card: ModelCard,
    grids: NDArray[np.float32],
    pixels: NDArray[np.float32],
    usable: NDArray[np.bool_],
    noise: NDArray[np.float32],
) -> Estimates:
    """Targets of a batch.

    Args:
        card: gives geometry, PSF and thresholds.
        grids: (n, c s, c s) counts per cell.
        pixels, usable: (n, s, s) the crops, counts above background, and their usable pixels.
        noise: (n,) noise sigma, counts.

    Returns:
        Targets with the cell's counts as intensity. The score, intensity / (intensity + limit)
        with the threshold that applied, orders targets; it is no probability. Position sigmas are
        those of a uniform error over the cell, 1 / (c sqrt(12)) px: the network's own error is not
        in them. The intensity's sigma is not given.
    """
    limit = limits(card.readout, grids, noise, card.psf_sigma)
    image, row, column = np.nonzero(grids > limit[:, None, None])
    intensity = grids[image, row, column].astype(np.float64)
    geometry = card.grid
    x, y = geometry.cell_to_crop(column), geometry.cell_to_crop(row)
    chi2 = reduced_chi2(pixels, usable, noise, image, x, y, intensity, card.psf_sigma)
    cell_sigma = np.full(len(image), 1 / (geometry.upsampling * np.sqrt(12)))
    return Estimates(
        crop=image,
        x=x,
        y=y,
        intensity=intensity,
        score=intensity / (intensity + limit[image]),
        sigma_x=cell_sigma,
        sigma_y=cell_sigma,
        sigma_intensity=np.full(len(image), np.nan),
        chi2=chi2,
    )


def limits(
    readout: GridReadout,
    grids: NDArray[np.float32],
    noise: NDArray[np.floating],
    psf_sigma: float,
) -> NDArray[np.float64]:
    """(n,) counts that a cell of each crop must exceed to be a target; above zero."""
    limit = np.full(len(grids), max(readout.threshold, np.finfo(np.float32).tiny))
    if readout.relative > 0:
        limit = np.maximum(limit, readout.relative * grids.max((1, 2), initial=0.0))
    if readout.significance > 0:
        known = np.nan_to_num(noise.astype(float))
        limit = np.maximum(limit, readout.significance * known / central_fraction(psf_sigma))
    return limit

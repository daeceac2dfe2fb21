"""From the estimates of crops to the spots and targets of a frame: each target once, with flags."""

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.estimates import Doubt, Estimates
from dscsnet.engines.geometry import Grid
from dscsnet.pipeline.cropping.duplicates import deduplicate
from dscsnet.pipeline.messages import SpotFlag
from dscsnet.pipeline.unmix.columns import Result, SpotColumns, TargetColumns
from dscsnet.pipeline.unmix.frame_doubts import FEWEST_TRAILS, trailed
from dscsnet.pipeline.unmix.prepare import Prepared

#: A number of targets less probable than this is flagged.
LEAST_CERTAINTY = 0.95
#: Targets of two crops closer than this, px, are one target seen twice.
MIN_SEPARATION = 0.5


def _flags(doubt: int) -> int:
    """The spot's flags: whatever the reason, the answer has not converged."""
    result = SpotFlag.NOT_CONVERGED if doubt else SpotFlag(0)
    if doubt & Doubt.PSF:
        result |= SpotFlag.PSF_MISMATCH
    if doubt & Doubt.CROWDED:
        result |= SpotFlag.CROWDED
    return int(result)


_FLAGS_OF_DOUBT = np.array([_flags(doubt) for doubt in range(2 * max(Doubt))], np.uint32)


def result_of(prepared: Prepared, estimates: Estimates, grid: Grid) -> Result:
    """The result of one frame, or of one stack of crops.

    Args:
        estimates: of all its crops, in the plan's order, crop px.
        grid: the crops' geometry.
    """
    plan = prepared.plan
    if prepared.separate:
        x, y, rows = estimates.x, estimates.y, np.arange(len(estimates.crop))
    else:
        x = grid.crop_to_frame(estimates.x, plan.center_x[estimates.crop])
        y = grid.crop_to_frame(estimates.y, plan.center_y[estimates.crop])
        rows = _published(prepared, estimates, x, y)
    spot = plan.spot[estimates.crop[rows]]
    targets = TargetColumns(
        spot=spot,
        x=x[rows],
        y=y[rows],
        intensity=estimates.intensity[rows],
        score=estimates.score[rows],
        sigma_x=estimates.sigma_x[rows],
        sigma_y=estimates.sigma_y[rows],
        sigma_intensity=estimates.sigma_intensity[rows],
    )
    spots = _spots(prepared, spot[estimates.likely[rows]], estimates)
    several = spots.count > 1
    if several.any() and prepared.has_correlated_noise:
        spots.flags[several] |= np.uint32(SpotFlag.CORRELATED)
    if not prepared.separate and several.sum() >= FEWEST_TRAILS:
        likely = targets.take(estimates.likely[rows])
        where = likely.spot, likely.x, likely.y, likely.intensity
        spots.flags[trailed(*where, len(several))] |= np.uint32(SpotFlag.TRAIL)
    return Result(spots, targets)


def _published(prepared: Prepared, estimates: Estimates, x: Float, y: Float) -> NDArray[np.int64]:
    """Targets to publish, none twice: spot by spot, in each the likely ones first."""
    plan = prepared.plan
    # A less likely target never takes the place of a likely one that another crop found.
    rank = estimates.score + estimates.likely
    keep = deduplicate(plan, estimates.crop, x, y, rank, min_separation=MIN_SEPARATION)
    rows = np.flatnonzero(keep & _near_frame(x, y, prepared.shape))
    return rows[np.lexsort((~estimates.likely[rows], plan.spot[estimates.crop[rows]]))]


def _near_frame(x: Float, y: Float, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether positions are at most half a pixel outside the frame."""
    rows, columns = shape
    inside: NDArray[np.bool_] = (x >= -1) & (x <= columns) & (y >= -1) & (y <= rows)
    return inside


def _spots(prepared: Prepared, likely_spot: NDArray[np.int32], estimates: Estimates) -> SpotColumns:
    """One row a candidate; one that several crops serve gets its worst chi-square.

    Args:
        likely_spot: the spot of each target that belongs to the likeliest number.
    """
    plan, crops, number = prepared.plan, prepared.crops, len(prepared.x)
    flags = plan.spot_flags.copy()
    np.bitwise_or.at(flags, plan.spot, crops.flags)
    background, noise, worst = (np.full(number, np.nan) for _ in range(3))
    # Written backwards, so that the first of a candidate's crops prevails.
    background[plan.spot[::-1]] = crops.background[::-1]
    noise[plan.spot[::-1]] = crops.noise[::-1]
    np.fmax.at(worst, plan.spot, estimates.chi2)
    np.bitwise_or.at(flags, plan.spot, _FLAGS_OF_DOUBT[estimates.doubt])
    unsure = estimates.certainty < LEAST_CERTAINTY
    flags[plan.spot[unsure]] |= np.uint32(SpotFlag.NUMBER)
    return SpotColumns(
        id=prepared.id,
        x=prepared.x,
        y=prepared.y,
        count=np.bincount(likely_spot, minlength=number),
        background=background,
        noise=noise,
        chi2=worst,
        flags=flags,
    )

"""Builds `targets` messages: from estimates, and for frames that are not unmixed."""

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.estimates import Doubt, Estimates
from dscsnet.engines.geometry import Grid
from dscsnet.pipeline.cropping.cut import Crops
from dscsnet.pipeline.cropping.duplicates import deduplicate
from dscsnet.pipeline.cropping.plan import CropPlan
from dscsnet.pipeline.join import Ticket
from dscsnet.pipeline.messages import (
    Detections,
    EngineInfo,
    SpotFlag,
    Spots,
    Targets,
    TargetsStatus,
    TargetTable,
    Timing,
)

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


def plain_answer(ticket: Ticket, status: TargetsStatus, reason: str, engine: EngineInfo) -> Targets:
    """The answer of a frame that was not unmixed: no spots, no targets."""
    joined = max(0, ticket.joined_ns - ticket.received_ns)
    queued = max(0, ticket.taken_ns - ticket.joined_ns)
    return _message(
        ticket, status, reason, Spots.empty(), TargetTable.empty(), engine, (joined, queued, 0, 0)
    )


def unmixed_answer(
    ticket: Ticket,
    plan: CropPlan,
    crops: Crops,
    estimates: Estimates,
    grid: Grid,
    engine: EngineInfo,
    infer_ns: int,
    readout_ns: int,
) -> Targets:
    """The answer of a frame whose crops were unmixed.

    Args:
        plan, crops: of this frame.
        estimates: of this frame's crops, in the plan's order, crop px.
    """
    assert ticket.detections is not None, "a joined ticket has detections"
    x = grid.crop_to_frame(estimates.x, plan.center_x[estimates.crop])
    y = grid.crop_to_frame(estimates.y, plan.center_y[estimates.crop])
    # A less likely target never takes the place of a likely one that another crop found.
    rank = estimates.score + estimates.likely
    keep = deduplicate(plan, estimates.crop, x, y, rank, min_separation=MIN_SEPARATION)
    rows = np.flatnonzero(keep)
    rows = rows[np.lexsort((~estimates.likely[rows], plan.spot[estimates.crop[rows]]))]
    spot = plan.spot[estimates.crop[rows]]
    table = TargetTable(
        spot=spot.tolist(),
        x=x[rows].tolist(),
        y=y[rows].tolist(),
        intensity=estimates.intensity[rows].tolist(),
        score=estimates.score[rows].tolist(),
        sigma_x=estimates.sigma_x[rows].tolist(),
        sigma_y=estimates.sigma_y[rows].tolist(),
        sigma_intensity=estimates.sigma_intensity[rows].tolist(),
    )
    spots = _spots(ticket.detections, plan, crops, spot[estimates.likely[rows]], estimates)
    status: TargetsStatus = "ok"
    reason = ""
    if len(crops.noise) and not np.isfinite(crops.noise).any():
        status, reason = "error", "no usable pixel in any candidate's crop"
    durations = (
        ticket.joined_ns - ticket.received_ns,
        ticket.taken_ns - ticket.joined_ns,
        infer_ns,
        readout_ns,
    )
    return _message(ticket, status, reason, spots, table, engine, durations)


def _spots(
    detections: Detections,
    plan: CropPlan,
    crops: Crops,
    likely_spot: NDArray[np.int32],
    estimates: Estimates,
) -> Spots:
    """One entry a candidate; one that several crops serve gets its worst chi-square.

    Args:
        likely_spot: the spot of each target that belongs to the likeliest number.
    """
    number = len(detections.x)
    count = np.bincount(likely_spot, minlength=number)
    flags = plan.spot_flags.copy()
    np.bitwise_or.at(flags, plan.spot, crops.flags)
    background, noise, worst = (np.full(number, np.nan) for _ in range(3))
    # Written backwards, so that the first of a candidate's crops prevails.
    background[plan.spot[::-1]] = crops.background[::-1]
    noise[plan.spot[::-1]] = crops.noise[::-1]
    np.fmax.at(worst, plan.spot, estimates.chi2)
    np.bitwise_or.at(flags, plan.spot, _FLAGS_OF_DOUBT[estimates.doubt])
    return Spots(
        id=detections.id or list(range(number)),
        x=detections.x,
        y=detections.y,
        count=count.tolist(),
        background=background.tolist(),
        noise=noise.tolist(),
        chi2=worst.tolist(),
        flags=flags.tolist(),
    )


def _message(
    ticket: Ticket,
    status: TargetsStatus,
    reason: str,
    spots: Spots,
    targets: TargetTable,
    engine: EngineInfo,
    durations: tuple[int, int, int, int],
) -> Targets:
    join, queue, infer, readout = durations
    return Targets(
        stream=ticket.key.stream,
        epoch=ticket.key.epoch,
        frame_id=ticket.key.frame_id,
        timestamp_ns=ticket.timestamp_ns,
        status=status,
        reason=reason,
        spots=spots,
        targets=targets,
        engine=engine,
        # The total is known when the message is published.
        timing=Timing(join=join, queue=queue, infer=infer, readout=readout, total=0),
    )

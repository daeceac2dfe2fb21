"""Builds `targets` messages: from results, and for frames that are not unmixed."""

from typing import Any

from dscsnet.engines.table import Table
from dscsnet.pipeline.join import Ticket
from dscsnet.pipeline.messages import (
    EngineInfo,
    Spots,
    Targets,
    TargetsStatus,
    TargetTable,
    Timing,
)
from dscsnet.pipeline.unmix import Result


def plain_answer(ticket: Ticket, status: TargetsStatus, reason: str, engine: EngineInfo) -> Targets:
    """The answer of a frame that was not unmixed: no spots, no targets."""
    joined = max(0, ticket.joined_ns - ticket.received_ns)
    queued = max(0, ticket.taken_ns - ticket.joined_ns)
    return _message(
        ticket, status, reason, Spots.empty(), TargetTable.empty(), engine, (joined, queued, 0, 0)
    )


def unmixed_answer(
    ticket: Ticket,
    result: Result,
    engine: EngineInfo,
    infer_ns: int,
    readout_ns: int,
    *,
    blind: bool = False,
) -> Targets:
    """The answer of a frame that was unmixed.

    Args:
        blind: no crop had a usable pixel.
    """
    return _message(
        ticket,
        "error" if blind else "ok",
        "no usable pixel in any candidate's crop" if blind else "",
        Spots(**_lists(result.spots)),
        TargetTable(**_lists(result.targets)),
        engine,
        (
            ticket.joined_ns - ticket.received_ns,
            ticket.taken_ns - ticket.joined_ns,
            infer_ns,
            readout_ns,
        ),
    )


def _lists(table: Table) -> dict[str, list[Any]]:
    return {name: column.tolist() for name, column in table.to_dict().items()}


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

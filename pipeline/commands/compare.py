"""`dscsnet compare`: whether two runs found the same targets."""

import math
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dscsnet.pipeline.recording.compare import Comparison, Tolerance, load_answers
from dscsnet.pipeline.recording.compare import compare as compare_answers

RUN = "a recording (.mcap, or a folder or glob of its files), or JSON lines of 'dscsnet listen'"


def compare(
    a: Annotated[str, typer.Argument(help=f"One run: {RUN}.")],
    b: Annotated[str, typer.Argument(help="The other run, likewise.")],
    *,
    position: Annotated[
        float, typer.Option(min=0, help="Positions may differ by so many px.")
    ] = 0.0,
    intensity: Annotated[
        float,
        typer.Option(min=0, help="Intensities, backgrounds and noises by this share (0.01: 1 %)."),
    ] = 0.0,
    sigma: Annotated[
        float, typer.Option(min=0, help="Uncertainties, scores and chi-squares by this share.")
    ] = 0.0,
) -> None:
    """Compare the targets of two runs, frame by frame; exit code 1 where they differ.

    Timings, time stamps and the bytes of epochs are left out: epochs are counted in their order.
    """
    console = Console(highlight=False)
    outcome = compare_answers(
        load_answers(a), load_answers(b), Tolerance(position, intensity, sigma)
    )
    if outcome.engines is not None:
        console.print(f"engines differ: {outcome.engines[0]} / {outcome.engines[1]}", markup=False)
    if outcome.is_equal:
        limits = "within the tolerance" if position or intensity or sigma else "to the last bit"
        console.print(
            f"identical {limits}: {outcome.frames} frames, {outcome.targets} targets",
            soft_wrap=True,
        )
        return
    console.print(_table(outcome))
    console.print(f"{outcome.frames} frames are in both", soft_wrap=True)
    raise typer.Exit(1)


def _table(outcome: Comparison) -> Table:
    table = Table("difference", "frames", "largest", "where", "A / B", box=None)
    for what, difference in outcome.differences.items():
        size = difference.largest
        table.add_row(
            what,
            str(difference.frames),
            "" if math.isnan(size) else f"{size:.3g}",
            str(difference.where),
            difference.detail,
        )
    return table

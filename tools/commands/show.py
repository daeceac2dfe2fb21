"""`dscsnet show`: what an engine makes of the crops of one recorded frame."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from dscsnet.pipeline.config import EngineSettings

if TYPE_CHECKING:
    from dscsnet.tools.show.crops import CropView


def show(
    source: Annotated[str, typer.Argument(help="Recording: folder, glob, array or video.")],
    *,
    frame: Annotated[int, typer.Option(min=0, help="Frame to show, from 0.")] = 0,
    spot: Annotated[
        int | None,
        typer.Option(min=0, help="Candidate of the detector, 0 the strongest. Default: up to 6."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="X,Y", help="A place in place of a candidate, frame px."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Name of a shipped model, a model folder, or psf-fit.")
    ] = EngineSettings().model,
    psf: Annotated[
        str | None, typer.Option(metavar="SX[,SY]", help="PSF sigma along x and y, px.")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--output", help="PNG file to write.")] = Path(
        "show.png"
    ),
) -> None:
    """Draw crops with reconstruction, residual, targets and their errors, and print these."""
    if at is not None and spot is not None:
        raise typer.BadParameter("--at needs no detector, so it excludes --spot")
    if out.suffix.lower() != ".png":
        raise typer.BadParameter(f"--output: expected a name that ends in .png, got {out}")
    place = None if at is None else numbers("--at", at, "X,Y", 2)
    sigmas = None if psf is None else numbers("--psf", psf, "SX[,SY]", 1)
    if sigmas is not None and min(sigmas) <= 0:
        raise typer.BadParameter(f"--psf: expected px above 0, got {psf}")

    from dscsnet.engines.opening import open_engine
    from dscsnet.engines.sensor import Sensor
    from dscsnet.tools.drawing.canvas import save_picture
    from dscsnet.tools.show.crops import find_candidates, read_frame, view_candidates, view_place
    from dscsnet.tools.show.crops_picture import draw_views

    pixels = read_frame(source, frame)
    candidates = None if place else find_candidates(pixels)
    sensor = None if sigmas is None else Sensor.gaussian(sigmas[0], sigmas[-1])
    engine = open_engine(model, threads=1, sensor=sensor)
    try:
        if place:
            views = view_place(engine, pixels, place[0], place[1])
        else:
            assert candidates is not None, "without a place there are candidates"
            views = view_candidates(engine, pixels, candidates, spot)
        title = f"{source}, frame {frame}: {engine.name} on {engine.runtime_name}"
    finally:
        engine.close()
    save_picture(out, draw_views(views, title))
    print_views(Console(highlight=False), views, title)
    print(f"picture  {out}")


def numbers(option: str, text: str, form: str, least: int) -> tuple[float, ...]:
    """One or two finite numbers with a comma between them, at least so many.

    Raises:
        BadParameter: the text is something else.
    """
    import math

    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not least <= len(values) <= 2 or not all(map(math.isfinite, values)):
        raise typer.BadParameter(f"{option}: expected {form} in px, got {text!r}")
    return values


def print_views(console: Console, views: Sequence["CropView"], title: str) -> None:
    """Print the targets of every crop, with the crop's quality beneath."""
    from dscsnet.tools.show.crops import HEADER, quality_rows, target_rows

    console.print(title, soft_wrap=True)
    for view in views:
        console.print(f"\n{view.name}", soft_wrap=True)
        table = Table("", *HEADER, box=None)
        for number, row in enumerate(target_rows(view), 1):
            table.add_row(str(number), *row)
        console.print(table if table.row_count else "no target")
        quality = "; ".join(f"{name} {text}" for name, text in quality_rows(view))
        console.print(quality, soft_wrap=True)

"""`dscsnet curves`: how trainings went, as a picture."""

from pathlib import Path
from typing import Annotated

import typer


def curves(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Folders of runs, or folders that hold some."),
    ],
    *,
    out: Annotated[
        Path, typer.Option("-o", "--output", help="PNG, SVG or PDF file to write.")
    ] = Path("curves.png"),
) -> None:
    """Draw every measure of one or several runs by crops seen and by time trained."""
    from dscsnet.tools.training.curves import draw_curves, find_curves, read_curves

    found = read_curves(find_curves(runs))
    draw_curves(found, out)
    print(f"{out}: {', '.join(curve.name for curve in found)}")

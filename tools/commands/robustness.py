"""`dscsnet evaluate --robustness`: the battery."""

from pathlib import Path

import typer
from rich.console import Console

#: Columns of the widest table.
WIDEST_TABLE = 150


def run_robustness(
    models: list[str], pattern: str, seed: int, out: Path | None, threads: int
) -> None:
    """Print the battery's tables; write `robustness.json` and `robustness.png`, too.

    Args:
        models: the measured one, and those beside it.
        pattern: of "group / name".
        out: folder to write to, made where it is not there; None: nothing is written.
        threads: of a run.

    Raises:
        DscsnetError: a model does not work, or the PSF of a situation cannot be measured.
    """
    from dscsnet.tools.drawing.canvas import save_picture
    from dscsnet.tools.robustness.battery import run_battery
    from dscsnet.tools.robustness.picture import draw_report
    from dscsnet.tools.robustness.text import as_json, print_report

    notes = Console(stderr=True)
    report = run_battery(
        models,
        only=pattern,
        seed=seed,
        threads=threads,
        tell=lambda title: notes.print(f"running: {title}", style="dim", highlight=False),
    )
    if not report.rows:
        raise typer.BadParameter(f"no situation matches {pattern!r}", param_hint="--robustness")
    # A narrow terminal wraps the widest table; narrower columns would hide its figures.
    console = Console(width=max(WIDEST_TABLE, Console().width))
    print_report(report, console)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "robustness.json").write_bytes(as_json(report))
        save_picture(out / "robustness.png", draw_report(report))
        console.print(f"written: {out / 'robustness.json'}, {out / 'robustness.png'}")

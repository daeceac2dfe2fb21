"""`dscsnet calibrate`: PSF, gain and noise of a sensor, from a recording of it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


def calibrate(
    recording: Annotated[
        str, typer.Argument(help="Folder or glob of images, multi-page TIFF, array or video.")
    ],
    *,
    start: Annotated[int, typer.Option(min=0, help="First frame to read.")] = 0,
    frames: Annotated[int, typer.Option(min=1, help="Frames to read, at most.")] = 300,
    least_snr: Annotated[
        float, typer.Option(min=5, help="Peak over noise of the faintest spot to use.")
    ] = 15.0,
    saturation: Annotated[
        float | None,
        typer.Option(help="Count at which a pixel saturates. Default: full scale, if met."),
    ] = None,
    gain: Annotated[
        float | None,
        typer.Option(min=0.0, help="Electrons per count, if known. Default: as measured."),
    ] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a configuration of the node: YAML.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace that file.")] = False,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw spot, model, residual, widths and noise: a PNG."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of tables.")] = False,
) -> None:
    """Measure PSF, gain and noise of a sensor from isolated point targets in a recording.

    Exit code 0 says that the PSF could be told.
    """
    from dscsnet.engines.errors import DscsnetError
    from dscsnet.pipeline.sources import open_source
    from dscsnet.tools.calibration import report
    from dscsnet.tools.calibration.calibration import calibrate as measure
    from dscsnet.tools.calibration.picture import draw_calibration
    from dscsnet.tools.calibration.result import CalibrationSettings
    from dscsnet.tools.drawing.canvas import save_picture

    if gain is not None and not gain > 0:
        raise typer.BadParameter(f"expected a number above 0, got {gain:g}", param_hint="--gain")
    if write is not None:
        report.check_free(write, force)
        report.check_free(report.samples_path(write), force)
    settings = CalibrationSettings(frames, least_snr, saturation, gain)
    with open_source(recording, start=start, allow_mixed_sizes=True) as source, _progress() as tell:
        result = measure(source, settings, tell)
    if as_json:
        print(report.as_json(result))
    else:
        report.print_report(Console(highlight=False), result)
    if picture is not None:
        save_picture(picture, draw_calibration(result))
    if result.psf is None:
        raise DscsnetError(f"{recording}: the PSF cannot be told: {result.problem}")
    if write is not None:
        report.write_configuration(write, result)


@contextmanager
def _progress() -> Iterator[Callable[[int, int | None], None]]:
    """Yield a callback (frames read, of all): a bar on a terminal, plain lines elsewhere."""
    from dscsnet.pipeline.commands.progress import plain_progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield plain_progress(lambda line: print(f"reading: {line}", file=sys.stderr, flush=True))
        return
    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TextColumn("frames"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

"""`dscsnet soak`: a node at work for hours, and whether anything grows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from dscsnet.pipeline.config import EngineSettings

if TYPE_CHECKING:
    from dscsnet.tools.trials.soak import Soak


def soak(
    *,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long, minutes.")] = 60.0,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for soak.csv, soak.png and the logs.")
    ] = Path("soak"),
    rate: Annotated[
        float | None,
        typer.Option(min=0.1, help="Frames a second; without it half of what the node manages."),
    ] = None,
    candidates: Annotated[int, typer.Option(min=1, max=1000, help="Candidates a frame.")] = 20,
    model: Annotated[
        str, typer.Option(help="Name of a shipped model, or a model folder.")
    ] = EngineSettings().model,
    every: Annotated[float, typer.Option(min=2.0, help="Seconds from sample to sample.")] = 10.0,
) -> None:
    """Run a node at half load, sample its memory, descriptors and queues, and fit their slopes.

    Ends with 1 if frames were lost without a reason or if memory grows. The picture needs the extra
    `plot`.
    """
    from dscsnet.engines.errors import DscsnetError
    from dscsnet.tools.host.machine import describe
    from dscsnet.tools.trials.soak import Soak, measure_capacity
    from dscsnet.tools.trials.soak import soak as run

    console = Console()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DscsnetError(f"{out}: cannot be made: {error.strerror}") from None
    console.print(describe(), highlight=False, soft_wrap=True)
    if rate is None:
        rate = measure_capacity(out, model, candidates) / 2
        console.print(f"half load: {rate:.1f} frames/s", highlight=False)
    steps = run(
        out, model=model, candidates=candidates, rate_hz=rate, minutes=minutes, every_s=every
    )
    # Some twenty lines of progress, however long it takes.
    tell_s, told = minutes * 3, 0.0
    for step in steps:
        if isinstance(step, Soak):
            _conclude(step, out, console)
        elif step.seconds >= told:
            told += tell_s
            console.print(
                f"{step.seconds / 60:6.1f} min  {step.memory_mib:.1f} MiB  {step.descriptors} "
                f"descriptors  {step.published} published",
                highlight=False,
            )


def _conclude(result: "Soak", out: Path, console: Console) -> None:
    """Print and write what was found.

    Raises:
        DscsnetError: frames were lost without a reason, or memory grows.
    """
    from importlib.util import find_spec

    from dscsnet.engines.errors import DscsnetError
    from dscsnet.tools.host.machine import describe
    from dscsnet.tools.trials.soak_report import describe_soak, draw_soak, grows

    text = describe_soak(result)
    (out / "soak.txt").write_text(f"{describe()}\n{text}\n")
    console.print(text, highlight=False, soft_wrap=True)
    if find_spec("matplotlib") is not None:
        draw_soak(result, out / "soak.png")
    if result.silent or result.faults or grows(result):
        raise DscsnetError(f"the soak failed: see {out / 'soak.txt'}")

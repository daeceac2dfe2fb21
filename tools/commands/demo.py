"""`dscsnet demo`: the whole chain on a simulated scene, scored against the truth."""

from pathlib import Path
from typing import Annotated

import typer

from dscsnet.pipeline.config import EngineSettings

#: Among the first scenes, one whose clusters have 1 to 5 targets each two to four times.
DEFAULT_SEED = 3


def demo(
    *,
    frames: Annotated[int, typer.Option(min=1, help="Number of frames.")] = 300,
    rate: Annotated[float, typer.Option(min=0.1, max=1000, help="Frames a second.")] = 20.0,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another scene.")] = DEFAULT_SEED,
    model: Annotated[
        str, typer.Option(help="Name of a shipped model, or a model folder.")
    ] = EngineSettings().model,
    output: Annotated[
        Path, typer.Option(help="Folder for configurations, logs, results and picture.")
    ] = Path("demo-output"),
) -> None:
    """Simulate a scene, detect, unmix and compare with the truth: all in one go.

    Exit code 0 says that every frame was answered exactly once and in order.
    """
    from dscsnet.tools.demo.console import show_demo
    from dscsnet.tools.demo.run import DemoSettings

    exit_code = show_demo(DemoSettings(output, frames, rate, seed, model))
    if exit_code:
        raise typer.Exit(exit_code)

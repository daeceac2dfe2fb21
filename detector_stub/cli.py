"""Commands of the detector and the simulator; `python -m dscsnet.detector_stub` has these alone."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import cv2
import typer

from dscsnet.detector_stub import logs
from dscsnet.detector_stub.config import DetectorConfig, SimulatorConfig
from dscsnet.engines.errors import DscsnetError
from dscsnet.pipeline.process.signals import stop_on_signals
from dscsnet.pipeline.yaml_file import read_yaml

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="A stand-in for the upstream detector, and a simulated scene for it.",
)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", help="YAML file with the settings.")
]
LevelOption = Annotated[
    str,
    typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error."),
]


@app.command()
def detector(config: ConfigOption, log_level: LevelOption = "info") -> None:
    """Find candidate spots in frames and publish them."""
    from dscsnet.detector_stub.detector import run_detector

    _run(log_level, lambda stop: run_detector(read_yaml(config, DetectorConfig), stop))


@app.command()
def simulate(config: ConfigOption, log_level: LevelOption = "info") -> None:
    """Publish the frames of a simulated scene, its truth beside them."""
    from dscsnet.detector_stub.simulator import run_simulator

    _run(log_level, lambda stop: run_simulator(read_yaml(config, SimulatorConfig), stop))


def _run(log_level: str, work: Callable[[threading.Event], Any]) -> None:
    """Run until done or until SIGINT or SIGTERM; errors that a user can act on are one line."""
    if log_level not in ("debug", "info", "warning", "error"):
        expected = "expected debug, info, warning or error"
        raise typer.BadParameter(f"{expected}, got {log_level!r}", param_hint="--log-level")
    logs.set_up(log_level)
    cv2.setNumThreads(1)  # its threads would take the cores of the node beside it
    try:
        with stop_on_signals() as stop:
            work(stop)
    except DscsnetError as error:
        typer.echo(f"dscsnet: {error}", err=True)
        raise typer.Exit(1) from None


def main() -> None:
    """Run the command line."""
    app()

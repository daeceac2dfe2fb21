"""`dscsnet node` and `dscsnet check`: run a node, or only find out whether it would run."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dscsnet.pipeline.config import NodeConfig, json_schema, load_config
from dscsnet.pipeline.process.signals import reload_on_hangup, stop_on_signals

Configuration = Annotated[
    Path | None,
    typer.Option("-c", "--config", help="YAML file; without it every setting has its default."),
]


def node(config: Configuration = None) -> None:
    """Run the node until Ctrl-C or SIGTERM; then it publishes what it accepted and exits.

    SIGHUP has it read FILE again and change to the engine that it names, without losing a frame; if
    that engine does not load, the old one works on.
    """
    from dscsnet.pipeline.node import Node
    from dscsnet.pipeline.process.descriptors import allow_descriptors
    from dscsnet.pipeline.process.logs import set_up_logging

    settings = _load(config)
    set_up_logging(settings.log.level, settings.log.format)
    allow_descriptors()
    running = Node(settings, config)
    with stop_on_signals() as stop, reload_on_hangup(running.reload, stop):
        running.run(stop)


def check(
    config: Configuration = None,
    *,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the configuration's JSON Schema, and exit.")
    ] = False,
) -> None:
    """Check a configuration, its key files, the model it names and the engine's golden answers."""
    if schema:
        sys.stdout.write(json_schema().decode() + "\n")
        return
    from dscsnet.engines.cold_start import announced
    from dscsnet.engines.model_engine import ModelEngine
    from dscsnet.pipeline.cropping.bad_pixels import load_bad_pixels
    from dscsnet.pipeline.security import check_keys
    from dscsnet.pipeline.worker import load_engine

    settings = _load(config)
    with announced(partial(print, file=sys.stderr, flush=True)):
        engine = load_engine(settings.engine)
    mask = load_bad_pixels(settings.crop.bad_pixels)
    name = config or "defaults"
    print(f"{name}: ok")
    print(f"  engine  {engine.name} on {engine.runtime_name}")
    if isinstance(engine, ModelEngine):
        print(f"          golden check: relative error {engine.golden_error():.1e}")
    if mask is not None:
        print(f"  mask    {int(mask.sum())} bad pixels of {mask.shape[1]}x{mask.shape[0]}")
    for label, channel, peers in (
        ("frames", settings.inputs.frames, "frames"),
        ("detections", settings.inputs.detections, "detections"),
        ("targets", settings.output.targets, "subscribers"),
    ):
        if channel.curve is not None:
            check_keys(channel.curve, peers)
        secured = ", CURVE" if channel.curve else ""
        act = "binds" if channel.bind else "connects to"
        print(f"  {label:<11} {act} {channel.endpoint} ({channel.kind}{secured})")


def _load(path: Path | None) -> NodeConfig:
    return NodeConfig() if path is None else load_config(path)

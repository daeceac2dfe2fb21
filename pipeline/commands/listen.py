"""`dscsnet listen`: show targets as a table or as JSON lines."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import typer
from rich.console import Console

from dscsnet.pipeline.commands.options import (
    AllowOption,
    InsecureOption,
    KeyOption,
    ServerOption,
    make_channel,
)
from dscsnet.pipeline.listen import (
    Display,
    LiveTable,
    Statistics,
    json_display,
    run_listen,
    text_display,
)
from dscsnet.pipeline.process.signals import stop_on_signals
from dscsnet.pipeline.sockets import Receiver

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5552"


def listen(
    *,
    endpoint: Annotated[str, typer.Option(help="ZeroMQ endpoint of the targets.")] = (
        DEFAULT_ENDPOINT
    ),
    bind: Annotated[bool, typer.Option("--bind/--connect", help="Which end this is.")] = False,
    kind: Annotated[
        Literal["pubsub", "pushpull"], typer.Option(help="As the node publishes.")
    ] = "pubsub",
    format: Annotated[
        Literal["table", "jsonl"],
        typer.Option(help="A table (plain lines if not on a terminal) or one JSON object a line."),
    ] = "table",
    stream: Annotated[
        list[str] | None, typer.Option(help="Only this stream; may be repeated. Default: all.")
    ] = None,
    status: Annotated[
        bool, typer.Option("--status", help="Show the node's heartbeats, too.")
    ] = False,
    count: Annotated[int | None, typer.Option(min=1, help="Exit after so many frames.")] = None,
    exit_on_end: Annotated[
        bool, typer.Option("--exit-on-end", help="Exit when a stream is complete.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(min=0.001, help="Fail if nothing came for so many seconds. Default: wait."),
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows of the table on a terminal.")] = 20,
    key: KeyOption = None,
    server: ServerOption = None,
    allow: AllowOption = None,
    insecure: InsecureOption = False,
) -> None:
    """Show what the node publishes: the targets of every frame and the end of each stream."""
    streams = stream or []
    # A heartbeat has the node's name in place of a stream, and a pushpull channel brings whatever
    # the node sends: then everything is read, and chosen from afterwards.
    everything = status or kind == "pushpull"
    kinds = ("targets", "end", "status") if everything else ("targets", "end")
    statistics = Statistics()
    channel = make_channel(
        endpoint, bind, kind, key=key, server=server, allow=allow, insecure=insecure
    )
    try:
        with (
            stop_on_signals() as stop,
            Receiver(channel, kinds=kinds, streams=() if everything else streams) as receiver,
            _display(format, statistics, rows) as display,
        ):
            run_listen(
                receiver.receive,
                display,
                statistics,
                source=endpoint,
                streams=streams,
                heartbeats=status,
                count=count,
                exit_on_end=exit_on_end,
                timeout_s=timeout,
                stop=stop,
            )
    except BrokenPipeError:
        _abandon_stdout()
    finally:
        print(statistics.summary(), file=sys.stderr)


@contextmanager
def _display(format: str, statistics: Statistics, rows: int) -> Iterator[Display]:
    console = Console()
    if format == "jsonl":
        yield json_display(sys.stdout)
    elif not console.is_terminal:
        yield text_display(sys.stdout)
    else:
        with LiveTable(console, statistics, rows) as table:
            yield table


def _abandon_stdout() -> None:
    """Keep Python from complaining about the closed pipe when it flushes stdout at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)

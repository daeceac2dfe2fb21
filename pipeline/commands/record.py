"""`dscsnet record`: write what goes over the channels of a chain to MCAP files."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from dscsnet.pipeline.commands.options import AllowOption, InsecureOption, KeyOption, make_channel
from dscsnet.pipeline.process.signals import stop_on_signals
from dscsnet.pipeline.recording.layout import Source
from dscsnet.pipeline.recording.settings import Recording

DEFAULTS = Recording()
Endpoint = Annotated[str, typer.Option(help="ZeroMQ endpoint; 'none' leaves this channel out.")]


def record(
    output: Annotated[
        Path,
        typer.Argument(help="OUT.mcap; with a limit below the files are OUT-0001.mcap, ..."),
    ],
    *,
    frames: Endpoint = "tcp://127.0.0.1:5550",
    detections: Endpoint = "tcp://127.0.0.1:5551",
    targets: Endpoint = "tcp://127.0.0.1:5552",
    bind: Annotated[
        list[str] | None,
        typer.Option(help="Bind this one (frames, detections or targets); may be repeated."),
    ] = None,
    stream: Annotated[
        list[str] | None, typer.Option(help="Only this stream; may be repeated. Default: all.")
    ] = None,
    segment_s: Annotated[
        float, typer.Option(min=0, help="Begin a new file after so many seconds; 0: never.")
    ] = 0.0,
    segment_mib: Annotated[
        float, typer.Option(min=0, help="Begin a new file after so many MiB; 0: never.")
    ] = 0.0,
    queue_messages: Annotated[
        int, typer.Option(min=1, help="Messages that wait for the disk, at most.")
    ] = DEFAULTS.queue_messages,
    queue_mib: Annotated[
        float, typer.Option(min=0.001, help="Their size, MiB; the rest is dropped and counted.")
    ] = DEFAULTS.queue_mib,
    compression: Annotated[
        Literal["none", "lz4", "zstd"], typer.Option(help="Of frames and images.")
    ] = DEFAULTS.compression,
    annotations: Annotated[
        bool, typer.Option(help="Write targets and spots once more, as viewers draw them.")
    ] = DEFAULTS.annotations,
    images: Annotated[
        bool, typer.Option(help="Write frames once more, as viewers show them: twice the size.")
    ] = DEFAULTS.images,
    sync: Annotated[
        bool, typer.Option(help="Force what was written onto the disk every second.")
    ] = DEFAULTS.sync,
    seconds: Annotated[
        float | None, typer.Option(min=0.001, help="End after so many seconds.")
    ] = None,
    exit_on_end: Annotated[
        bool, typer.Option("--exit-on-end", help="End when a stream is complete.")
    ] = False,
    key: KeyOption = None,
    server: Annotated[
        list[str] | None,
        typer.Option(
            help="CURVE, to connect: the peer's public key file, as frames=FILE, detections=FILE "
            "or targets=FILE; repeatable.",
        ),
    ] = None,
    allow: AllowOption = None,
    insecure: InsecureOption = False,
) -> None:
    """Record frames, detections and targets as they are, until Ctrl-C; `dscsnet replay` plays them.

    The channels must be of kind pubsub: on pushpull a recorder would take messages from the node.
    Record there in the node itself (`record.file` in its configuration).
    """
    from dscsnet.pipeline.process.logs import set_up_logging
    from dscsnet.pipeline.recording.side_tap import run_side_tap

    if output.suffix != ".mcap":
        raise typer.BadParameter(f"expected a name that ends with .mcap, got {output}")
    given: dict[Source, str] = {"frames": frames, "detections": detections, "targets": targets}
    bound = bind or []
    if unknown := sorted(set(bound) - set(given)):
        raise typer.BadParameter(f"--bind: expected frames, detections or targets, got {unknown}")
    servers = _by_channel(server or [], set(given))
    channels = {
        source: make_channel(
            endpoint,
            source in bound,
            "pubsub",
            key=key,
            server=servers.get(source),
            allow=allow if source in bound else None,
            insecure=insecure,
        )
        for source, endpoint in given.items()
        if endpoint != "none"
    }
    if not channels:
        raise typer.BadParameter("all channels are left out")
    settings = Recording(
        file=str(output),
        segment_s=segment_s,
        segment_mib=segment_mib,
        queue_messages=queue_messages,
        queue_mib=queue_mib,
        compression=compression,
        annotations=annotations,
        images=images,
        sync=sync,
    )
    set_up_logging()
    with stop_on_signals() as stop:
        written = run_side_tap(
            channels,
            settings,
            streams=stream or [],
            seconds=seconds,
            exit_on_end=exit_on_end,
            stop=stop,
        )
    listed = ", ".join(f"{number} {kind}" for kind, number in sorted(written.items()))
    print(listed or "nothing came", file=sys.stderr)


def _by_channel(given: list[str], known: set[Source]) -> dict[str, Path]:
    """Files by the channel that each is for, from texts like `frames=camera.key`."""
    found: dict[str, Path] = {}
    for text in given:
        channel, equals, file = text.partition("=")
        if channel not in known or not (equals and file):
            raise typer.BadParameter(
                f"--server: expected frames=FILE, detections=FILE or targets=FILE, got {text}"
            )
        found[channel] = Path(file)
    return found

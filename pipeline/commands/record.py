"""`dscsnet record`: write what goes over the channels of a chain to MCAP files."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import typer

from dscsnet.pipeline.commands.options import AllowOption, InsecureOption, KeyOption, make_channel
from dscsnet.pipeline.commands.record_options import (
    AnnotationsOption,
    BindOption,
    CompressionOption,
    Endpoint,
    ExitOnEndOption,
    ImagesOption,
    OutputArgument,
    QueueMessagesOption,
    QueueMibOption,
    SecondsOption,
    SegmentMibOption,
    SegmentSOption,
    ServersOption,
    StreamOption,
    SyncOption,
)
from dscsnet.pipeline.process.signals import stop_on_signals
from dscsnet.pipeline.recording.layout import ChannelName
from dscsnet.pipeline.recording.settings import Recording
from dscsnet.pipeline.sockets import Channel

DEFAULTS = Recording()


def record(
    output: OutputArgument,
    *,
    frames: Endpoint = "tcp://127.0.0.1:5550",
    detections: Endpoint = "tcp://127.0.0.1:5551",
    targets: Endpoint = "tcp://127.0.0.1:5552",
    bind: BindOption = None,
    stream: StreamOption = None,
    segment_s: SegmentSOption = 0.0,
    segment_mib: SegmentMibOption = 0.0,
    queue_messages: QueueMessagesOption = DEFAULTS.queue_messages,
    queue_mib: QueueMibOption = DEFAULTS.queue_mib,
    compression: CompressionOption = DEFAULTS.compression,
    annotations: AnnotationsOption = DEFAULTS.annotations,
    images: ImagesOption = DEFAULTS.images,
    sync: SyncOption = DEFAULTS.sync,
    seconds: SecondsOption = None,
    exit_on_end: ExitOnEndOption = False,
    key: KeyOption = None,
    server: ServersOption = None,
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
    endpoints: dict[ChannelName, str] = {
        "frames": frames,
        "detections": detections,
        "targets": targets,
    }
    chosen = partial(make_channel, kind="pubsub", key=key, insecure=insecure)
    channels = _channels(endpoints, bind or [], server or [], allow, chosen)
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


def _channels(
    endpoints: dict[ChannelName, str],
    bound: list[str],
    servers: list[str],
    allow: Path | None,
    make: Callable[..., Channel],
) -> dict[ChannelName, Channel]:
    """The channels to record; `make` is `make_channel` with what they have in common."""
    if unknown := sorted(set(bound) - set(endpoints)):
        raise typer.BadParameter(f"--bind: expected frames, detections or targets, got {unknown}")
    server_of = _by_channel(servers, set(endpoints))
    channels = {
        source: make(
            endpoint,
            source in bound,
            server=server_of.get(source),
            allow=allow if source in bound else None,
        )
        for source, endpoint in endpoints.items()
        if endpoint != "none"
    }
    if not channels:
        raise typer.BadParameter("all channels are left out")
    return channels


def _by_channel(given: list[str], known: set[ChannelName]) -> dict[str, Path]:
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

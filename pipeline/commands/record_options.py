"""The options of `dscsnet record`, each with what it means."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Endpoint = Annotated[str, typer.Option(help="ZeroMQ endpoint; 'none' leaves this channel out.")]
OutputArgument = Annotated[
    Path,
    typer.Argument(help="OUT.mcap; with a limit below the files are OUT-0001.mcap, ..."),
]
BindOption = Annotated[
    list[str] | None,
    typer.Option(help="Bind this one (frames, detections or targets); may be repeated."),
]
StreamOption = Annotated[
    list[str] | None, typer.Option(help="Only this stream; may be repeated. Default: all.")
]
SegmentSOption = Annotated[
    float, typer.Option(min=0, help="Begin a new file after so many seconds; 0: never.")
]
SegmentMibOption = Annotated[
    float, typer.Option(min=0, help="Begin a new file after so many MiB; 0: never.")
]
QueueMessagesOption = Annotated[
    int, typer.Option(min=1, help="Messages that wait for the disk, at most.")
]
QueueMibOption = Annotated[
    float, typer.Option(min=0.001, help="Their size, MiB; the rest is dropped and counted.")
]
CompressionOption = Annotated[
    Literal["none", "lz4", "zstd"], typer.Option(help="Of frames and images.")
]
AnnotationsOption = Annotated[
    bool, typer.Option(help="Write targets and spots once more, as viewers draw them.")
]
ImagesOption = Annotated[
    bool, typer.Option(help="Write frames once more, as viewers show them: twice the size.")
]
SyncOption = Annotated[
    bool, typer.Option(help="Force what was written onto the disk every second.")
]
SecondsOption = Annotated[float | None, typer.Option(min=0.001, help="End after so many seconds.")]
ExitOnEndOption = Annotated[
    bool, typer.Option("--exit-on-end", help="End when a stream is complete.")
]
ServersOption = Annotated[
    list[str] | None,
    typer.Option(
        help="CURVE, to connect: the peer's public key file, as frames=FILE, detections=FILE "
        "or targets=FILE; repeatable.",
    ),
]

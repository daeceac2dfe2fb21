"""The options of `dscsnet replay`, each with what it means."""

from typing import Annotated, Literal

import typer

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5550"
DEFAULT_DETECTIONS_ENDPOINT = "tcp://127.0.0.1:5551"
DEFAULT_STREAM = "cam0"
DEFAULT_RATE_HZ = 25.0

SourcesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Folder or glob of images (PNG, TIFF, BMP), multi-page TIFF, .npy, .npz, video, "
        "or a recording: .mcap files, or a folder or glob of them.",
    ),
]
RateOption = Annotated[
    float | None,
    typer.Option(
        min=0.001,
        help="Frames a second. Default: the recorded rate, or "
        f"{DEFAULT_RATE_HZ:g} where the source knows none.",
    ),
]
RecordedOption = Annotated[
    bool | None,
    typer.Option(
        "--recorded/--unpaced",
        help="At the recorded times or rate / as fast as subscribers can, losing no frame.",
    ),
]
SpeedOption = Annotated[
    float, typer.Option(min=0.001, help="Play the recorded rate this many times as fast.")
]
LoopOption = Annotated[int, typer.Option(min=0, help="Number of passes; 0: until Ctrl-C.")]
StartOption = Annotated[
    int, typer.Option("--start", "--start-frame", min=0, help="First frame, from 0.")
]
StopOption = Annotated[
    int | None,
    typer.Option(
        "--stop", "--stop-frame", min=1, help="Frame before which to stop. Default: play all."
    ),
]
StartTimeOption = Annotated[
    float | None, typer.Option(min=0, help="Recordings: begin so many seconds into it.")
]
StopTimeOption = Annotated[
    float | None, typer.Option(min=0, help="Recordings: stop so many seconds into it.")
]
StreamOption = Annotated[
    str | None,
    typer.Option(
        help=f"Name of the stream (default: {DEFAULT_STREAM}); of a recording: only this one."
    ),
]
EndpointOption = Annotated[str, typer.Option(help="ZeroMQ endpoint.")]
BindOption = Annotated[bool, typer.Option("--bind/--connect", help="Which end this is.")]
KindOption = Annotated[
    Literal["pubsub", "pushpull"],
    typer.Option(help="pubsub: live, slow subscribers miss frames. pushpull: lossless."),
]
DetectionsOption = Annotated[
    Literal["recorded", "live"],
    typer.Option(help="Recordings: publish the recorded detections, or let a detector run."),
]
DetectionsEndpointOption = Annotated[
    str, typer.Option(help="Recordings: ZeroMQ endpoint of the detections.")
]
DetectionsBindOption = Annotated[
    bool,
    typer.Option("--detections-bind/--detections-connect", help="Recordings: which end."),
]
ExactOption = Annotated[
    bool,
    typer.Option(
        "--exact",
        help="Recordings: keep the epochs, too, so that every byte is as recorded; a node that "
        "has seen them does not answer them again.",
    ),
]
PeersOption = Annotated[
    int, typer.Option(min=0, help="Start when so many subscribers are connected.")
]
WaitOption = Annotated[float, typer.Option(min=0.0, help="Wait for them at most so many seconds.")]
SaturationOption = Annotated[
    float | None, typer.Option(help="Count at which a pixel saturates. Default: unknown.")
]
AllowMixedSizesOption = Annotated[bool, typer.Option(help="Let images of different sizes through.")]

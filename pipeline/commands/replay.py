"""`dscsnet replay`: publish a recording as if a camera sent it."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import cv2
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from engines.cold_start import HINT
from pipeline.commands.interrupt import stop_on_signals
from pipeline.commands.options import (
    AllowOption,
    InsecureOption,
    KeyOption,
    ServerOption,
    make_channel,
)
from pipeline.recording.play import PlaySettings, play_recording
from pipeline.recording.reader import RecordingReader, is_recording, recording_files
from pipeline.recording.selection import Range
from pipeline.replay import ReplayReport, run_replay
from pipeline.sources import Source, open_source

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5550"
DEFAULT_DETECTIONS_ENDPOINT = "tcp://127.0.0.1:5551"
DEFAULT_STREAM = "cam0"
DEFAULT_RATE_HZ = 25.0
PLAIN_LINE_S = 5.0


def replay(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Folder or glob of images (PNG, TIFF, BMP), multi-page TIFF, .npy, .npz, video, "
            "or a recording: .mcap files, or a folder or glob of them.",
        ),
    ],
    *,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Frames a second. Default: the recorded rate, or "
            f"{DEFAULT_RATE_HZ:g} where the source knows none.",
        ),
    ] = None,
    recorded: Annotated[
        bool | None,
        typer.Option(
            "--recorded/--unpaced",
            help="At the recorded times or rate / as fast as subscribers can, losing no frame.",
        ),
    ] = None,
    speed: Annotated[
        float, typer.Option(min=0.001, help="Play the recorded rate this many times as fast.")
    ] = 1.0,
    loop: Annotated[int, typer.Option(min=0, help="Number of passes; 0: until Ctrl-C.")] = 1,
    start: Annotated[
        int, typer.Option("--start", "--start-frame", min=0, help="First frame, from 0.")
    ] = 0,
    stop: Annotated[
        int | None,
        typer.Option(
            "--stop", "--stop-frame", min=1, help="Frame before which to stop. Default: play all."
        ),
    ] = None,
    start_time: Annotated[
        float | None, typer.Option(min=0, help="Recordings: begin so many seconds into it.")
    ] = None,
    stop_time: Annotated[
        float | None, typer.Option(min=0, help="Recordings: stop so many seconds into it.")
    ] = None,
    stream: Annotated[
        str | None,
        typer.Option(
            help=f"Name of the stream (default: {DEFAULT_STREAM}); of a recording: only this one."
        ),
    ] = None,
    endpoint: Annotated[str, typer.Option(help="ZeroMQ endpoint.")] = DEFAULT_ENDPOINT,
    bind: Annotated[bool, typer.Option("--bind/--connect", help="Which end this is.")] = True,
    kind: Annotated[
        Literal["pubsub", "pushpull"],
        typer.Option(help="pubsub: live, slow subscribers miss frames. pushpull: lossless."),
    ] = "pubsub",
    detections: Annotated[
        Literal["recorded", "live"],
        typer.Option(help="Recordings: publish the recorded detections, or let a detector run."),
    ] = "recorded",
    detections_endpoint: Annotated[
        str, typer.Option(help="Recordings: ZeroMQ endpoint of the detections.")
    ] = DEFAULT_DETECTIONS_ENDPOINT,
    detections_bind: Annotated[
        bool,
        typer.Option("--detections-bind/--detections-connect", help="Recordings: which end."),
    ] = True,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Recordings: keep the epochs, too, so that every byte is as recorded; a node that "
            "has seen them does not answer them again.",
        ),
    ] = False,
    peers: Annotated[
        int, typer.Option(min=0, help="Start when so many subscribers are connected.")
    ] = 1,
    wait: Annotated[
        float, typer.Option(min=0.0, help="Wait for them at most so many seconds.")
    ] = 10.0,
    saturation: Annotated[
        float | None, typer.Option(help="Count at which a pixel saturates. Default: unknown.")
    ] = None,
    allow_mixed_sizes: Annotated[
        bool, typer.Option(help="Let images of different sizes through.")
    ] = False,
    key: KeyOption = None,
    server: ServerOption = None,
    allow: AllowOption = None,
    insecure: InsecureOption = False,
) -> None:
    """Publish the frames of a recording as a camera would, then the end of the stream.

    Of MCAP recordings the detections are published, too, in the order in which they came.
    """
    if rate is not None and recorded is not None:
        raise typer.BadParameter("--rate excludes --recorded and --unpaced")
    channel = make_channel(
        endpoint, bind, kind, key=key, server=server, allow=allow, insecure=insecure
    )
    # One line from here says what is wrong with a file; the library's own would come on top.
    cv2.utils.logging.setLogLevel(0)
    files = recording_files(sources)
    if files:
        if others := [source for source in sources if not is_recording(source)]:
            raise typer.BadParameter(f"recordings and other sources do not mix: {others[0]}")
        if saturation is not None or allow_mixed_sizes:
            raise typer.BadParameter("--saturation and --allow-mixed-sizes are not for recordings")
        if exact and loop != 1:
            raise typer.BadParameter("--exact excludes --loop: a pass would repeat the last one's")
        settings = PlaySettings(
            frames=channel,
            detections=make_channel(
                detections_endpoint,
                detections_bind,
                kind,
                key=key,
                server=server,
                allow=allow,
                insecure=insecure,
            )
            if detections == "recorded"
            else None,
            rate=rate or (None if recorded is False else "recorded"),
            speed=speed,
            loop=loop,
            exact=exact,
            streams=[stream] if stream else [],
            chosen=Range(start, stop, start_time, stop_time),
            expected_peers=peers,
            wait_s=wait,
        )
        _replay_recording(files, settings)
        return
    if len(sources) > 1:
        raise typer.BadParameter("several sources are for recordings (.mcap) only; give a glob")
    if start_time is not None or stop_time is not None or detections == "live" or exact:
        raise typer.BadParameter(
            "--start-time, --stop-time, --detections and --exact are for recordings (.mcap)"
        )
    name = stream or DEFAULT_STREAM
    console, say = _console()
    with (
        open_source(
            sources[0], start=start, stop=stop, allow_mixed_sizes=allow_mixed_sizes
        ) as opened,
        stop_on_signals() as stopped,
    ):
        rate_hz = _chosen_rate(opened, rate, recorded)
        say(f"{_describe(opened, rate_hz, speed)}; stream {name} on {endpoint}")
        _say_whom_for(say, peers, wait)
        with _progress(console) as progress:
            report = run_replay(
                opened,
                channel=channel,
                stream=name,
                rate_hz=rate_hz,
                speed=speed,
                loop=loop,
                saturation=saturation,
                expected_peers=peers,
                wait_s=wait,
                stop=stopped,
                progress=progress,
            )
    say(summary(report))


def _replay_recording(files: list[Path], settings: PlaySettings) -> None:
    console, say = _console()
    logging.basicConfig(format="%(levelname)s: %(message)s")
    reader = RecordingReader(files)
    if settings.rate == "recorded":
        pace = f"at the recorded times, {settings.speed:g} times as fast"
    else:
        pace = "unpaced, lossless" if settings.rate is None else f"{settings.rate:g} Hz"
    where = settings.frames.endpoint
    if settings.detections is not None:
        where += f", detections on {settings.detections.endpoint}"
    streams = ", ".join(settings.streams or reader.streams()) or "none"
    frames = len(reader.times(("frame",)))
    say(f"{reader.description}: {frames} frames, {pace}; streams {streams} on {where}")
    _say_whom_for(say, settings.expected_peers, settings.wait_s)
    with stop_on_signals() as stopped, _progress(console) as progress:
        report = play_recording(reader, settings, stop=stopped, progress=progress)
    say(summary(report))


def _console() -> tuple[Console, Callable[[str], None]]:
    console = Console(stderr=True)
    return console, partial(console.print, highlight=False, markup=False, soft_wrap=True)


def _say_whom_for(say: Callable[[str], None], peers: int, wait_s: float) -> None:
    if peers and wait_s:
        who = "1 subscriber" if peers == 1 else f"{peers} subscribers"
        say(f"waiting up to {wait_s:g} s for {who} (a node's {HINT})")


def _chosen_rate(
    source: Source, rate: float | None, recorded: bool | None
) -> float | Literal["recorded"] | None:
    if rate is not None:
        return rate
    if recorded is None:
        knows = source.rate_hz is not None or source.timestamps_ns is not None
        return "recorded" if knows else DEFAULT_RATE_HZ
    return "recorded" if recorded else None


def _describe(source: Source, rate_hz: float | Literal["recorded"] | None, speed: float) -> str:
    height, width = source.shape
    if rate_hz is None:
        pace = "unpaced, lossless"
    elif rate_hz == "recorded":
        pace = "recorded" + (f", {source.rate_hz * speed:.4g} Hz" if source.rate_hz else "")
    else:
        pace = f"{rate_hz:g} Hz"
    return f"{source.description}: {width}x{height} {source.dtype.name}, {pace}"


def summary(report: ReplayReport) -> str:
    """Return one line for people."""
    rate = report.frames / report.seconds if report.seconds > 0 else 0.0
    parts = [f"{report.frames} frames in {report.seconds:.2f} s ({rate:.1f} Hz)"]
    if report.late:
        parts.append(f"{report.late} late, by up to {report.worst_late_ms:.1f} ms")
    if report.dropped:
        parts.append(f"{report.dropped} dropped: no room in the socket")
    if report.interrupted:
        parts.append("interrupted")
    return "; ".join(parts)


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[int, int | None], None]]:
    """Yield a callback that draws a bar on a terminal and writes a line now and then elsewhere."""
    if not console.is_terminal:
        yield plain_progress(lambda line: print(line, file=sys.stderr, flush=True))
        return
    columns = (TextColumn("replay"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("replay", total=None)
        yield lambda frames, total: bar.update(task, completed=frames, total=total)


def plain_progress(
    write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
) -> Callable[[int, int | None], None]:
    """Return a callback that writes one line every five seconds."""
    next_at = clock() + PLAIN_LINE_S

    def show(frames: int, total: int | None) -> None:
        nonlocal next_at
        if clock() >= next_at:
            next_at = clock() + PLAIN_LINE_S
            write(f"{frames} frames" if total is None else f"{frames} of {total} frames")

    return show

"""`dscsnet replay`: publish a recording as if a camera sent it."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import typer

from dscsnet.engines.cold_start import HINT
from dscsnet.pipeline.commands.options import (
    AllowOption,
    InsecureOption,
    KeyOption,
    ServerOption,
    make_channel,
)
from dscsnet.pipeline.commands.progress import new_console, progress_bar, summary
from dscsnet.pipeline.commands.replay_options import (
    DEFAULT_DETECTIONS_ENDPOINT,
    DEFAULT_ENDPOINT,
    DEFAULT_RATE_HZ,
    DEFAULT_STREAM,
    AllowMixedSizesOption,
    BindOption,
    DetectionsBindOption,
    DetectionsEndpointOption,
    DetectionsOption,
    EndpointOption,
    ExactOption,
    KindOption,
    LoopOption,
    PeersOption,
    RateOption,
    RecordedOption,
    SaturationOption,
    SourcesArgument,
    SpeedOption,
    StartOption,
    StartTimeOption,
    StopOption,
    StopTimeOption,
    StreamOption,
    WaitOption,
)
from dscsnet.pipeline.process.signals import stop_on_signals
from dscsnet.pipeline.recording.reader import RecordingReader, is_recording, recording_files
from dscsnet.pipeline.replay import PlaySettings, Range, ReplaySettings, play_recording, run_replay
from dscsnet.pipeline.sources import Source, open_source


def replay(
    sources: SourcesArgument,
    *,
    rate: RateOption = None,
    recorded: RecordedOption = None,
    speed: SpeedOption = 1.0,
    loop: LoopOption = 1,
    start: StartOption = 0,
    stop: StopOption = None,
    start_time: StartTimeOption = None,
    stop_time: StopTimeOption = None,
    stream: StreamOption = None,
    endpoint: EndpointOption = DEFAULT_ENDPOINT,
    bind: BindOption = True,
    kind: KindOption = "pubsub",
    detections: DetectionsOption = "recorded",
    detections_endpoint: DetectionsEndpointOption = DEFAULT_DETECTIONS_ENDPOINT,
    detections_bind: DetectionsBindOption = True,
    exact: ExactOption = False,
    peers: PeersOption = 1,
    wait: WaitOption = 10.0,
    saturation: SaturationOption = None,
    allow_mixed_sizes: AllowMixedSizesOption = False,
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
    ends = partial(make_channel, kind=kind, key=key, server=server, allow=allow, insecure=insecure)
    channel = ends(endpoint, bind)
    # One line from here says what is wrong with a file; the library's own would come on top.
    cv2.utils.logging.setLogLevel(0)
    files = recording_files(sources)
    if not files:
        _check_for_frames(sources, start_time, stop_time, detections == "live" or exact)
        opened = open_source(
            sources[0], start=start, stop=stop, allow_mixed_sizes=allow_mixed_sizes
        )
        with opened as source:
            settings = ReplaySettings(
                channel=channel,
                stream=stream or DEFAULT_STREAM,
                rate_hz=_chosen_rate(source, rate, recorded),
                speed=speed,
                loop=loop,
                saturation=saturation,
                expected_peers=peers,
                wait_s=wait,
            )
            _replay_frames(source, settings)
        return
    _check_for_recordings(sources, saturation is not None or allow_mixed_sizes, exact and loop != 1)
    with_detections = detections == "recorded"
    play = PlaySettings(
        frames=channel,
        detections=ends(detections_endpoint, detections_bind) if with_detections else None,
        rate=rate or (None if recorded is False else "recorded"),
        speed=speed,
        loop=loop,
        exact=exact,
        streams=[stream] if stream else [],
        chosen=Range(start, stop, start_time, stop_time),
        expected_peers=peers,
        wait_s=wait,
    )
    _replay_recording(files, play)


def _check_for_frames(
    sources: list[str], start_time: float | None, stop_time: float | None, for_recordings: bool
) -> None:
    """Refuse what makes sense for recordings only."""
    if len(sources) > 1:
        raise typer.BadParameter("several sources are for recordings (.mcap) only; give a glob")
    if start_time is not None or stop_time is not None or for_recordings:
        raise typer.BadParameter(
            "--start-time, --stop-time, --detections and --exact are for recordings (.mcap)"
        )


def _check_for_recordings(sources: list[str], for_frames: bool, repeats: bool) -> None:
    """Refuse what makes no sense for recordings."""
    if others := [source for source in sources if not is_recording(source)]:
        raise typer.BadParameter(f"recordings and other sources do not mix: {others[0]}")
    if for_frames:
        raise typer.BadParameter("--saturation and --allow-mixed-sizes are not for recordings")
    if repeats:
        raise typer.BadParameter("--exact excludes --loop: a pass would repeat the last one's")


def _replay_frames(source: Source, settings: ReplaySettings) -> None:
    console, say = new_console()
    where = f"stream {settings.stream} on {settings.channel.endpoint}"
    say(f"{_describe(source, settings.rate_hz, settings.speed)}; {where}")
    _say_whom_for(say, settings.expected_peers, settings.wait_s)
    with stop_on_signals() as stop, progress_bar(console) as progress:
        report = run_replay(source, settings, stop=stop, progress=progress)
    say(summary(report))


def _replay_recording(files: list[Path], settings: PlaySettings) -> None:
    console, say = new_console()
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
    with stop_on_signals() as stopped, progress_bar(console) as progress:
        report = play_recording(reader, settings, stop=stopped, progress=progress)
    say(summary(report))


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

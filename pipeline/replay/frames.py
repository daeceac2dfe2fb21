"""Publishes the frames of a source as a camera would: one stream, one epoch, frame_id +1 each."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal

from dscsnet.pipeline.errors import SourceError
from dscsnet.pipeline.messages import End, Frame, Message, new_epoch
from dscsnet.pipeline.replay.pacing import Pacer, recorded_offset_ns
from dscsnet.pipeline.replay.report import (
    END_AFTER_STOP_MS,
    LATE_NS,
    STOP_POLL_MS,
    Progress,
    ReplayReport,
    too_few,
)
from dscsnet.pipeline.sockets import Channel, Sender
from dscsnet.pipeline.sockets.peers import await_peers
from dscsnet.pipeline.sources import Source, SourceFrame


@dataclass(frozen=True)
class ReplaySettings:
    """How to replay frames.

    Attributes:
        channel: where to. Lossless, that is, waiting for slow subscribers, where the replay is not
            paced or the channel is `pushpull`; else what a subscriber has no room for is dropped,
            as a camera does.
        stream: name of the stream.
        rate_hz: frames a second; "recorded": the source's own times or rate; None: as fast as the
            subscribers take them.
        speed: a recorded rate is played this many times as fast.
        loop: number of passes, 0 for no end; frame_id counts on over passes.
        saturation: the count at which a pixel saturates; None if unknown.
        expected_peers: wait until so many are connected; 0 to start at once. On `pushpull` the
            first one is enough: nothing is lost until the others come.
        wait_s: for how long at most, s.
    """

    channel: Channel
    stream: str
    rate_hz: float | Literal["recorded"] | None = "recorded"
    speed: float = 1.0
    loop: int = 1
    saturation: float | None = None
    expected_peers: int = 1
    wait_s: float = 10.0

    @property
    def is_lossless(self) -> bool:
        """Whether no frame is dropped."""
        return self.rate_hz is None or self.channel.kind == "pushpull"


def run_replay(
    source: Source,
    settings: ReplaySettings,
    *,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
) -> ReplayReport:
    """Publish a source as `frame` messages, then `end`.

    Args:
        stop: ends the replay between two frames when set; `end` is still sent.
        progress: called after each frame with the frames so far and their total (None: unknown).

    Raises:
        SourceError: the source knows no rate that could be recorded, or cannot be read further;
            in the latter case `end` is sent first.
        ChannelError: the socket cannot be opened, or the peers did not come.
    """
    stop = stop or threading.Event()
    pacer = make_pacer(source, settings.rate_hz, settings.speed, stop)
    with Sender(settings.channel, lossless=settings.is_lossless) as sender:
        replay = _Replay(sender, settings, stop)
        if not replay.await_peers():
            return ReplayReport(interrupted=True)
        return replay.run(source, pacer, progress or _no_progress)


def make_pacer(
    source: Source,
    rate_hz: float | Literal["recorded"] | None,
    speed: float,
    stop: threading.Event,
) -> Pacer:
    """Choose between a set rate, none, recorded times and a recorded rate."""
    if rate_hz != "recorded":
        return Pacer(rate_hz, stop=stop)
    if source.timestamps_ns is not None:
        return Pacer(timestamps_ns=source.timestamps_ns, speed=speed, stop=stop)
    if source.rate_hz is None:
        raise SourceError(f"{source.description}: no recorded rate or times; set a rate in hertz")
    return Pacer(source.rate_hz * speed, stop=stop)


def _no_progress(_frames: int, _total: int | None) -> None:
    """Report to nobody."""


class _Replay:
    """One run on one open socket."""

    def __init__(self, sender: Sender, settings: ReplaySettings, stop: threading.Event) -> None:
        self._sender, self._settings, self._stop = sender, settings, stop
        self._epoch = new_epoch()
        self._next_id = 0
        self._last_timestamp_ns = 0
        self._report = ReplayReport()

    def await_peers(self) -> bool:
        """Return False if stopped meanwhile; ChannelError if too few came in time."""
        expected, wait_s = self._settings.expected_peers, self._settings.wait_s
        there = await_peers(self._sender, expected, wait_s, self._stop)
        if there < expected and not self._stop.is_set():
            raise too_few(self._sender.endpoint, there, expected, wait_s)
        return not self._stop.is_set()

    def run(self, source: Source, pacer: Pacer, progress: Progress) -> ReplayReport:
        started, loop = time.monotonic(), self._settings.loop
        total = len(source) * loop if loop and source.frame_count is not None else None
        times = None if source.timestamps_ns is None else source.timestamps_ns.tolist()
        try:
            for frame in self._passes(source, loop):
                late_ns = pacer.wait(self._next_id)
                if late_ns is None or not self._publish(frame, times):
                    break
                self._count_late(late_ns)
                progress(self._next_id, total)
        finally:
            self._report.interrupted = self._stop.is_set()
            if self._next_id:
                self._send_end()
            self._report.seconds = time.monotonic() - started
        return self._report

    def _passes(self, source: Source, loop: int) -> Iterator[SourceFrame]:
        for _pass in range(loop) if loop else count():
            self._report.passes += 1
            yield from source

    def _publish(self, frame: SourceFrame, times: list[int] | None) -> bool:
        """Send one frame; False if stopped before a lossless stream had room for it."""
        # Recorded times go on over passes, so that time never runs backwards within an epoch.
        now = (
            time.time_ns() if times is None else times[0] + recorded_offset_ns(times, self._next_id)
        )
        message = Frame(
            self._settings.stream,
            self._epoch,
            self._next_id,
            now,
            frame.pixels,
            self._settings.saturation,
        )
        if self._send(message):
            self._report.frames += 1
        elif self._settings.is_lossless:
            return False
        else:
            self._report.dropped += 1
        self._next_id += 1
        self._last_timestamp_ns = now
        return True

    def _send(self, message: Message) -> bool:
        if not self._settings.is_lossless:
            return self._sender.send(message)
        while not self._sender.send(message, timeout_ms=STOP_POLL_MS):
            if self._stop.is_set():
                return False
        return True

    def _send_end(self) -> None:
        end = End(self._settings.stream, self._epoch, self._next_id - 1, self._last_timestamp_ns)
        if self._stop.is_set():
            self._sender.hurry(END_AFTER_STOP_MS)
            self._sender.send(end, timeout_ms=END_AFTER_STOP_MS)
        else:
            self._send(end)

    def _count_late(self, late_ns: int) -> None:
        self._report.late += late_ns > LATE_NS
        self._report.worst_late_ms = max(self._report.worst_late_ms, late_ns / 1e6)

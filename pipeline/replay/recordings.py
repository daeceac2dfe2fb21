"""Replays recordings: the messages byte for byte, in order, at their times or as fast as it goes.

A recording goes out under new epochs, since a replay is a start of its publishers and a node does
not answer the same frames twice; only those 16 bytes change. `exact` leaves even them.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal

import msgpack

from dscsnet.pipeline.messages import End, Frame, Message, encode, new_epoch
from dscsnet.pipeline.recording.layout import Buffer, ChannelName
from dscsnet.pipeline.recording.reader import Recorded, RecordingReader
from dscsnet.pipeline.replay.pacing import Pacer
from dscsnet.pipeline.replay.report import (
    END_AFTER_STOP_MS,
    LATE_NS,
    STOP_POLL_MS,
    Progress,
    ReplayReport,
    too_few,
)
from dscsnet.pipeline.replay.selection import Range, Selection
from dscsnet.pipeline.sockets import Channel, Sender
from dscsnet.pipeline.sockets.peers import await_peers

log = logging.getLogger(__name__)

#: Unpaced, so many messages and bytes are read ahead, so that a full channel cannot keep the other
#: one waiting for what is behind it.
AHEAD_MESSAGES, AHEAD_BYTES = 512, 64 * 2**20
#: Longer pauses, as between two recordings, are shortened to `SHORT_PAUSE_NS`.
LONG_PAUSE_NS, SHORT_PAUSE_NS = 60 * 10**9, 10**9
WAIT_MS = 20
_EPOCH_MARK = b"\xa5epoch\xc4\x10"


@dataclass(frozen=True)
class PlaySettings:
    """How to replay a recording.

    Attributes:
        frames: channel of frames and ends.
        detections: channel of the recorded detections; None: a live detector makes them.
        rate: frames a second, "recorded", or None: as fast as the subscribers take them.
        speed: recorded times are played this many times as fast.
        loop: number of passes, 0 for no end.
        exact: keep the recorded epochs.
        streams: only these; none: all.
        chosen: from which frame to which.
        expected_peers, wait_s: subscribers of the frames to wait for, and for how long, s.
    """

    frames: Channel
    detections: Channel | None
    rate: float | Literal["recorded"] | None = "recorded"
    speed: float = 1.0
    loop: int = 1
    exact: bool = False
    streams: Sequence[str] = ()
    chosen: Range = field(default_factory=Range)
    expected_peers: int = 1
    wait_s: float = 10.0


def play_recording(
    reader: RecordingReader,
    settings: PlaySettings,
    *,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
) -> ReplayReport:
    """Publish the frames, detections and ends of a recording; returns what was done.

    Lossless where it is not paced or the channels are `pushpull`, else live, as `run_replay`.

    Raises:
        SourceError: nothing is in the range, or the files cannot be read further (`end` is sent
            first).
        ChannelError: a socket cannot be opened, or the peers did not come.
        ValueError: passes beyond the first need new epochs.
    """
    if settings.exact and settings.loop != 1:
        raise ValueError("exact: a second pass would repeat the frames of the first")
    stop = stop or threading.Event()
    selection = Selection(reader, settings.streams, settings.chosen)
    with ExitStack() as stack:
        lossless = settings.rate is None or settings.frames.kind == "pushpull"
        channels: dict[ChannelName, Channel] = {"frames": settings.frames}
        if settings.detections is not None and reader.times(("detections",)).size:
            channels["detections"] = settings.detections
        elif settings.detections is not None:
            log.warning("%s: no detections in it; a live detector is needed", reader.description)
        senders = {
            source: stack.enter_context(Sender(channel, lossless=lossless))
            for source, channel in channels.items()
        }
        play = _Play(reader, selection, settings, senders, lossless, stop)
        if not play.await_peers():
            return ReplayReport(interrupted=True)
        return play.run(progress or (lambda _frames, _total: None))


class _Play:
    """One run on open sockets."""

    def __init__(
        self,
        reader: RecordingReader,
        selection: Selection,
        settings: PlaySettings,
        senders: dict[ChannelName, Sender],
        lossless: bool,
        stop: threading.Event,
    ) -> None:
        self._reader, self._selection, self._settings = reader, selection, settings
        self._senders, self._lossless, self._stop = senders, lossless, stop
        self._report = ReplayReport()
        self._schedule = _Schedule(settings, stop)
        self._renamed: dict[tuple[str, bytes], bytes] = {}
        self._open: dict[str, Message] = {}  # the last frame of each stream without its end
        self._waiting: dict[ChannelName, deque[tuple[Message, list[Buffer]]]] = {}

    def await_peers(self) -> bool:
        """Return False if stopped meanwhile; ChannelError if too few came in time."""
        wait_s = self._settings.wait_s
        deadline = time.monotonic() + wait_s
        for source, sender in self._senders.items():
            expected = self._settings.expected_peers
            if source == "detections":
                expected = min(expected, 1)
            there = await_peers(sender, expected, deadline - time.monotonic(), self._stop)
            if self._stop.is_set():
                return False
            if there < expected:
                raise too_few(f"{sender.endpoint} ({source})", there, expected, wait_s)
        return True

    def run(self, progress: Progress) -> ReplayReport:
        started = time.monotonic()
        loop = self._settings.loop
        total = self._selection.frames * loop or None
        try:
            while not self._stop.is_set() and (not loop or self._report.passes < loop):
                self._report.passes += 1
                self._pass(lambda: progress(self._report.frames + self._report.dropped, total))
        finally:
            self._report.interrupted = self._stop.is_set()
            self._send_ends()
            self._report.seconds = time.monotonic() - started
        return self._report

    def _pass(self, progress: Callable[[], None]) -> None:
        self._renamed.clear()
        self._schedule.begin()
        try:
            for recorded in self._recorded():
                late_ns = self._schedule.wait(recorded)
                if late_ns is None or not self._publish(recorded):
                    return
                if isinstance(recorded.message, Frame):
                    self._report.late += late_ns > LATE_NS
                    self._report.worst_late_ms = max(self._report.worst_late_ms, late_ns / 1e6)
                    progress()
        finally:
            self._drain()
        self._send_ends()

    def _recorded(self) -> Iterator[Recorded]:
        first_ns, last_ns = self._selection.span()
        messages = self._reader.messages(
            ("frame", "detections", "end"),
            self._settings.streams,
            first_ns=first_ns,
            last_ns=last_ns,
        )
        for recorded in messages:
            if recorded.source in self._senders and self._selection.has(recorded):
                yield recorded

    def _publish(self, recorded: Recorded) -> bool:
        """Send one message, or queue it; False if stopped meanwhile."""
        message, parts = recorded.message, recorded.parts
        if not self._settings.exact:
            parts = [parts[0], self._renew(message, bytes(parts[1])), *parts[2:]]
        if not self._lossless:
            self._count(message, self._senders[recorded.source].send_parts(parts, 0))
            return not self._stop.is_set()
        self._waiting.setdefault(recorded.source, deque()).append((message, parts))
        self._send_waiting()
        while self._is_far_ahead() and not self._stop.is_set():
            if not self._send_waiting():
                self._wait_for_room()
        return not self._stop.is_set()

    def _drain(self) -> None:
        while any(self._waiting.values()) and not self._stop.is_set():
            if not self._send_waiting():
                self._wait_for_room()
        self._waiting.clear()

    def _send_waiting(self) -> bool:
        """Send what there is room for, each channel in its order; returns whether any left."""
        sent = False
        for source, waiting in self._waiting.items():
            sender = self._senders[source]
            while waiting and sender.send_parts(waiting[0][1], 0):
                self._count(waiting.popleft()[0], True)
                sent = True
        return sent

    def _wait_for_room(self) -> None:
        """Wait on the one channel that is full; with two, by turns."""
        for source, waiting in self._waiting.items():
            if waiting and self._senders[source].send_parts(waiting[0][1], WAIT_MS):
                self._count(waiting.popleft()[0], True)

    def _is_far_ahead(self) -> bool:
        waiting = [parts for queue in self._waiting.values() for _, parts in queue]
        size = sum(len(part) for parts in waiting for part in parts)
        return len(waiting) >= AHEAD_MESSAGES or size >= AHEAD_BYTES

    def _count(self, message: Message, sent: bool) -> None:
        if isinstance(message, Frame):
            self._report.frames += sent
            self._report.dropped += not sent
            self._open[message.stream] = message
        elif isinstance(message, End):
            last = self._open.get(message.stream)
            if last is not None and last.epoch == message.epoch:
                del self._open[message.stream]

    def _renew(self, message: Message, header: bytes) -> bytes:
        """Return the map under the epoch of this replay."""
        epoch = self._epoch(message)
        if header.count(_EPOCH_MARK + message.epoch) == 1:
            return header.replace(_EPOCH_MARK + message.epoch, _EPOCH_MARK + epoch)
        return bytes(msgpack.packb(msgpack.unpackb(header) | {"epoch": epoch}))

    def _epoch(self, message: Message) -> bytes:
        if self._settings.exact:
            return message.epoch
        return self._renamed.setdefault((message.stream, message.epoch), new_epoch())

    def _send_ends(self) -> None:
        """End the streams whose recorded end is missing or beyond the range."""
        sender = self._senders["frames"]
        for message in self._open.values():
            end = End(message.stream, self._epoch(message), message.frame_id, message.timestamp_ns)
            parts = encode(end)
            if self._stop.is_set():
                sender.hurry(END_AFTER_STOP_MS)
                sender.send_parts(parts, END_AFTER_STOP_MS)
                continue
            while not sender.send_parts(parts, STOP_POLL_MS if self._lossless else 0):
                if self._stop.is_set() or not self._lossless:
                    break
        self._open.clear()


class _Schedule:
    """When each message is due."""

    def __init__(self, settings: PlaySettings, stop: threading.Event) -> None:
        rate = None if settings.rate == "recorded" else settings.rate
        self._pacer = Pacer(rate, stop=stop)
        self._recorded, self._speed = settings.rate == "recorded", settings.speed
        self._frames = 0
        self._offset_ns = 0
        self._last_ns: int | None = None

    def begin(self) -> None:
        """A new pass follows."""
        if self._last_ns is not None:
            self._offset_ns += SHORT_PAUSE_NS
        self._last_ns = None

    def wait(self, recorded: Recorded) -> int | None:
        """Wait until a message is due; returns as `Pacer.wait`."""
        if not self._recorded:
            # Detections go out with the frame that was recorded before them.
            self._frames += isinstance(recorded.message, Frame)
            return self._pacer.wait(max(0, self._frames - 1))
        pause = 0 if self._last_ns is None else recorded.log_time - self._last_ns
        self._last_ns = recorded.log_time
        if pause > LONG_PAUSE_NS:
            log.warning("a pause of %.0f s is shortened to one of 1 s", pause * 1e-9)
            pause = SHORT_PAUSE_NS
        self._offset_ns += pause
        return self._pacer.wait_for(round(self._offset_ns / self._speed))

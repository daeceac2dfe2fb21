"""Shows what a node publishes: statistics, one line or one JSON object a message, and the loop."""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from itertools import islice
from typing import Any, Protocol, TextIO

import msgspec
import numpy as np

from pipeline.errors import ChannelError, MessageError
from pipeline.messages import End, Message, Status, Targets

POLL_MS = 100  # how long the loop may keep Ctrl-C waiting
RATE_WINDOW_S = 5.0
LATENCY_WINDOW = 1000  # frames
SHOWN_TARGETS = 3
COLUMNS = ("stream", "frame", "status", "spots", "targets", "total ms", "x, y: intensity")
WIDTHS = (12, 8, 13, 5, 7, 8, 0)

logger = logging.getLogger(__name__)
Shown = Targets | End | Status


class Statistics:
    """Counts what came, and how fast; bounded, however long it runs.

    Attributes:
        frames: `targets` messages.
        targets: targets in them.
        statuses: frames by status.
        rejected: malformed messages by reason.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.targets = 0
        self.statuses: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self._total_ms: deque[float] = deque(maxlen=LATENCY_WINDOW)
        self._arrivals: deque[float] = deque()

    def add(self, message: Targets, now_s: float) -> None:
        """Count one frame that came at `now_s`, in seconds of any steady clock."""
        self.frames += 1
        self.targets += len(message.targets.x)
        self.statuses[message.status] += 1
        self._total_ms.append(message.timing.total / 1e6)
        self._arrivals.append(now_s)
        self._forget_arrivals(now_s)

    def rate_hz(self, now_s: float) -> float:
        """Return the frames a second over the last five seconds; 0 before the second frame."""
        self._forget_arrivals(now_s)
        if len(self._arrivals) < 2:
            return 0.0
        # Up to now, not up to the last arrival: a stream that has stopped must not look alive.
        span = now_s - self._arrivals[0]
        return (len(self._arrivals) - 1) / span if span > 0 else 0.0

    def latency_ms(self) -> tuple[float, float, float] | None:
        """Return the 50th, 95th and 99th percentile of `timing.total` of the last 1000 frames."""
        if not self._total_ms:
            return None
        median, high, highest = np.percentile(self._total_ms, [50, 95, 99])
        return float(median), float(high), float(highest)

    def summary(self, now_s: float | None = None) -> str:
        """Return one line for people; with the present rate if a time is given."""
        parts = [f"{self.frames} frames{_listed(self.statuses)}", f"{self.targets} targets"]
        if now_s is not None:
            parts.append(f"{self.rate_hz(now_s):.1f} Hz")
        latency = self.latency_ms()
        if latency is not None:
            parts.append("total p50 {:.2f} ms, p95 {:.2f} ms, p99 {:.2f} ms".format(*latency))
        if self.rejected:
            parts.append(f"{self.rejected.total()} malformed messages{_listed(self.rejected)}")
        return " | ".join(parts)

    def _forget_arrivals(self, now_s: float) -> None:
        while self._arrivals and self._arrivals[0] < now_s - RATE_WINDOW_S:
            self._arrivals.popleft()


def _listed(counts: Counter[str]) -> str:
    listed = ", ".join(f"{name} {number}" for name, number in counts.most_common())
    return f" ({listed})" if listed else ""


def json_line(message: Shown) -> str:
    """Return a message as one line of JSON: epoch in hexadecimal, NaN as null, every column."""
    fields: dict[str, Any] = msgspec.to_builtins(message, builtin_types=(bytes,))
    fields["epoch"] = message.epoch.hex()
    if isinstance(message, Targets):
        fields["reason"] = message.reason  # the wire leaves it out where it is empty
    return msgspec.json.encode(fields).decode()


def row(message: Shown) -> tuple[str, ...]:
    """Return the cells of one message, as in `COLUMNS`."""
    if isinstance(message, Targets):
        return (
            message.stream,
            str(message.frame_id),
            message.status,
            str(len(message.spots.x)),
            str(len(message.targets.x)),
            f"{message.timing.total / 1e6:.2f}",
            _first_targets(message) or _printable(message.reason),
        )
    if isinstance(message, End):
        return (message.stream, str(message.frame_id), "end", "", "", "", "the stream is complete")
    body = msgspec.json.encode(message.body).decode()
    return (message.stream, str(message.frame_id), "heartbeat", "", "", "", body)


def _first_targets(message: Targets) -> str:
    table = message.targets
    columns = zip(table.x, table.y, table.intensity, strict=True)
    cells = [f"{x:.2f}, {y:.2f}: {flux:.1f}" for x, y, flux in islice(columns, SHOWN_TARGETS)]
    more = len(table.x) - len(cells)
    return "  ".join(cells) + (f"  +{more}" if more else "")


def _printable(text: str) -> str:
    """A reason comes from outside: no line breaks or terminal control codes from there."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def text_line(cells: tuple[str, ...]) -> str:
    """Return cells as one line with aligned columns."""
    aligned = [cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)]
    return "  ".join(aligned).rstrip()


class Display(Protocol):
    """Shows messages as they come."""

    def show(self, message: Shown) -> None:
        """Take one message."""

    def tick(self) -> None:
        """Called several times a second, whether anything came or not."""


class LineDisplay:
    """Writes each message as one line, at once."""

    def __init__(self, stream: TextIO, line: Callable[[Shown], str], header: str = "") -> None:
        self._stream = stream
        self._line = line
        if header:
            self._write(header)

    def show(self, message: Shown) -> None:
        """Write one line."""
        self._write(self._line(message))

    def tick(self) -> None:
        """Do nothing: every line is out already."""

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def json_display(stream: TextIO) -> LineDisplay:
    """Return a display of JSON lines."""
    return LineDisplay(stream, json_line)


def text_display(stream: TextIO) -> LineDisplay:
    """Return a display of plain aligned lines under one header."""
    return LineDisplay(stream, lambda message: text_line(row(message)), text_line(COLUMNS))


def run_listen(
    receive: Callable[[int], Message | None],
    display: Display,
    statistics: Statistics,
    *,
    source: str,
    streams: Collection[str] = (),
    heartbeats: bool = False,
    count: int | None = None,
    exit_on_end: bool = False,
    timeout_s: float | None = None,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Show messages until told to stop.

    Args:
        receive: waits so many milliseconds for a message; None if none came; raises MessageError
            on a malformed one (counted, and logged once a reason).
        display: where they are shown.
        statistics: what they are counted in.
        source: names where they come from, in errors.
        streams: only these; empty for all.
        heartbeats: show the `status` messages of nodes, too; these belong to no stream.
        count: end after so many frames.
        exit_on_end: end with the first `end` message.
        timeout_s: fail when nothing to show came for so long, in seconds.
        stop: ends the loop when set.
        clock: seconds, steady.

    Raises:
        ChannelError: nothing to show came for `timeout_s`.
        BrokenPipeError: the reader of the display went away.
    """
    stop = stop or threading.Event()
    heard = clock()
    while not stop.is_set():
        message = _receive(receive, statistics)
        display.tick()
        if message is None:
            if timeout_s is not None and clock() - heard >= timeout_s:
                raise ChannelError(
                    f"{source}: no message for {timeout_s:g} s; is the node running, "
                    "and does it publish there?"
                )
            continue
        if not isinstance(message, Shown) or not _is_wanted(message, streams, heartbeats):
            continue
        heard = clock()
        if isinstance(message, Targets):
            statistics.add(message, heard)
        display.show(message)
        if count is not None and statistics.frames >= count:
            return
        if exit_on_end and isinstance(message, End):
            return


def _is_wanted(message: Shown, streams: Collection[str], heartbeats: bool) -> bool:
    if isinstance(message, Status):
        return heartbeats
    return not streams or message.stream in streams


def _receive(receive: Callable[[int], Message | None], statistics: Statistics) -> Message | None:
    try:
        return receive(POLL_MS)
    except MessageError as error:
        if error.reason not in statistics.rejected:
            logger.warning("malformed message (%s): %s", error.reason, error)
        statistics.rejected[error.reason] += 1
        return None

"""Messages of a node as lines: aligned columns for people, JSON for programs."""

from collections.abc import Callable
from itertools import islice
from typing import Any, Protocol, TextIO

import msgspec

from dscsnet.pipeline.messages import End, Status, Targets

SHOWN_TARGETS = 3


COLUMNS = ("stream", "frame", "status", "spots", "targets", "total ms", "x, y: intensity")


WIDTHS = (12, 8, 13, 5, 7, 8, 0)


Shown = Targets | End | Status


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

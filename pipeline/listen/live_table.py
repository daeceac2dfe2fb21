"""The last messages of a node as a table that stays in its place on the terminal."""

import time
from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Console, JustifyMethod
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dscsnet.pipeline.listen.display import COLUMNS, WIDTHS, Shown, row
from dscsnet.pipeline.listen.statistics import Statistics

REDRAW_S = 0.1
NUMERIC = ("frame", "spots", "targets", "total ms")


class LiveTable:
    """A `Display` on a terminal; a context manager.

    Redrawn from the caller's own thread at most ten times a second, however fast frames come.
    """

    def __init__(self, console: Console, statistics: Statistics, rows: int) -> None:
        self._statistics = statistics
        self._rows: deque[tuple[str, ...]] = deque(maxlen=rows)
        self._drawn_at = 0.0
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._live.update(self.table(), refresh=True)
        self._live.stop()

    def show(self, message: Shown) -> None:
        """Put a message in the last row."""
        self._rows.append(row(message))

    def tick(self) -> None:
        """Redraw, if the last time is long enough ago."""
        if time.monotonic() - self._drawn_at >= REDRAW_S:
            self._live.update(self.table(), refresh=True)
            self._drawn_at = time.monotonic()

    def table(self) -> Table:
        """Return the table as it stands now."""
        caption = self._statistics.summary(time.monotonic())
        table = Table(caption=caption, caption_justify="left", expand=True)
        for name, width in zip(COLUMNS, WIDTHS, strict=True):
            justify: JustifyMethod = "right" if name in NUMERIC else "left"
            # The last column takes what is left, so that only it gives way where that is little.
            table.add_column(
                name,
                justify=justify,
                no_wrap=True,
                min_width=width,
                ratio=None if width else 1,
            )
        for cells in self._rows:
            table.add_row(*map(Text, cells))  # never taken for rich markup
        return table

"""How far a long command is: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dscsnet.pipeline.replay import ReplayReport

PLAIN_LINE_S = 5.0


def new_console() -> tuple[Console, Callable[[str], None]]:
    """The terminal on standard error, and how to print a line of plain text on it."""
    console = Console(stderr=True)
    return console, partial(console.print, highlight=False, markup=False, soft_wrap=True)


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
def progress_bar(console: Console) -> Iterator[Callable[[int, int | None], None]]:
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

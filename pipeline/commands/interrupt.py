"""Turns Ctrl-C and SIGTERM into an event, so that a command can end its stream properly.

And SIGHUP into a call, for commands that read their configuration again.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Yield an event that the first SIGINT or SIGTERM sets; a second one acts as it always did."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        restore()

    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        restore()


@contextmanager
def reload_on_hangup(reload: Callable[[], None], stop: threading.Event) -> Iterator[None]:
    """Have SIGHUP call `reload`, which must return at once; a closed terminal sets `stop`.

    The kernel sends that signal when the terminal is closed, too: then the terminal is gone. Under
    `nohup` the command outlives it, as is asked for there.
    """
    before = signal.getsignal(signal.SIGHUP)
    leave_with_terminal = before == signal.SIG_DFL and _has_terminal()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if leave_with_terminal and not _has_terminal():
            stop.set()
        else:
            reload()

    signal.signal(signal.SIGHUP, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True

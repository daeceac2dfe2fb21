"""Turns Ctrl-C and SIGTERM into an event, so that a command can end its stream properly.

And SIGHUP into a call, for commands that read their configuration again.
"""

import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def set_by_handler(event: threading.Event) -> Iterator[Callable[[], None]]:
    """Yield what a signal's handler calls to set an event; another thread then sets it.

    The event has a lock. A handler runs in the main thread between any two of its steps, so that
    it may come while that thread, about to wait, holds the lock: it would wait for itself.
    """
    calls: queue.SimpleQueue[bool] = queue.SimpleQueue()  # may be put to within a put

    def serve() -> None:
        if calls.get():
            event.set()

    thread = threading.Thread(target=serve, name="signals", daemon=True)
    thread.start()
    try:
        yield lambda: calls.put(True)
    finally:
        calls.put(False)
        thread.join()


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Yield an event that the first SIGINT or SIGTERM sets; a second one acts as it always did."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    with set_by_handler(stop) as set_stop:

        def handle(_number: int, _frame: FrameType | None) -> None:
            set_stop()
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

    with set_by_handler(stop) as set_stop:

        def handle(_number: int, _frame: FrameType | None) -> None:
            if leave_with_terminal and not _has_terminal():
                set_stop()
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

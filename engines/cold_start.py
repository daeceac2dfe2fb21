"""Says that loops are being compiled, and how long it took; of several processes one does it.

Which loops have to be compiled shows only as they are called, so a program states what its start
is, and the cache of compiled loops (`engines.compiled`) reports what it does not have.
"""

import fcntl
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol, TypeVar

log = logging.getLogger(__name__)

Found = TypeVar("Found")

#: For those who wait for a program that may have to compile.
HINT = "first start compiles for about half a minute"
#: A process that compiles is waited for so long at most; then this one does so, too.
LONGEST_WAIT_S = 120.0
_POLL_S = 0.1
_LOCK = ".lock"


class Folder(Protocol):
    """What is asked of a folder of compiled loops."""

    @property
    def writable(self) -> Path | None: ...
    @property
    def is_empty(self) -> bool: ...


class _Start:
    """What one start compiles, and the lock that keeps other processes from doing the same."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._loops, self._began = 0, 0.0
        self._lock: IO[str] | None = None
        self._waits = True

    def before_compiling(
        self, folder: Folder, look_again: Callable[[], Found | None]
    ) -> Found | None:
        if self._lock is None and self._waits and (place := folder.writable) is not None:
            self._take(place / _LOCK)
            # Another process may have compiled it meanwhile.
            if (found := look_again()) is not None:
                self._release()
                return found
        if self._loops == 0:
            self._began = time.monotonic()
            self._say(
                "compiling the numerical loops, once, about half a minute"
                if folder.is_empty
                else "compiling further numerical loops, once, up to half a minute"
            )
        self._loops += 1
        return None

    def end(self) -> None:
        """Say how long it took."""
        if self._loops:
            loops = f"{self._loops} numerical loop{'s' if self._loops > 1 else ''}"
            self._say(f"compiled {loops} in {time.monotonic() - self._began:.1f} s")

    def _take(self, path: Path) -> None:
        """Lock the folder, waiting for a process that has; without it, if that takes too long."""
        try:
            self._lock = path.open("w")
        except OSError:
            self._waits = False
            return
        deadline, told = time.monotonic() + LONGEST_WAIT_S, False
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                given_up = time.monotonic() > deadline
            except OSError:  # a file system without locks
                given_up = True
            if given_up:
                self._waits = False
                self._release()
                return
            if not told:
                self._say("another process compiles the numerical loops; waiting for it")
                told = True
            time.sleep(_POLL_S)

    def _release(self) -> None:
        """Let others go on; the lock goes with its file."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    close = _release


_start: _Start | None = None


@contextmanager
def announced(say: Callable[[str], None]) -> Iterator[None]:
    """A start: `say` is told when loops have to be compiled, and how long it took.

    Another process that starts meanwhile waits, and finds them compiled. Where all of them are
    there, nothing is said.
    """
    global _start  # noqa: PLW0603 - what is compiled is known to be of this start by its time only
    before, _start = _start, _Start(say)
    try:
        yield
        _start.end()
    finally:
        _start.close()
        _start = before


def before_compiling(folder: Folder, look_again: Callable[[], Found | None]) -> Found | None:
    """To be called with what looks into the cache, which has not got a loop; None: compile it."""
    if _start is not None:
        return _start.before_compiling(folder, look_again)
    log.info("compiling a numerical loop")
    return None

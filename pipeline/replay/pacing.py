"""Releases frames at a steady rate or at their recorded times, without drift."""

import threading
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

# The coarse wait, which an event can interrupt, wakes up some tenths of a millisecond late; it
# ends this much early and a short sleep covers the rest. No time is spent spinning.
FINE_WAIT_NS = 1_000_000
MAX_LAG_NS = 1_000_000_000


class Clock(Protocol):
    """What a pacer needs of time; tests put in their own."""

    def now_ns(self) -> int:
        """Return a time that never runs backwards, in nanoseconds."""

    def sleep(self, seconds: float) -> None:
        """Sleep for a short time."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for the event, at most this long; return whether it is set."""


class MonotonicClock:
    """The machine's own clock."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds)


class Pacer:
    """Holds frame k back until it is due.

    Due times are absolute: the start (the first call of `wait`) plus k / rate, or plus the time
    recorded between frame 0 and frame k. So one slow frame delays no later ones, and rounding
    does not add up. Frames that are behind go out at once, until the schedule is caught up with;
    where it is more than `MAX_LAG_NS` behind, it is moved instead, so that a long halt is not
    followed by a long burst.

    Attributes:
        moves: how often the schedule was moved.
    """

    def __init__(
        self,
        rate_hz: float | None = None,
        *,
        timestamps_ns: Sequence[int] | NDArray[np.integer] | None = None,
        speed: float = 1.0,
        stop: threading.Event | None = None,
        clock: Clock | None = None,
    ) -> None:
        """
        Args:
            rate_hz: frames a second; None with `timestamps_ns` None: every frame is due at once.
            timestamps_ns: recorded time of each frame of one pass, never falling; instead of a
                rate. Further passes follow at one mean frame interval.
            speed: the recorded times are played this many times as fast.
            stop: ends a wait when set.
            clock: the machine's monotonic clock by default.

        Raises:
            ValueError: rate and timestamps are both given, or rate or speed is not positive.
        """
        if rate_hz is not None and timestamps_ns is not None:
            raise ValueError("a pacer takes a rate or timestamps, not both")
        for name, value in (("rate_hz", rate_hz), ("speed", speed)):
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name}: expected a positive number, got {value}")
        self._rate_hz = rate_hz
        self._times = None if timestamps_ns is None else [int(time) for time in timestamps_ns]
        self._speed = speed
        self._stop = stop or threading.Event()
        self._clock = clock or MonotonicClock()
        self._start_ns: int | None = None
        self.moves = 0

    def offset_ns(self, index: int) -> int:
        """Return when frame `index` is due after frame 0; indices count on over passes."""
        if self._times is not None:
            return round(recorded_offset_ns(self._times, index) / self._speed)
        return 0 if self._rate_hz is None else round(index * 1e9 / self._rate_hz)

    def wait(self, index: int) -> int | None:
        """Wait until frame `index` is due.

        Returns:
            How late it is now, in ns, at least 0 (0 where frames are due at once);
            None if `stop` was set.
        """
        if self._rate_hz is None and self._times is None:
            return None if self._stop.is_set() else 0
        return self.wait_for(self.offset_ns(index))

    def wait_for(self, offset: int) -> int | None:
        """Wait until `offset` ns after the start, which the first wait sets; returns as `wait`."""
        if self._start_ns is None:
            self._start_ns = self._clock.now_ns() - offset
        due = self._start_ns + offset
        if not self._sleep_until(due):
            return None
        late = self._clock.now_ns() - due
        if late > MAX_LAG_NS:
            self._start_ns += late
            self.moves += 1
        return late

    def _sleep_until(self, due_ns: int) -> bool:
        while (left := due_ns - self._clock.now_ns()) > FINE_WAIT_NS:
            if self._clock.wait(self._stop, (left - FINE_WAIT_NS) * 1e-9):
                return False
        while (left := due_ns - self._clock.now_ns()) > 0:
            self._clock.sleep(left * 1e-9)
        return not self._stop.is_set()


def recorded_offset_ns(times_ns: Sequence[int], index: int) -> int:
    """Return the recorded time of frame `index` after frame 0, of a recording played in a loop.

    Args:
        times_ns: recorded time of each frame of one pass, not empty, never falling.
        index: counts on over passes; each pass follows the one before at the mean interval.
    """
    passes, place = divmod(index, len(times_ns))
    span = times_ns[-1] - times_ns[0]
    mean_interval = span // max(len(times_ns) - 1, 1)
    return passes * (span + mean_interval) + times_ns[place] - times_ns[0]

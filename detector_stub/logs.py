"""Log lines as `event key=value ...`, and a limit on how often one event is reported."""

import logging
import time
from collections.abc import Callable

from engines.cold_start import HINT


def set_up(level: str) -> None:
    """Log to standard error, one line an event, times in UTC.

    Args:
        level: `debug`, `info`, `warning` or `error`.
    """
    handler = logging.StreamHandler()
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logger = logging.getLogger("detector_stub")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level.upper())


def line(event: str, **values: object) -> str:
    """Format an event; texts with spaces are quoted."""
    return " ".join([event, *(f"{key}={_value(value)}" for key, value in values.items())])


def waiting_line(subscribers: int, longest_s: float) -> str:
    """Format what a publisher waits for before its first message."""
    return line(
        "waiting_for_subscribers", number=subscribers, longest_s=longest_s, note=f"a node's {HINT}"
    )


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return repr(text) if not text or " " in text else text


class RateLimitedLog:
    """Reports each event at most once in an interval, with the number left out since.

    Args:
        logger: where to.
        interval_s: least time between two lines about one event, s.
        clock: seconds that never run backwards.
    """

    def __init__(
        self,
        logger: logging.Logger,
        interval_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger, self._interval, self._clock = logger, interval_s, clock
        self._last: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def warning(self, event: str, **values: object) -> None:
        """Report an event, or count it where it was reported a moment ago."""
        now = self._clock()
        if event in self._last and now - self._last[event] < self._interval:
            self._left_out[event] = self._left_out.get(event, 0) + 1
            return
        self._last[event] = now
        left_out = self._left_out.pop(event, 0)
        self._logger.warning(line(event, **values, **({"left_out": left_out} if left_out else {})))

"""Structured logs on standard error, as text or one JSON object a line, and a rate limit."""

import json
import logging
import math
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, and the traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def set_up_logging(level: str = "info", form: str = "text") -> None:
    """Send all log records of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
        )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def line(event: str, **values: object) -> str:
    """Format an event as `event key=value ...`; texts with spaces are quoted."""
    return " ".join([event, *(f"{key}={_value(value)}" for key, value in values.items())])


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return repr(text) if not text or " " in text else text


class RateLimitedLog:
    """Logs at most one record a reason and period, and says how many were left out.

    Args:
        logger: where to.
        period_s: least time between two records of one reason, s.
        clock: seconds that never run backwards.
    """

    def __init__(
        self,
        logger: logging.Logger,
        period_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger, self._period_s, self._clock = logger, period_s, clock
        self._last: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}
        self._lock = threading.Lock()

    def warning(self, reason: str, detail: str) -> None:
        """Log `detail` unless one of the same `reason` was logged within the period."""
        self._log(logging.WARNING, reason, f"{reason}: {detail}", None)

    def event(self, event: str, **values: object) -> None:
        """Likewise warn of an event, in the form of `line`."""
        self._log(logging.WARNING, event, line(event, **values), None)

    def error(self, reason: str, detail: str, error: BaseException | None = None) -> None:
        """Likewise as an error, with the traceback of `error` if one is given."""
        self._log(logging.ERROR, reason, f"{reason}: {detail}", error)

    def _log(self, level: int, reason: str, text: str, error: BaseException | None) -> None:
        with self._lock:
            now = self._clock()
            if now - self._last.get(reason, -math.inf) < self._period_s:
                self._suppressed[reason] = self._suppressed.get(reason, 0) + 1
                return
            self._last[reason] = now
            suppressed = self._suppressed.pop(reason, 0)
        more = f" (and {suppressed} more like it)" if suppressed else ""
        self._logger.log(level, "%s%s", text, more, exc_info=error)

"""Where the log lines of the detector and the simulator go, and what they look like."""

import logging
import time

from dscsnet.engines.cold_start import HINT
from dscsnet.pipeline.process.logs import line


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
    logger = logging.getLogger("dscsnet")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level.upper())


def waiting_line(subscribers: int, longest_s: float) -> str:
    """Format what a publisher waits for before its first message."""
    return line(
        "waiting_for_subscribers", number=subscribers, longest_s=longest_s, note=f"a node's {HINT}"
    )

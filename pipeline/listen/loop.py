"""Shows what a node publishes: statistics, one line or one JSON object a message, and the loop."""

import logging
import threading
import time
from collections.abc import Callable, Collection

from dscsnet.pipeline.errors import ChannelError, MessageError
from dscsnet.pipeline.listen.display import Display, Shown
from dscsnet.pipeline.listen.statistics import Statistics
from dscsnet.pipeline.messages import End, Message, Status, Targets

POLL_MS = 100  # how long the loop may keep Ctrl-C waiting

logger = logging.getLogger(__name__)


def run_listen(
    receive: Callable[[int], Message | None],
    display: Display,
    statistics: Statistics,
    *,
    source: str,
    streams: Collection[str] = (),
    heartbeats: bool = False,
    count: int | None = None,
    exit_on_end: bool = False,
    timeout_s: float | None = None,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Show messages until told to stop.

    Args:
        receive: waits so many milliseconds for a message; None if none came; raises MessageError
            on a malformed one (counted, and logged once a reason).
        display: where they are shown.
        statistics: what they are counted in.
        source: names where they come from, in errors.
        streams: only these; empty for all.
        heartbeats: show the `status` messages of nodes, too; these belong to no stream.
        count: end after so many frames.
        exit_on_end: end with the first `end` message.
        timeout_s: fail when nothing to show came for so long, in seconds.
        stop: ends the loop when set.
        clock: seconds, steady.

    Raises:
        ChannelError: nothing to show came for `timeout_s`.
        BrokenPipeError: the reader of the display went away.
    """
    stop = stop or threading.Event()
    heard = clock()
    while not stop.is_set():
        message = _receive(receive, statistics)
        display.tick()
        if message is None:
            if timeout_s is not None and clock() - heard >= timeout_s:
                raise ChannelError(
                    f"{source}: no message for {timeout_s:g} s; is the node running, "
                    "and does it publish there?"
                )
            continue
        if not isinstance(message, Shown) or not _is_wanted(message, streams, heartbeats):
            continue
        heard = clock()
        if isinstance(message, Targets):
            statistics.add(message, heard)
        display.show(message)
        if count is not None and statistics.frames >= count:
            return
        if exit_on_end and isinstance(message, End):
            return


def _is_wanted(message: Shown, streams: Collection[str], heartbeats: bool) -> bool:
    if isinstance(message, Status):
        return heartbeats
    return not streams or message.stream in streams


def _receive(receive: Callable[[int], Message | None], statistics: Statistics) -> Message | None:
    try:
        return receive(POLL_MS)
    except MessageError as error:
        if error.reason not in statistics.rejected:
            logger.warning("malformed message (%s): %s", error.reason, error)
        statistics.rejected[error.reason] += 1
        return None

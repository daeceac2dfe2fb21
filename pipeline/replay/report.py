"""What a replay reports, and how soon it stops when it is told to."""

from collections.abc import Callable
from dataclasses import dataclass

from dscsnet.pipeline.errors import ChannelError

LATE_NS = 1_000_000  # a frame counts as late from here on
STOP_POLL_MS = 100  # how long a blocking call may keep Ctrl-C waiting
# Once the replay was stopped, `end` waits so long for room, and as long again to leave.
END_AFTER_STOP_MS = 2_000

#: Called with the frames so far and their total (None: unknown).
Progress = Callable[[int, int | None], None]


def too_few(where: str, there: int, expected: int, wait_s: float) -> ChannelError:
    """The error where not enough subscribers came in time."""
    return ChannelError(
        f"{where}: {there} of {expected} subscribers came within {wait_s:g} s; "
        "start them first, wait longer or expect fewer"
    )


@dataclass
class ReplayReport:
    """What a replay did.

    Attributes:
        frames: frames handed to the socket; the last has frame_id `frames` + `dropped` - 1.
        dropped: frames that the socket had no room for (never in a lossless replay).
        passes: passes begun.
        seconds: from the first frame to the end.
        late: frames sent over 1 ms after they were due.
        worst_late_ms: of all frames.
        interrupted: `stop` was set before the end.
    """

    frames: int = 0
    dropped: int = 0
    passes: int = 0
    seconds: float = 0.0
    late: int = 0
    worst_late_ms: float = 0.0
    interrupted: bool = False

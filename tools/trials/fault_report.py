"""The table of the faults, in Markdown."""

from collections.abc import Iterable

from dscsnet.tools.host.machine import describe
from dscsnet.tools.trials.faults import Outcome

#: Flow must be back this long after the fault's end.
MOST_RECOVERY_S = 2.0

HEAD = """# Faults

What a node does when its surroundings fail. Each row is a real node process between a camera and a
detector, processes too, with a subscriber that counts what it is sent (`tools/trials`).

    {command}

{environment}

Each fault lasted {seconds:g} s. *Received*, *published* and *not unmixed* are the node's own counts
and were found again by the subscriber; *never came* are frame ids that the node did not get and
counted as `lost_upstream`. *Lost silently* is what any of these counts leaves open: it must be 0.
*Back after*: from the moment the peer is back (its sockets are open; the node: ready), or is
continued, to the first frame unmixed; at most {most:g} s.
"""

TABLE = (
    "fault",
    "what the node did",
    "received",
    "published",
    "not unmixed, by reason",
    "never came",
    "lost silently",
    "back after, s",
    "memory, MiB",
)

NOTES = """
- A subscriber that does not read loses messages once its own queue and the node's queue for it
  (`output.targets.high_water_mark`) are full, and only that one does: the gaps in `frame_id` tell
  it. In lossless mode the node waits for it instead, and its inputs block.
- Frames that pass while there is no node are not kept for it: in live mode a camera drops what
  nobody takes. In lossless mode (`pushpull`, or a publisher that waits) they wait at the camera;
  what was inside the node when it was killed has no answer, and the jump in `frame_id` tells.
- A node that has no descriptor left serves those who are connected; who comes waits until one is
  free. With too few to start it ends with one line that says so.
- All waiting and all ages go by the monotonic clock. The clock of the day is only copied: into
  heartbeats, and into the log.
"""


def is_sound(outcome: Outcome) -> bool:
    """Whether nothing was lost silently, no rule was broken and flow came back in time."""
    return not (outcome.silent or outcome.broken or outcome.deed.recovery_s > MOST_RECOVERY_S)


def report(outcomes: Iterable[Outcome], seconds: float, command: str) -> str:
    """A page."""
    rows = [_row(TABLE), _row(["---"] * len(TABLE)), *(_row(cells(each)) for each in outcomes)]
    head = HEAD.format(
        command=command, environment=describe(), seconds=seconds, most=MOST_RECOVERY_S
    )
    return "\n".join([head, *rows]) + "\n" + NOTES


def cells(outcome: Outcome) -> list[str]:
    """One row."""
    dropped = ", ".join(f"{number} {reason}" for reason, number in sorted(outcome.dropped.items()))
    before, after = outcome.memory_mib
    return [
        outcome.fault.title,
        "; ".join([outcome.deed.did, *outcome.broken]),
        str(outcome.received),
        str(outcome.published),
        dropped or "0",
        str(outcome.lost_upstream),
        str(outcome.silent),
        f"{outcome.deed.recovery_s:.2f}",
        f"{before:.0f} to {after:.0f}",
    ]


def _row(texts: Iterable[str]) -> str:
    return "| " + " | ".join(text.replace("|", "/") for text in texts) + " |"

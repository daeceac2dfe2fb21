"""Accounting: every frame key received is published or pending, every loss has a reason.

Counters only grow. `received == published + pending` holds at every moment under the joiner's lock.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

#: Most that a counter on the wire may say; a publisher can skip 2**64 frame ids at once.
MOST_LOST = 2**63 - 1


@dataclass
class Ledger:
    """Counters of one node; docs/architecture.md lists the reasons.

    Attributes:
        received: frame keys seen on either input.
        published: answers by status.
        drops: answers that are not `ok` or `empty`, by reason.
        unanswered: messages that opened no frame key, by reason.
        rejected: malformed messages, by reason.
        lost_upstream: frame ids that never came.
        messages: messages received by kind.
        spots, targets: published in all.
    """

    received: int = 0
    published: Counter[str] = field(default_factory=Counter)
    drops: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    lost_upstream: int = 0
    ends: int = 0
    spots: int = 0
    targets: int = 0

    @property
    def answered(self) -> int:
        """Answers published, whatever their status."""
        return sum(self.published.values())

    def lose(self, frames: int) -> None:
        """Count frame ids that never came."""
        self.lost_upstream = min(self.lost_upstream + frames, MOST_LOST)

    def snapshot(self, pending: int) -> dict[str, Any]:
        """Counters as plain numbers, with the frame keys that still wait."""
        return {
            "received": self.received,
            "published": self.answered,
            "pending": pending,
            "by_status": dict(self.published),
            "drops": dict(self.drops),
            "unanswered": dict(self.unanswered),
            "rejected": dict(self.rejected),
            "messages": dict(self.messages),
            "lost_upstream": self.lost_upstream,
            "ends": self.ends,
            "spots": self.spots,
            "targets": self.targets,
        }

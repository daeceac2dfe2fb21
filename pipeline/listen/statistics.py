"""What came from a node, counted: frames, targets, rate and latency."""

from collections import Counter, deque

import numpy as np

from dscsnet.pipeline.messages import Targets

RATE_WINDOW_S = 5.0


LATENCY_WINDOW = 1000  # frames


class Statistics:
    """Counts what came, and how fast; bounded, however long it runs.

    Attributes:
        frames: `targets` messages.
        targets: targets in them.
        statuses: frames by status.
        rejected: malformed messages by reason.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.targets = 0
        self.statuses: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self._total_ms: deque[float] = deque(maxlen=LATENCY_WINDOW)
        self._arrivals: deque[float] = deque()

    def add(self, message: Targets, now_s: float) -> None:
        """Count one frame that came at `now_s`, in seconds of any steady clock."""
        self.frames += 1
        self.targets += len(message.targets.x)
        self.statuses[message.status] += 1
        self._total_ms.append(message.timing.total / 1e6)
        self._arrivals.append(now_s)
        self._forget_arrivals(now_s)

    def rate_hz(self, now_s: float) -> float:
        """Return the frames a second over the last five seconds; 0 before the second frame."""
        self._forget_arrivals(now_s)
        if len(self._arrivals) < 2:
            return 0.0
        # Up to now, not up to the last arrival: a stream that has stopped must not look alive.
        span = now_s - self._arrivals[0]
        return (len(self._arrivals) - 1) / span if span > 0 else 0.0

    def latency_ms(self) -> tuple[float, float, float] | None:
        """Return the 50th, 95th and 99th percentile of `timing.total` of the last 1000 frames."""
        if not self._total_ms:
            return None
        median, high, highest = np.percentile(self._total_ms, [50, 95, 99])
        return float(median), float(high), float(highest)

    def summary(self, now_s: float | None = None) -> str:
        """Return one line for people; with the present rate if a time is given."""
        parts = [f"{self.frames} frames{_listed(self.statuses)}", f"{self.targets} targets"]
        if now_s is not None:
            parts.append(f"{self.rate_hz(now_s):.1f} Hz")
        latency = self.latency_ms()
        if latency is not None:
            parts.append("total p50 {:.2f} ms, p95 {:.2f} ms, p99 {:.2f} ms".format(*latency))
        if self.rejected:
            parts.append(f"{self.rejected.total()} malformed messages{_listed(self.rejected)}")
        return " | ".join(parts)

    def _forget_arrivals(self, now_s: float) -> None:
        while self._arrivals and self._arrivals[0] < now_s - RATE_WINDOW_S:
            self._arrivals.popleft()


def _listed(counts: Counter[str]) -> str:
    listed = ", ".join(f"{name} {number}" for name, number in counts.most_common())
    return f" ({listed})" if listed else ""

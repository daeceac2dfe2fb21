"""A chain that is played: it notes what is done to it, and its clock is its own.

Sleeping and waiting move the clock, nothing takes time.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from dscsnet.pipeline.config import EngineSettings, NodeConfig
from dscsnet.tools.trials.faults import CALM
from dscsnet.tools.trials.listener import Arrival

SECOND = 1_000_000_000
#: Frames flow again so long after one asks, s.
FLOW_S = 0.3
#: A program says that it is up so long after its start, s; a subscriber gets its first frame.
UP_S, FIRST_S = 1.0, 0.2


def beat(**more: Any) -> dict[str, Any]:
    body = {"unanswered": {"late": 3}, "by_status": {"ok": 100}, "drops": {"window": 2}}
    counts = {"received": 100, "published": 100, "pending": 0, "lost_upstream": 0}
    return {**body, **counts, **more}


class PlayedListener:
    """What the subscriber has seen; pauses are those since a moment."""

    def __init__(self, chain: "PlayedChain") -> None:
        self._chain = chain
        self.last = beat()
        self.life = SimpleNamespace(ends=0, first_ns=None, missed=7)
        self.beats: list[tuple[int, dict[str, Any]]] = []
        self.arrivals = [self._arrival("ok", busy) for busy in (10.0, 20.0, 12.0)]
        self.arrivals += [self._arrival("dropped", 0.0)] * 4

    def _arrival(self, status: str, busy_ms: float) -> Arrival:
        return Arrival(0, status, b"", 0, busy_ms, busy_ms, "m")

    def longest_pause_s(self, since_ns: int) -> float:
        return (self._chain.now - since_ns) / SECOND

    def begin_life(self) -> None:
        self._chain.did.append("another life")
        self.life.first_ns = self._chain.now + 2 * SECOND


class PlayedChain:
    """Notes what is done to it.

    Attributes:
        did: in words, in order.
        now: its clock, ns.
        on_wait: what happens while something is waited for.
    """

    def __init__(self) -> None:
        self.did: list[str] = []
        self.now = 100 * SECOND
        self.setting = CALM
        self.listener = PlayedListener(self)
        self.config = NodeConfig(engine=EngineSettings(psf_sigma=0.6))
        self.written: list[NodeConfig] = []
        self.on_wait: Callable[[], None] = lambda: None
        self.node = SimpleNamespace(
            cpu_s=lambda: self.now / SECOND / 4, most_descriptors=lambda seconds: 33
        )
        self.recording = SimpleNamespace(stat=lambda: SimpleNamespace(st_size=5000))

    def monotonic_ns(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.did.append(f"sleep {seconds:g}")
        self.now += int(seconds * SECOND)

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_") or name not in (
            *("kill", "terminate", "wait", "signal", "start_node", "start_camera"),
            *("start_detector", "start_subscriber"),
        ):
            raise AttributeError(name)

        def note(*given: Any, **more: Any) -> None:
            words = [str(int(v)) if isinstance(v, signal.Signals) else str(v) for v in given]
            words += [f"{key}={value:g}" for key, value in more.items()]
            self.did.append(" ".join([name, *words]))

        return note

    @contextlib.contextmanager
    def stopped(self, part: str) -> Iterator[None]:
        self.did.append(f"stop {part}")
        yield
        self.did.append(f"continue {part}")

    def pid(self, part: str) -> int:
        return 4711

    def said_ns(self, part: str, what: str = "up") -> int:
        self.did.append(f"{part} {what}")
        self.now += int((UP_S if what == "up" else FIRST_S) * SECOND)
        return self.now

    def await_flow(self, since_ns: int | None = None, **wanted: Any) -> Arrival:
        since = "" if since_ns is None else f" since {(self.now - since_ns) / SECOND:g} s"
        self.did.append("flow" + since + "".join(f" {k}" for k in wanted))
        self.now += int(FLOW_S * SECOND)
        return Arrival(self.now, "ok", b"", 0, 1.0, 1.0, "m")

    def await_heartbeats(self, number: int = 1) -> dict[str, Any]:
        self.listener.last = beat(unanswered={"late": 8})
        return self.listener.last

    def await_rest(self) -> dict[str, Any]:
        self.did.append("rest")
        return self.listener.last

    def wait_for(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        self.did.append(f"wait for {what}")
        for _ in range(5):
            if condition():
                return
            self.now += SECOND
            self.on_wait()
        pytest.fail(f"waited in vain for {what}")

    def write_config(self, config: NodeConfig) -> None:
        self.written.append(config)

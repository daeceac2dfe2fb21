"""The publishing thread: heartbeats, retries, what it measures."""

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dscsnet.pipeline.config import Batching, Join, Overload
from dscsnet.pipeline.join import Joiner, Ledger, Ticket
from dscsnet.pipeline.messages import Detections, End, EngineInfo, Frame, Message, Status, Targets
from dscsnet.pipeline.node import outlet as outlet_module
from dscsnet.pipeline.node.outlet import HEARTBEAT_S, RETRY_MS, Outlet
from dscsnet.pipeline.worker import plain_answer

ENGINE = EngineInfo(runtime="none", model="none", sha256="", psf_sigma=0.5)
EPOCH = bytes(16)


class Subscriber:
    """Takes the place of a sender; refuses answers and ends as often as it is told to."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.sent: list[Message] = []
        self.timeouts: list[int] = []

    def send(self, message: Message, timeout_ms: int) -> bool:
        if isinstance(message, Status):
            assert timeout_ms == 0  # a heartbeat is never waited for
        else:
            self.timeouts.append(timeout_ms)
            if self.refusals:
                self.refusals -= 1
                return False
        self.sent.append(message)
        return True


def make_joiner(mode: str = "live", **settings: Any) -> Joiner:
    def answer(ticket: Ticket, status: Any, reason: str) -> Targets:
        return plain_answer(ticket, status, reason, ENGINE)

    overload = Overload(mode=mode)  # type: ignore[arg-type]
    return Joiner(Join(), overload, Batching(), Ledger(), answer, **settings)


def make_outlet(sender: Subscriber, joiner: Joiner, lossless: bool = False) -> Outlet:
    return Outlet(
        sender,  # type: ignore[arg-type]
        joiner,
        lossless=lossless,
        name="node7",
        body=lambda: {"state": "well"},
    )


def test_heartbeats_are_numbered_from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = Subscriber()
    outlet = make_outlet(sender, make_joiner())
    monkeypatch.setattr(outlet_module.time, "time_ns", lambda: 55)
    for _ in range(3):
        outlet.beat()
    assert sender.sent == [
        Status(node="node7", frame_id=number, timestamp_ns=55, body={"state": "well"})
        for number in range(3)
    ]


def test_a_heartbeat_comes_once_a_second_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that goes on by a quarter of a second each time the joiner is asked."""
    now = 100.0
    asked: list[float] = []
    beats: list[float] = []

    def due(timeout_s: float) -> list[Any]:
        nonlocal now
        asked.append(timeout_s)
        now += 0.25
        return []

    joiner = SimpleNamespace(due=due, drained=lambda: len(asked) == 9)
    clock = SimpleNamespace(
        monotonic=lambda: now, monotonic_ns=lambda: int(now * 1e9), time_ns=lambda: 1
    )
    monkeypatch.setattr(outlet_module, "time", clock)
    sender = Subscriber()
    outlet = make_outlet(sender, joiner)  # type: ignore[arg-type]
    monkeypatch.setattr(sender, "send", lambda *_, **__: beats.append(now))
    outlet.run(threading.Event())
    assert HEARTBEAT_S == 1.0
    assert beats == [100.25, 101.25, 102.25, 102.25]
    assert min(asked) >= 0
    assert max(asked) == 0.2


@pytest.mark.parametrize("lossless", [True, False])
def test_only_a_lossless_output_waits_for_its_subscriber(lossless: bool) -> None:
    joiner = make_joiner()
    joiner.offer(End("cam", EPOCH, 1, 7))
    joiner.close()
    sender = Subscriber(refusals=2)
    outlet = make_outlet(sender, joiner, lossless)
    outlet.run(threading.Event())
    kinds = [message.kind for message in sender.sent]
    if lossless:
        assert sender.timeouts == [0, RETRY_MS, RETRY_MS]
        assert (kinds.count("end"), outlet.unsent) == (1, 0)
    else:
        assert sender.timeouts == [0]
        assert (kinds.count("end"), outlet.unsent) == (0, 1)


def test_an_answer_tells_how_long_it_took_until_it_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 10**9
    joiner = make_joiner(clock=lambda: now)
    joiner.offer(Frame("cam", EPOCH, 1, 7, np.zeros((2, 2), np.uint8)))
    now += 3_000_000
    joiner.offer(Detections("cam", EPOCH, 1, 7, x=[1.0], y=[1.0]))
    now += 4_000_000
    (ticket,) = joiner.take(0)
    joiner.finish(ticket, plain_answer(ticket, "ok", "", ENGINE))
    joiner.close()
    now += 5_000_000
    seen: dict[str, float] = {}
    sender = Subscriber()
    outlet = make_outlet(sender, joiner)
    outlet.stages.subscribe(seen.__setitem__)
    monkeypatch.setattr(outlet_module.time, "monotonic_ns", lambda: now)
    outlet.run(threading.Event())
    (answer,) = [message for message in sender.sent if isinstance(message, Targets)]
    assert (answer.timing.join, answer.timing.queue, answer.timing.total) == (
        3_000_000,
        4_000_000,
        12_000_000,
    )
    assert seen == pytest.approx({"join": 0.003, "queue": 0.004, "total": 0.012})


@pytest.mark.parametrize(("next_beat", "waits"), [(5.0, 0.2), (0.125, 0.125), (-1.0, 0.0)])
def test_what_is_due_is_waited_for_until_the_next_heartbeat(
    monkeypatch: pytest.MonkeyPatch, next_beat: float, waits: float
) -> None:
    """And no longer than a fifth of a second, so that it hears when to give up."""
    given_up, waited = threading.Event(), []

    def due(seconds: float) -> list[Any]:
        waited.append(seconds)
        given_up.set()
        return []

    joiner: Any = SimpleNamespace(drained=lambda: False, due=due)
    sender: Any = SimpleNamespace(send=lambda *_, **__: True)
    clock = SimpleNamespace(
        monotonic=lambda: 100.0, time_ns=lambda: 5, monotonic_ns=lambda: 100 * 10**9
    )
    monkeypatch.setattr("dscsnet.pipeline.node.outlet.time", clock)
    outlet = Outlet(sender, joiner, lossless=False, name="n", body=dict)
    outlet._next_beat = 100.0 + next_beat
    outlet.run(given_up)
    assert waited == [pytest.approx(waits)]

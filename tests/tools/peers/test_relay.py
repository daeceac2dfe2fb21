"""The bare relay, played and real, and the node beside it."""

import contextlib
import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from dscsnet.engines.errors import DscsnetError
from dscsnet.tools.bench import node as bench_node
from dscsnet.tools.bench.in_turn import Speed
from dscsnet.tools.bench.node import make_load
from dscsnet.tools.peers import relay as module
from dscsnet.tools.peers.relay import Relay, compare_relay, running_relay

LOAD = make_load(0, shape=(32, 40))


class PlayedRelay:
    """Both sockets; each answer takes 10 ms by the clock, of them 2 and 1 ms in two threads."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, Any]] = []
        self.answered, self.silent = 0, False

    def send_multipart(self, parts: list[Any], copy: bool) -> None:
        assert not copy
        self.sent.append((int.from_bytes(parts[0], "little"), parts[1]))

    def poll(self, timeout_ms: int) -> bool:
        assert timeout_ms == 30_000
        return not self.silent

    def recv_multipart(self) -> None:
        self.answered += 1

    def perf_counter(self) -> float:
        return 0.01 * self.answered

    def thread_seconds(self) -> dict[str, float]:
        return {"python": 0.002 * self.answered, "ZMQbg/IO/0": 0.001 * self.answered}


@pytest.fixture(name="played")
def _played(monkeypatch: pytest.MonkeyPatch) -> PlayedRelay:
    played = PlayedRelay()
    monkeypatch.setattr(bench_node, "time", played)
    return played


@pytest.mark.parametrize(("frames", "warm"), [(30, 3), (5, 1)])
def test_the_first_tenth_is_not_timed(played: PlayedRelay, frames: int, warm: int) -> None:
    end: Any = played
    speed = Relay(end, end, played.thread_seconds).speed(LOAD, frames)
    assert (speed.cpu, speed.wall) == (pytest.approx(1 / 0.003), pytest.approx(100))
    assert played.answered == frames + warm
    assert [number for number, _ in played.sent] == list(range(frames + warm))
    assert all(pixels.obj is LOAD.frames[number % 8] for number, pixels in played.sent)


def test_a_relay_that_is_silent_ends_it(played: PlayedRelay) -> None:
    end: Any = played
    played.silent = True
    with pytest.raises(DscsnetError, match="no answer within 30 s"):
        Relay(end, end, played.thread_seconds).speed(LOAD, 5)


def test_a_real_one_answers_every_frame() -> None:
    with running_relay() as relay:
        first, second = relay.speed(LOAD, 20), relay.speed(LOAD, 40)
    assert min(first.wall, second.wall) > 0
    # Few frames may take no tick of processor time.
    assert all(math.isnan(cpu) or cpu > 0 for cpu in (first.cpu, second.cpu))


def test_without_a_tick_of_processor_time_there_is_no_speed_by_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench_node, "cpu_by_part", lambda *_: {"relay": 0.0})
    with running_relay() as relay:
        speed = relay.speed(LOAD, 5)
    assert math.isnan(speed.cpu)
    assert speed.wall > 0


def test_node_and_relay_take_turns_on_the_same_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[tuple[Any, ...]] = []
    walls, speeds = [10.0, 30.0, 20.0], [Speed(2e4, 1), Speed(4e4, 2), Speed(9e4, 3)]

    class Node:
        cpu_us: dict[str, float]

        def throughput(self, load: Any, frames: int) -> float:
            order.append(("node", load, frames))
            self.cpu_us = {"intake": 40.0, "outlet": 10.0}
            return walls.pop(0)

    def speed(load: Any, frames: int) -> Speed:
        order.append(("relay", load, frames))
        return speeds.pop(0)

    @contextlib.contextmanager
    def running_node(*given: Any, **more: Any) -> Iterator[Node]:
        assert (given, more) == (("a model", "lossless", 1), {"workers": 1})
        yield Node()

    monkeypatch.setattr(module, "ROUNDS", 3)
    monkeypatch.setattr(module, "running_node", running_node)
    fake = contextlib.nullcontext(SimpleNamespace(speed=speed))
    monkeypatch.setattr(module, "running_relay", lambda: fake)
    monkeypatch.setattr(module, "make_load", lambda candidates: f"{candidates} candidates")
    comparison = compare_relay("a model", 70)
    assert order == [(who, "0 candidates", 70) for who in ("node", "relay")] * 3
    node, relay = comparison.rows
    assert (node.speed, relay.speed) == (Speed(2e4, 20), Speed(4e4, 2))
    assert comparison.ahead(relay) == [0.5]

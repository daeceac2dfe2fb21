"""The gatekeeper of a context: its lock, and requests that are none."""

import struct
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import zmq

from dscsnet.pipeline.security import gatekeeper
from dscsnet.pipeline.security.gatekeeper import ZAP_ADDRESS, Gatekeeper, _Door
from dscsnet.pipeline.security.policy import Refusals


class Watched:
    """A lock of one thread that tells whether it is held."""

    held = False

    def __enter__(self) -> None:
        assert not self.held
        self.held = True

    def __exit__(self, *_: object) -> None:
        self.held = False


class Keeper:
    """Notes what it is asked to do, and whether the lock was held."""

    def __init__(self, context: Any, lock: Watched) -> None:
        self.number, self.lock, self.doors = context.underlying, lock, 0
        self.done: list[tuple[str, bool]] = [("start", lock.held)]

    def forget(self, domain: str) -> None:
        self.done.append((f"forget {domain}", self.lock.held))

    def stop(self) -> None:
        self.done.append(("stop", self.lock.held))


def test_a_keeper_comes_and_goes_under_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a socket could be given a keeper that another thread is about to stop."""
    lock = Watched()
    monkeypatch.setattr(gatekeeper, "_lock", lock)
    monkeypatch.setattr(gatekeeper, "_running", running := {})
    monkeypatch.setattr(gatekeeper, "Gatekeeper", lambda context: Keeper(context, lock))
    contexts = [SimpleNamespace(underlying=number) for number in (1, 2)]
    first, again, other = (
        gatekeeper._employ(each)  # type: ignore[arg-type]
        for each in (contexts[0], contexts[0], contexts[1])
    )
    assert first is again is not other
    assert (first.doors, other.doors, list(running)) == (2, 1, [1, 2])
    gatekeeper._dismiss(first, "a")
    assert (first.doors, list(running)) == (1, [1, 2])
    gatekeeper._dismiss(first, "b")
    assert list(running) == [2]
    assert first.done == [("start", True), ("forget a", True), ("forget b", True), ("stop", True)]
    assert other.done == [("start", True)]
    assert not lock.held


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Gatekeeper, zmq.Socket]]:
    """A gatekeeper, and a socket that asks it as libzmq would."""
    monkeypatch.setattr(gatekeeper, "ANSWER_MS", 2000)
    with zmq.Context() as context:
        keeper = Gatekeeper(context)
        with context.socket(zmq.REQ) as asking:
            asking.rcvtimeo = 10_000
            asking.linger = 0
            asking.connect(ZAP_ADDRESS)
            yield keeper, asking
        keeper.stop()


def test_a_keeper_whose_thread_died_can_be_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes its orders any more: they must not be waited for without an end."""
    failures: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    monkeypatch.setattr(gatekeeper, "ANSWER_MS", 100)
    with zmq.Context() as context:
        keeper = Gatekeeper(context)
        keeper._orders.send_multipart([b"watch", b"\xff"])  # no name of a door
        keeper._thread.join(30)
        assert [each.exc_type for each in failures] == [UnicodeDecodeError]
        keeper.forget("a")
        keeper.stop()


def test_a_request_that_breaks_off_is_refused_and_the_next_one_answered(
    keeper: tuple[Gatekeeper, zmq.Socket], caplog: pytest.LogCaptureFixture
) -> None:
    guard, asking = keeper
    whole = [b"1.0", b"7", b"door-none", b"10.0.0.1", b"", b"CURVE", bytes(32)]
    for length, address in ((3, "?"), (4, "10.0.0.1"), (7, "10.0.0.1"), (2, "?")):
        asking.send_multipart(whole[:length])
        version, number, status, *_ = asking.recv_multipart()
        assert (version, number) == (b"1.0", b"7")
        assert status == b"400"  # of a door that is not there, nobody is let in
        assert guard.address == address
    assert "not enough frames" in caplog.text


def told(kind: int, value: int) -> Any:
    """A monitor with one event to read, packed as libzmq packs it."""
    event = [struct.pack("=Hi", kind, value), b"tcp://10.0.0.1:9"]
    monitor = Mock(zmq.Socket)
    monitor.recv_multipart.return_value = event
    return monitor


def test_a_failed_handshake_counts_at_its_own_door(
    keeper: tuple[Gatekeeper, zmq.Socket],
) -> None:
    """Whatever else a monitor tells counts for nothing, as does a door that was forgotten."""
    guard, _ = keeper
    here, there = Refusals(), Refusals()
    for domain, refusals in (("here", here), ("there", there)):
        allowed: Any = None  # nobody asks it for a key
        guard._doors[domain] = _Door("tcp://*:9", allowed, refusals, guard)
    protocol = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    for kind, value in (
        (protocol, zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH),
        (protocol, zmq.PROTOCOL_ERROR_ZMTP_UNSPECIFIED),
        (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, 0),
        (zmq.EVENT_HANDSHAKE_SUCCEEDED, 0),
    ):
        for domain in ("here", "forgotten", None):
            monitor = told(kind, value)
            if domain is not None:
                guard._monitors[monitor] = domain
            guard._observe(monitor)
    assert {reason: count for reason, count in here.counts.items() if count} == {
        "no_curve": 1,
        "protocol": 1,
        "broken_off": 1,
    }
    assert not any(there.counts.values())

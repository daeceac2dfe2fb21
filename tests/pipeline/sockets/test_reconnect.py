"""Which connections are made anew, and when: after half a second without libzmq trying again."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import zmq

from dscsnet.pipeline.errors import KeyFileError
from dscsnet.pipeline.security import Refusals
from dscsnet.pipeline.sockets import reconnect
from dscsnet.pipeline.sockets.reconnect import ConnectionKeeper

ANEW = [("disconnect", "tcp://a:1"), ("connect", "tcp://a:1")]
NO_DETAIL, REFUSED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_AUTH


class Bench:
    """A keeper on a socket that only notes what is asked of it, and a clock that is set."""

    FD = 5

    def __init__(self, context: zmq.Context) -> None:
        self.calls: list[tuple[str, str]] = []
        self.watched, self.now, self.broken = 0, 100.0, False
        self.context, self.refusals = context, Refusals()
        self.keeper = self.make(None)

    def make(self, keys: Any) -> ConnectionKeeper:
        socket: Any = self
        self.keeper = ConnectionKeeper(socket, self.context, self.refusals, "tcp://a:1", keys)
        return self.keeper

    def monitor(self, address: str, events: int) -> None:
        self.watched = events

    def disable_monitor(self) -> None: ...

    def disconnect(self, endpoint: str) -> None:
        self.calls.append(("disconnect", endpoint))

    def connect(self, endpoint: str) -> None:
        self.calls.append(("connect", endpoint))

    def apply(self) -> None:
        self.calls.append(("keys", ""))
        if self.broken:
            raise KeyFileError("half of it")

    def renews(self, *events: int, after: float = 0.5) -> bool:
        for event in events:
            self.keeper._note(event, 0)
        self.now += after
        return self.keeper.renew("tcp://a:1")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with zmq.Context() as context:
        made = Bench(context)
        monkeypatch.setattr(reconnect, "time", SimpleNamespace(monotonic=lambda: made.now))
        yield made
        made.keeper.close()


def test_a_connection_that_was_given_up_is_renewed_once_after_half_a_second(bench: Bench) -> None:
    assert not bench.renews(after=60)
    assert not bench.renews(zmq.EVENT_DISCONNECTED, after=0.25)
    assert not bench.calls
    assert bench.renews(zmq.EVENT_DISCONNECTED, after=0.25)  # counted from the first
    assert bench.calls == ANEW
    assert not bench.renews(after=60)


@pytest.mark.parametrize("event", [zmq.EVENT_CONNECT_RETRIED, zmq.EVENT_HANDSHAKE_SUCCEEDED])
def test_what_libzmq_tries_again_or_holds_is_left_to_it(bench: Bench, event: int) -> None:
    assert not bench.renews(zmq.EVENT_DISCONNECTED, event, after=60)
    assert not bench.renews(zmq.EVENT_DISCONNECTED, NO_DETAIL, event, after=60)
    assert not bench.calls


def test_keys_are_read_anew_and_a_refusal_is_no_loss(bench: Bench) -> None:
    bench.keeper.close()
    bench.make(bench)
    retried = zmq.EVENT_CONNECT_RETRIED
    assert not bench.renews(zmq.EVENT_DISCONNECTED, retried, after=60)
    assert bench.renews(zmq.EVENT_DISCONNECTED)
    assert bench.calls == [("keys", ""), *ANEW]
    assert not bench.renews(zmq.EVENT_DISCONNECTED, REFUSED, retried)
    assert bench.calls[3:] == [("keys", ""), *ANEW]
    assert bench.renews(zmq.EVENT_DISCONNECTED)  # that refusal is over
    granted = zmq.EVENT_HANDSHAKE_SUCCEEDED
    assert bench.renews(REFUSED, granted, zmq.EVENT_DISCONNECTED)


def test_with_the_former_keys_where_new_ones_are_half_written(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.keeper.close()
    bench.make(bench)
    bench.broken = True
    assert bench.renews(zmq.EVENT_DISCONNECTED)
    assert bench.calls == [("keys", ""), *ANEW]
    assert "tcp://a:1: the former keys stay in use: half of it" in caplog.text


def test_failed_handshakes_are_counted_by_their_reason(bench: Bench) -> None:
    for event in (REFUSED, REFUSED, NO_DETAIL, zmq.EVENT_DISCONNECTED, zmq.EVENT_CONNECT_RETRIED):
        bench.keeper._note(event, 0)
    counts = bench.refusals.counts
    assert (counts["by_peer"], counts["broken_off"], sum(counts.values())) == (2, 1, 3)
    failed = REFUSED | NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    others = zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED | zmq.EVENT_HANDSHAKE_SUCCEEDED
    assert bench.watched == failed | others
    monitor = bench.keeper._monitor
    assert (monitor.getsockopt(zmq.LINGER), monitor.getsockopt(zmq.RCVHWM)) == (0, 0)

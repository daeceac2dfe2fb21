"""What the two ends of a channel ask of libzmq."""

from types import SimpleNamespace
from typing import Literal

import pytest
import zmq

from dscsnet.pipeline.messages import Limits
from dscsnet.pipeline.sockets import Channel, Receiver, Sender


def channel(kind: Literal["pubsub", "pushpull"]) -> Channel:
    return Channel("tcp://127.0.0.1:*", bind=True, kind=kind, high_water_mark=7)


@pytest.mark.parametrize("kind", ["pubsub", "pushpull"])
@pytest.mark.parametrize("lossless", [True, False])
def test_a_sender_waits_a_minute_for_what_must_not_be_lost_and_else_a_second(
    kind: Literal["pubsub", "pushpull"], lossless: bool
) -> None:
    with Sender(channel(kind), lossless=lossless) as sender:
        get = sender.socket.getsockopt
        assert get(zmq.LINGER) == (60_000 if lossless else 1000)
        assert (get(zmq.SNDHWM), get(zmq.MAXMSGSIZE)) == (7, 4096)
        live = kind == "pubsub" and not lossless
        assert get(zmq.HEARTBEAT_IVL) == (1000 if live else 0)
        assert get(zmq.HEARTBEAT_TIMEOUT) == (5000 if live else -1)
        assert get(zmq.IMMEDIATE) == (kind == "pushpull")
        sender.hurry()
        assert get(zmq.LINGER) == 500
    with Sender(channel(kind), linger_ms=0) as sender:
        assert not sender.lossless
        assert sender.socket.getsockopt(zmq.LINGER) == 0


@pytest.mark.parametrize(("header", "frame"), [(1000, 300), (300, 1000)])
def test_a_receiver_takes_parts_up_to_twice_the_larger_limit(header: int, frame: int) -> None:
    limits = Limits(max_header_bytes=header, max_frame_bytes=frame)
    with Receiver(channel("pubsub"), limits=limits) as receiver:
        get = receiver.socket.getsockopt
        assert (get(zmq.MAXMSGSIZE), get(zmq.RCVHWM), get(zmq.LINGER)) == (2000, 7, 0)


@pytest.mark.parametrize(
    ("changes", "there"),
    [
        ([], 0),
        ([b"\x01"], 1),
        ([b"\x01", b"\x01"], 2),
        ([b"\x01", b"\x01", b"\x00"], 1),
        ([b"\x01", b"\x00"], 0),
        ([b"\x00", b"\x01"], 1),
        # A peer of two topics is one peer; what is neither a one nor a zero is no subscription.
        ([b"\x01frame/", b"\x01end/"], 1),
        ([b"\x01frame/", b"\x01end/", b"\x01end/", b"\x00frame/"], 2),
        ([b"\x01", b"\x02", b"\x02", b""], 1),
        ([b"\x02", b"\x01"], 1),
    ],
)
def test_subscribers_are_counted_by_what_they_say(
    monkeypatch: pytest.MonkeyPatch, changes: list[bytes], there: int
) -> None:
    waiting = list(changes)
    with Sender(channel("pubsub"), linger_ms=0) as sender:
        socket = sender.socket
        monkeypatch.setattr(sender, "events", lambda: zmq.POLLIN if waiting else 0)
        told = SimpleNamespace(recv=lambda _flags: waiting.pop(0))
        monkeypatch.setattr(sender, "socket", told)
        assert sender._count_peers() == there
        assert not waiting
        monkeypatch.setattr(sender, "socket", socket)

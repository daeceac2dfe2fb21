"""Channels over real sockets on the loopback interface, with ports chosen by the system."""

import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import msgspec
import numpy as np
import pytest
import zmq

from dscsnet.pipeline.errors import ChannelError, MessageError
from dscsnet.pipeline.messages import (
    Detections,
    End,
    EngineInfo,
    Frame,
    Limits,
    Message,
    Spots,
    Targets,
    TargetTable,
    Timing,
    encode,
)
from dscsnet.pipeline.security import INSECURE
from dscsnet.pipeline.sockets import Channel, Receiver, Sender

EPOCH = bytes(16)
ANYWHERE = "tcp://127.0.0.1:*"
PATIENCE_S = 30.0  # far more than anything here takes; only a failure waits that long
PATIENCE_MS = 30_000
SMALL = Limits(max_frame_bytes=1000, max_header_bytes=1000)
PAGE = Path(__file__).parents[3] / "docs" / "wire-format.md"


def make_frame(frame_id: int = 0, stream: str = "cam0", side: int = 4) -> Frame:
    pixels = np.full((side, side), frame_id % 256, np.uint16)
    return Frame(stream, EPOCH, frame_id, 1, pixels)


def make_end(frame_id: int = 0, stream: str = "cam0") -> End:
    return End(stream, EPOCH, frame_id, 1)


def bound(kind: str = "pubsub", high_water_mark: int = 64) -> Channel:
    return msgspec.convert(
        {"endpoint": ANYWHERE, "bind": True, "kind": kind, "high_water_mark": high_water_mark},
        Channel,
    )


def other_end(sender_or_receiver: Sender | Receiver) -> Channel:
    """Return the channel that connects to a bound end."""
    channel = sender_or_receiver.channel
    return msgspec.structs.replace(channel, endpoint=sender_or_receiver.endpoint, bind=False)


def wait_for_count(sender: Sender, count: int) -> bool:
    """Wait until the sender counts exactly so many subscribers."""
    deadline = time.monotonic() + PATIENCE_S
    while sender.wait_for_peers(1000, 0.02) != count:
        if time.monotonic() > deadline:
            return False
    return True


def wait_for_link(sender: Sender, receiver: Receiver) -> bool:
    """Wait until the sender has its one peer, while the receiver polls as a program would."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert receiver.receive() is None
        if sender.wait_for_peers(1, 0.05) == 1:
            return True
    return False


def fill(sender: Sender, start: int, side: int = 256) -> int:
    """Send until the channel is full; return the number of the first frame not sent."""
    while sender.send(make_frame(start, side=side), timeout_ms=20):
        start += 1
        assert start < 10_000, "the channel never fills"
    return start


def drain(receiver: Receiver, count: int) -> list[int]:
    return [read(receiver).frame_id for _ in range(count)]


def read(receiver: Receiver) -> Message:
    message = receiver.receive(PATIENCE_MS)
    assert message is not None, "nothing came"
    return message


class Relay:
    """A slow network: carries the bytes of one connection, to the reader only while it is open."""

    def __init__(self, endpoint: str) -> None:
        self.open = threading.Event()
        self.open.set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        self._target = ("127.0.0.1", int(endpoint.rpartition(":")[2]))
        self._server.settimeout(PATIENCE_S)
        self._thread = threading.Thread(target=self._connect)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.open.set()
        self._thread.join(2 * PATIENCE_S)
        self._server.close()
        assert not self._thread.is_alive()

    def _connect(self) -> None:
        reader, _ = self._server.accept()
        with reader, socket.socket() as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
            sender.connect(self._target)
            back = threading.Thread(target=self._carry, args=(reader, sender, None))
            back.start()
            self._carry(sender, reader, self.open)
            back.join()

    @staticmethod
    def _carry(here: socket.socket, there: socket.socket, gate: threading.Event | None) -> None:
        """Carry bytes one way until that side ends, then end the other one."""
        with contextlib.suppress(OSError):
            while data := here.recv(2**16):
                if gate is not None:
                    gate.wait()
                there.sendall(data)
        for end in (here, there):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def publisher() -> Iterator[Sender]:
    with Sender(bound()) as sender:
        yield sender


class TestDelivery:
    @pytest.mark.parametrize("kind", ["pubsub", "pushpull"])
    @pytest.mark.parametrize("transport", ["tcp", "ipc", "inproc"])
    @pytest.mark.parametrize("sender_binds", [True, False])
    def test_in_order(self, kind: str, transport: str, sender_binds: bool, tmp_path: Path) -> None:
        name = f"{kind}-{sender_binds}"
        endpoint = {"tcp": ANYWHERE, "ipc": f"ipc://{tmp_path}/s", "inproc": f"inproc://{name}"}
        channel = Channel(endpoint[transport], True, kind)  # type: ignore[arg-type]
        kinds = ("frame", "end")
        if sender_binds:
            sender = Sender(channel)
            receiver = Receiver(other_end(sender), kinds=kinds)
        else:
            receiver = Receiver(channel, kinds=kinds)
            sender = Sender(other_end(receiver))
        with sender, receiver:
            assert sender.endpoint == receiver.endpoint
            assert "*" not in sender.endpoint
            assert wait_for_link(sender, receiver)
            sent: list[Message] = [make_frame(0), make_frame(1), make_end(1)]
            assert all(sender.send(message) for message in sent)
            got = [read(receiver) for _ in sent]
            assert [type(m) for m in got] == [Frame, Frame, End]
            assert [m.key for m in got] == [m.key for m in sent]
            assert receiver.receive() is None

    def test_first_message_after_waiting_is_never_lost(self) -> None:
        for frame_id in range(20):
            with Sender(bound()) as sender, Receiver(other_end(sender)) as receiver:
                assert sender.wait_for_peers(1, PATIENCE_S) == 1
                sender.send(make_frame(frame_id))
                assert read(receiver).frame_id == frame_id

    def test_pixels_may_be_overwritten_after_send(self, publisher: Sender) -> None:
        pixels = np.ones((512, 512), np.uint16)
        with Receiver(other_end(publisher)) as receiver:
            publisher.wait_for_peers(1, PATIENCE_S)
            publisher.send(Frame("cam0", EPOCH, 0, 1, pixels))
            pixels[:] = 7
            frame = read(receiver)
            assert isinstance(frame, Frame)
            assert (frame.pixels == 1).all()
            assert not frame.pixels.flags.writeable
            assert frame.pixels.flags.aligned

    def test_last_bytes(self, publisher: Sender) -> None:
        with Receiver(other_end(publisher)) as receiver:
            publisher.wait_for_peers(1, PATIENCE_S)
            publisher.send(make_frame(side=100))
            read(receiver)
            assert receiver.last_bytes == sum(map(len, encode(make_frame(side=100))))

    def test_close_hands_over_what_is_queued(self, publisher: Sender) -> None:
        with Receiver(other_end(publisher)) as receiver:
            publisher.wait_for_peers(1, PATIENCE_S)
            for frame_id in range(50):
                publisher.send(make_frame(frame_id))
            publisher.close()
            assert drain(receiver, 50) == list(range(50))

    def test_poller(self, publisher: Sender) -> None:
        with Receiver(other_end(publisher)) as receiver:
            publisher.wait_for_peers(1, PATIENCE_S)
            poller = zmq.Poller()
            poller.register(receiver.socket, zmq.POLLIN)
            publisher.send(make_frame())
            assert poller.poll(PATIENCE_MS)
            assert receiver.receive() is not None


class TestSelection:
    def test_kinds_and_streams(self, publisher: Sender) -> None:
        with Receiver(other_end(publisher), kinds=("end",), streams=("cam1",)) as receiver:
            publisher.wait_for_peers(1, PATIENCE_S)
            publisher.send(make_frame(1, "cam1"))
            publisher.send(make_end(2, "cam2"))
            publisher.send(make_end(3, "cam10"))  # the subscription is a prefix of this topic
            publisher.send(make_end(4, "cam1"))
            assert read(receiver).frame_id == 4

    def test_pull_rejects_what_it_does_not_read(self) -> None:
        with (
            Sender(bound("pushpull")) as sender,
            Receiver(other_end(sender), kinds=("end",), streams=("cam1",)) as receiver,
        ):
            sender.wait_for_peers(1, PATIENCE_S)
            for message in (make_frame(1, "cam1"), make_end(2, "cam2")):
                sender.send(message)
                with pytest.raises(MessageError, match=r"is read for kinds \['end'\]") as caught:
                    read(receiver)
                assert caught.value.reason == "topic"
            sender.send(make_end(3, "cam1"))
            assert read(receiver).frame_id == 3

    @pytest.mark.parametrize("kinds", [(), ("frames",)])
    def test_unknown_kinds(self, kinds: tuple) -> None:
        with pytest.raises(ValueError, match="kinds: expected some of frame"):
            Receiver(bound(), kinds=kinds)


class TestCountingSubscribers:
    def test_a_receiver_of_many_topics_counts_once(self, publisher: Sender) -> None:
        channel = other_end(publisher)
        assert publisher.wait_for_peers(1, 0) == 0
        with Receiver(channel, kinds=("frame", "end"), streams=("cam0", "cam1")):
            assert publisher.wait_for_peers(1, PATIENCE_S) == 1
            with Receiver(channel, kinds=("status",)), Receiver(channel):
                assert publisher.wait_for_peers(3, PATIENCE_S) == 3
            assert wait_for_count(publisher, 1)
        assert wait_for_count(publisher, 0)

    @pytest.mark.parametrize("topics", [[""], ["frame/"], ["frame/", "end/", "frame/cam0"]])
    def test_a_foreign_subscriber_counts(self, publisher: Sender, topics: list[str]) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as foreign:
            foreign.connect(publisher.endpoint)
            for topic in topics:
                foreign.subscribe(topic)
            assert publisher.wait_for_peers(1, PATIENCE_S) == 1
            publisher.send(make_frame())
            assert foreign.poll(PATIENCE_MS)
            foreign.unsubscribe(topics[0])
            foreign.close()
            assert wait_for_count(publisher, 0)

    def test_a_foreign_subscriber_beside_a_receiver(self, publisher: Sender) -> None:
        with (
            Receiver(other_end(publisher)),
            zmq.Context() as context,
            context.socket(zmq.SUB) as foreign,
        ):
            foreign.connect(publisher.endpoint)
            foreign.subscribe("frame/")
            assert publisher.wait_for_peers(2, PATIENCE_S) == 2

    def test_a_peer_that_left_meanwhile_is_not_counted(self, publisher: Sender) -> None:
        with Receiver(other_end(publisher)):
            assert publisher.wait_for_peers(1, PATIENCE_S) == 1
        with Receiver(other_end(publisher)) as receiver:
            assert publisher.wait_for_peers(2, 0.3) == 1
            publisher.send(make_frame(5))
            assert read(receiver).frame_id == 5

    def test_push_needs_only_one(self) -> None:
        with Sender(bound("pushpull")) as sender, Receiver(other_end(sender)):
            assert sender.wait_for_peers(3, PATIENCE_S) == 3

    def test_the_wait_is_bounded(self, publisher: Sender) -> None:
        assert publisher.wait_for_peers(1, 0.05) == 0
        with Sender(bound("pushpull")) as sender:
            assert sender.wait_for_peers(1, 0.05) == 0


class TestBackPressure:
    @pytest.mark.parametrize("kind", ["pubsub", "pushpull"])
    def test_a_slow_reader_loses_nothing(self, kind: str) -> None:
        channel = bound(kind, high_water_mark=4)
        with (
            Sender(channel, lossless=True) as sender,
            Receiver(other_end(sender)) as receiver,
        ):
            sender.wait_for_peers(1, PATIENCE_S)
            received: list[int] = []
            sent = refusals = 0
            while sent < 500:
                sent = fill(sender, sent)
                refusals += 1
                received += drain(receiver, min(40, sent - len(received)))
            received += drain(receiver, sent - len(received))
            assert refusals > 1, "the channel was never full: the test proves nothing"
            assert received == list(range(sent))
            assert receiver.receive() is None

    def test_a_blocked_send_goes_on_when_the_reader_does(self) -> None:
        with (
            Sender(bound(high_water_mark=2), lossless=True) as sender,
            Receiver(other_end(sender)) as receiver,
        ):
            sender.wait_for_peers(1, PATIENCE_S)
            full = fill(sender, 0)
            received: list[int] = []
            reader = threading.Thread(target=lambda: received.extend(drain(receiver, full + 1)))
            reader.start()
            assert sender.send(make_frame(full, side=256))  # waits: lossless is the default here
            reader.join(PATIENCE_S)
            assert received == list(range(full + 1))

    def test_a_live_sender_never_waits(self) -> None:
        with (
            Sender(bound(high_water_mark=2), linger_ms=0) as sender,
            Receiver(other_end(sender)) as receiver,
        ):
            sender.wait_for_peers(1, PATIENCE_S)
            assert all(sender.send(make_frame(i, side=256), timeout_ms=-1) for i in range(500))
            first = read(receiver).frame_id
            assert first == 0
            got = [first]
            while (message := receiver.receive(200)) is not None:
                got.append(message.frame_id)
            assert got == sorted(set(got))
            assert len(got) < 500

    @pytest.mark.parametrize("lossless", [True, False])
    def test_push_without_a_peer(self, lossless: bool) -> None:
        with Sender(bound("pushpull"), lossless=lossless) as sender:
            assert not sender.send(make_frame(), timeout_ms=0)
            assert not sender.send(make_frame(), timeout_ms=20)


class TestRestarts:
    @pytest.mark.parametrize("kind", ["pubsub", "pushpull"])
    def test_of_the_sender(self, kind: str) -> None:
        sender = Sender(bound(kind))
        again = msgspec.structs.replace(sender.channel, endpoint=sender.endpoint)
        with Receiver(other_end(sender)) as receiver:
            for frame_id in range(3):
                with sender:
                    assert wait_for_link(sender, receiver)
                    assert sender.send(make_frame(frame_id))
                    assert read(receiver).frame_id == frame_id
                sender = Sender(again)
            sender.close()

    @pytest.mark.parametrize("kind", ["pubsub", "pushpull"])
    def test_of_the_receiver(self, kind: str) -> None:
        with Sender(bound(kind)) as sender:
            for frame_id in range(3):
                with Receiver(other_end(sender)) as receiver:
                    assert sender.wait_for_peers(1, PATIENCE_S) == 1
                    assert sender.send(make_frame(frame_id))
                    assert read(receiver).frame_id == frame_id
                if kind == "pubsub":
                    assert wait_for_count(sender, 0)

    @pytest.mark.parametrize("kind", ["pubsub", "pushpull"])
    def test_a_lossless_sender_that_closes_leaves_a_slow_reader_its_messages(
        self, kind: str
    ) -> None:
        sender = Sender(bound(kind, high_water_mark=4), lossless=True)
        with Relay(sender.endpoint) as relay:
            channel = msgspec.structs.replace(other_end(sender), endpoint=relay.endpoint)
            with Receiver(channel) as receiver:
                assert wait_for_link(sender, receiver)
                relay.open.clear()
                for frame_id in range(4):  # far more bytes than the system takes on the way
                    assert sender.send(make_frame(frame_id, side=3000))
                closing = threading.Thread(target=sender.close)
                closing.start()
                closing.join(1.5)  # longer than a live sender's linger
                assert closing.is_alive()
                relay.open.set()
                assert drain(receiver, 4) == [0, 1, 2, 3]
                closing.join(PATIENCE_S)
                assert not closing.is_alive()

    def test_a_lossless_sender_in_a_hurry_leaves_soon(self) -> None:
        sender = Sender(bound(high_water_mark=4), lossless=True)
        with Receiver(other_end(sender)):
            sender.wait_for_peers(1, PATIENCE_S)
            fill(sender, 0)
            sender.hurry(10)
            closing = threading.Thread(target=sender.close)
            closing.start()
            closing.join(PATIENCE_S)
            assert not closing.is_alive()

    def test_of_the_sender_while_the_reader_pauses_with_a_full_queue(self) -> None:
        sender = Sender(bound(high_water_mark=2), lossless=True, linger_ms=0)
        channel = msgspec.structs.replace(sender.channel, endpoint=sender.endpoint)
        with Receiver(other_end(sender)) as receiver:
            sender.wait_for_peers(1, PATIENCE_S)
            sent = fill(sender, 0)
            sender.close()
            with Sender(channel, lossless=True) as second:
                deadline = time.monotonic() + PATIENCE_S
                while second.wait_for_peers(1, 0.05) == 0:
                    assert time.monotonic() < deadline, "the second sender has no peer"
                    message = receiver.receive()  # what the first one left, if anything
                    assert message is None or message.frame_id < sent
                second.send(make_frame(sent))
                while (frame_id := read(receiver).frame_id) != sent:
                    assert frame_id < sent


class TestBadInput:
    @pytest.mark.parametrize(
        ("parts", "reason"),
        [
            ([b"frame/cam0"], "parts"),
            ([b"frame/cam0"] * 5000, "parts"),
            ([b"frame/cam0", b"\xc1", b""], "header"),
            ([b"frame/", b"\x80", b""], "topic"),
            ([b"frame/" + b"x" * 1000, b"\x80", b""], "topic"),
            ([*encode(make_frame())[:2], b"short"], "payload"),
            ([b"frames/two\nlines", b"\x80", b""], "topic"),
        ],
    )
    def test_malformed_leaves_the_receiver_usable(self, parts: list, reason: str) -> None:
        with (
            Receiver(bound("pushpull")) as receiver,
            zmq.Context() as context,
            context.socket(zmq.PUSH) as foreign,
        ):
            foreign.connect(receiver.endpoint)
            foreign.send_multipart(parts)
            foreign.send_multipart(encode(make_frame(3)))
            with pytest.raises(MessageError) as caught:
                read(receiver)
            assert caught.value.reason == reason
            assert "\n" not in str(caught.value)
            assert receiver.last_bytes == sum(map(len, parts))
            assert read(receiver).frame_id == 3

    def test_a_part_over_the_limit_is_rejected_with_its_size(self, publisher: Sender) -> None:
        with Receiver(other_end(publisher), limits=SMALL) as receiver:
            publisher.wait_for_peers(1, PATIENCE_S)
            publisher.send(make_frame(1, side=30))
            with pytest.raises(MessageError, match="1800") as caught:
                read(receiver)
            assert caught.value.reason == "limits"
            publisher.send(make_frame(2))
            assert read(receiver).frame_id == 2

    @pytest.mark.parametrize("kind", ["pubsub", "pushpull"])
    def test_a_part_far_over_the_limit_costs_the_connection_only(self, kind: str) -> None:
        with Sender(bound(kind)) as sender, Receiver(other_end(sender), limits=SMALL) as receiver:
            for frame_id in (2, 4):
                assert wait_for_link(sender, receiver)
                sender.send(make_frame(frame_id))
                sender.send(make_frame(frame_id + 1, side=100))  # 20,000 bytes
                assert read(receiver).frame_id == frame_id
                with pytest.raises(MessageError, match="connected anew") as caught:
                    read(receiver)
                assert caught.value.reason == "connection"

    def test_a_server_of_another_kind_at_the_endpoint(self) -> None:
        """Whatever answers first, the publisher that comes later is found."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            endpoint = f"tcp://127.0.0.1:{server.getsockname()[1]}"
            receiver = Receiver(Channel(endpoint, False))
            connection, _ = server.accept()
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n" + b"\xff" * 100)
            with connection, pytest.raises(MessageError, match="connected anew"):
                read(receiver)
        with receiver, Sender(Channel(endpoint, True)) as sender:
            assert wait_for_link(sender, receiver)
            sender.send(make_frame(1))
            assert read(receiver).frame_id == 1

    @pytest.mark.parametrize("kind", ["pubsub", "pushpull"])
    def test_a_sender_that_connects_finds_its_peer_again(self, kind: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            endpoint = f"tcp://127.0.0.1:{server.getsockname()[1]}"
            sender = Sender(Channel(endpoint, False, kind))  # type: ignore[arg-type]
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n" + b"\xff" * 100)
                while connection.recv(1000):
                    pass
        with sender, Receiver(Channel(endpoint, True, kind)) as receiver:  # type: ignore[arg-type]
            assert wait_for_link(sender, receiver)
            assert sender.send(make_frame(1))
            assert read(receiver).frame_id == 1

    def test_a_publisher_survives_odd_subscriptions(self, publisher: Sender) -> None:
        with zmq.Context() as context, context.socket(zmq.XSUB) as foreign:
            foreign.connect(publisher.endpoint)
            foreign.send(b"\x00never subscribed")
            foreign.send(b"hello")
            foreign.send(b"\x01" + b"\xff" * 1000)
            foreign.send(b"\x01frame/")
            assert publisher.wait_for_peers(1, PATIENCE_S) == 1
            foreign.send(b"\x01" + b"x" * 10_000)  # too long: this peer is dropped
            assert wait_for_count(publisher, 0)
            assert publisher.send(make_frame())


class TestErrors:
    def test_port_in_use(self, publisher: Sender) -> None:
        channel = msgspec.structs.replace(publisher.channel, endpoint=publisher.endpoint)
        for end in (Sender, Receiver):
            with pytest.raises(ChannelError) as caught:
                end(channel)
            text = str(caught.value)
            assert publisher.endpoint in text
            assert "in use; stop the program" in text
            assert "\n" not in text

    @pytest.mark.parametrize(
        "endpoint",
        ["", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "udp://1.2.3.4:5", "ipc://"],
    )
    def test_endpoint_without_the_right_form(self, endpoint: str) -> None:
        with pytest.raises(ChannelError, match="endpoint: expected tcp://host:port"):
            Channel(endpoint, True)

    @pytest.mark.parametrize(
        ("endpoint", "bind", "message"),
        [
            ("tcp://203.0.113.7:5550", True, "this machine has no such address"),
            ("tcp://127.0.0.1:*", False, "not a valid endpoint"),
            ("ipc:///no/such/folder/socket", True, os.strerror(errno.ENOENT)),
        ],
    )
    def test_endpoint_that_cannot_be_used(self, endpoint: str, bind: bool, message: str) -> None:
        with pytest.raises(ChannelError, match=message) as caught:
            Receiver(Channel(endpoint, bind, insecure=INSECURE))
        assert endpoint in str(caught.value)

    def test_configuration_names_the_key(self) -> None:
        class Settings(msgspec.Struct):
            frames: Channel

        for change in ({"endpoint": "nowhere"}, {"high_water_mark": 0}, {"kind": "reqrep"}):
            settings = {"frames": {"endpoint": ANYWHERE, "bind": True, **change}}
            with pytest.raises(msgspec.ValidationError, match=r"\$\.frames"):
                msgspec.convert(settings, Settings)

    def test_use_after_close(self) -> None:
        with Sender(bound()) as sender, Receiver(other_end(sender)) as receiver:
            pass
        for use in (
            lambda: sender.send(make_frame()),
            lambda: sender.wait_for_peers(1, 0.1),
            receiver.receive,
        ):
            with pytest.raises(ChannelError, match="is closed"):
                use()
        sender.close()  # again: harmless

    @pytest.mark.parametrize("blocked", ["receive", "send", "wait_for_peers"])
    def test_context_terminated_meanwhile(self, blocked: str) -> None:
        context = zmq.Context()
        nobody = "tcp://127.0.0.1:1"
        sender = Sender(Channel(nobody, False, "pushpull"), context=context)
        receiver = Receiver(Channel(nobody, False), context=context)
        calls: dict[str, Callable] = {
            "receive": lambda: receiver.receive(-1),
            "send": lambda: sender.send(make_frame(), timeout_ms=-1),
            "wait_for_peers": lambda: sender.wait_for_peers(1, PATIENCE_S),
        }
        ender = threading.Thread(target=context.term)
        ender.start()
        with pytest.raises(ChannelError, match="is closed"):
            calls[blocked]()
        sender.close()
        receiver.close()
        ender.join(PATIENCE_S)
        assert not ender.is_alive()
        with pytest.raises(ChannelError, match="cannot open"):
            Sender(bound(), context=context)


def test_the_consumer_on_the_page_reads_targets(publisher: Sender) -> None:
    block = PAGE.read_text().split("```python\n")[1].split("```")[0]
    assert "tcp://127.0.0.1:5552" in block
    code = block.replace("tcp://127.0.0.1:5552", publisher.endpoint)
    message = Targets(
        "cam0",
        EPOCH,
        41,
        1,
        status="ok",
        spots=Spots([0], [1.0], [2.0], [1], [0.0], [1.0], [1.0], [0]),
        targets=TargetTable([0], [12.5], [7.25], [900.0], [1.0], [0.1], [0.1], [5.0]),
        engine=EngineInfo("onnxruntime", "model", "0" * 64, 0.5),
        timing=Timing(1, 1, 1, 1, 4),
    )
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True
    )
    try:
        assert publisher.wait_for_peers(1, PATIENCE_S) == 1
        publisher.send(Detections("cam0", EPOCH, 40, 1, [], []))
        publisher.send(message)
        assert process.stdout is not None
        assert process.stdout.readline().split() == ["cam0", "41", "ok", "12.50", "7.25", "900"]
    finally:
        process.kill()
        process.communicate()

"""Secured channels over real sockets: who gets in, who does not, and what is left behind."""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq

from dscsnet.pipeline.config import Http, Inputs, NodeConfig, Output, load_config
from dscsnet.pipeline.errors import ChannelError, ConfigError, KeyFileError, MessageError
from dscsnet.pipeline.messages import End, Frame, Status
from dscsnet.pipeline.monitoring.health import HealthServer
from dscsnet.pipeline.monitoring.metrics import NodeMetrics
from dscsnet.pipeline.node import Node
from dscsnet.pipeline.recording.reader import RecordingReader
from dscsnet.pipeline.security import INSECURE, Curve, check_keys, keys
from dscsnet.pipeline.security.policy import is_local
from dscsnet.pipeline.sockets import Channel, Receiver, Sender

ROOT = Path(__file__).parents[3]
EPOCH = bytes(16)
ANYWHERE = "tcp://127.0.0.1:*"
PATIENCE_S = 30.0

Start = Callable[..., AbstractContextManager[Any]]


class Ring:
    """Key pairs and an allow-list in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.allowed = folder / "keys", folder / "allowed"
        for role in keys.ROLES:
            (self.allowed / role).mkdir(parents=True)
        for name in ("server", "client", "stranger"):
            keys.make_key(name, self.folder)

    def secret(self, name: str) -> str:
        return str(self.folder / f"{name}.key_secret")

    def public(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def allow(self, name: str, role: str) -> None:
        keys.allow(self.public(name), role, self.allowed)

    def binding(self, kind: str = "pubsub", endpoint: str = ANYWHERE) -> Channel:
        curve = Curve(key=self.secret("server"), allow=str(self.allowed))
        return Channel(endpoint, True, kind, curve=curve)  # type: ignore[arg-type]

    def connecting(self, end: Sender | Receiver, name: str, server: str = "server") -> Channel:
        curve = Curve(key=self.secret(name), server=str(self.public(server)))
        return Channel(end.endpoint, False, end.channel.kind, curve=curve)


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring(tmp_path)


def frame(frame_id: int = 0) -> Frame:
    return Frame("cam", EPOCH, frame_id, 1, np.full((8, 8), 3, np.uint16))


def wait_until(condition: Callable[[], object], *polled: Receiver | Sender) -> None:
    """Wait for a condition while the ends are looked after as a program would."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        for end in polled:
            look_after(end)
        threading.Event().wait(0.01)


def look_after(end: Receiver | Sender) -> None:
    if isinstance(end, Receiver):
        assert end.receive(0) is None
    else:
        end.wait_for_peers(1, 0.0)


def linked(receiver: Receiver, sender: Sender) -> bool:
    """Look after both ends; tell whether the sender has its peer."""
    look_after(receiver)
    return sender.wait_for_peers(1, 0.05) == 1


def refused(end: Sender | Receiver) -> dict[str, int]:
    return {reason: count for reason, count in end.refusals.counts.items() if count}


class TestWhoGetsIn:
    @pytest.mark.parametrize("kind", ["pubsub", "pushpull"])
    @pytest.mark.parametrize("sender_binds", [True, False])
    def test_allowed_keys(self, ring: Ring, kind: str, sender_binds: bool) -> None:
        ring.allow("client", "subscribers" if sender_binds else "frames")
        if sender_binds:
            sender = Sender(ring.binding(kind))
            receiver = Receiver(ring.connecting(sender, "client"))
        else:
            receiver = Receiver(ring.binding(kind))
            sender = Sender(ring.connecting(receiver, "client"))
        with sender, receiver:
            wait_until(lambda: sender.wait_for_peers(1, 0.05) == 1, receiver)
            assert sender.send(frame(7), timeout_ms=1000)
            got = receiver.receive(10_000)
            assert got is not None
            assert got.frame_id == 7
            assert not refused(sender)
            assert not refused(receiver)

    @pytest.mark.parametrize("kind", ["pubsub", "pushpull"])
    def test_a_large_first_message(self, ring: Ring, kind: str) -> None:
        """A bound reader is told of the peer before the first message is there."""
        ring.allow("client", "frames")
        large = Frame("cam", EPOCH, 0, 1, np.zeros((2000, 2000), np.uint16))
        for _ in range(5):
            with (
                Receiver(ring.binding(kind)) as receiver,
                Sender(ring.connecting(receiver, "client")) as sender,
            ):
                wait_until(lambda r=receiver, s=sender: linked(r, s))
                assert sender.send(large, timeout_ms=10_000)
                assert receiver.receive(30_000) is not None

    def test_over_ipc(self, ring: Ring, tmp_path: Path) -> None:
        ring.allow("client", "subscribers")
        with (
            Sender(ring.binding(endpoint=f"ipc://{tmp_path}/s")) as sender,
            Receiver(ring.connecting(sender, "client")) as receiver,
        ):
            wait_until(lambda: sender.wait_for_peers(1, 0.05) == 1, receiver)

    def test_what_is_sent_is_not_legible_on_the_wire(self, ring: Ring) -> None:
        """A proxy that copies bytes sees neither topic nor pixels of a secured channel."""
        ring.allow("client", "subscribers")
        for secured in (False, True):
            channel = ring.binding() if secured else Channel(ANYWHERE, True)
            with Sender(channel) as sender, Wiretap(sender.endpoint) as tap:
                through = msgspec.structs.replace(
                    ring.connecting(sender, "client") if secured else Channel(tap.endpoint, False),
                    endpoint=tap.endpoint,
                )
                with Receiver(through) as receiver:
                    wait_until(lambda s=sender: s.wait_for_peers(1, 0.05) == 1, receiver)
                    sender.send(frame())
                    assert receiver.receive(10_000) is not None
            assert (b"frame/cam" in bytes(tap.seen)) is not secured


class TestWhoDoesNot:
    @pytest.mark.parametrize(
        ("client", "reason"), [("stranger", "unknown_key"), ("client", "wrong_role")]
    )
    def test_keys_on_no_list_and_on_that_of_another_role(
        self, ring: Ring, client: str, reason: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A subscriber's key may not publish frames."""
        ring.allow("client", "subscribers")
        with (
            Receiver(ring.binding()) as receiver,
            Sender(ring.connecting(receiver, client)) as sender,
        ):
            wait_until(lambda: refused(receiver).get(reason, 0) >= 2, receiver, sender)
            wait_until(lambda: refused(sender).get("by_peer"), receiver, sender)
            assert set(refused(receiver)) == {reason}
            assert sender.wait_for_peers(1, 0) == 0
        public = keys.read_public(ring.public(client)).decode()
        lines = [r.getMessage() for r in caplog.records if public in r.getMessage()]
        assert len(lines) == 1, "one line for many tries: the rest is suppressed"
        assert "127.0.0.1" in lines[0]

    def test_a_publishers_key_may_not_subscribe(self, ring: Ring) -> None:
        ring.allow("client", "frames")
        with (
            Sender(ring.binding()) as sender,
            Receiver(ring.connecting(sender, "client")) as receiver,
        ):
            wait_until(lambda: refused(sender).get("wrong_role"), receiver, sender)
            assert sender.wait_for_peers(1, 0) == 0

    def test_another_server_than_the_client_trusts(self, ring: Ring) -> None:
        ring.allow("client", "subscribers")
        with (
            Sender(ring.binding()) as sender,
            Receiver(ring.connecting(sender, "client", server="stranger")) as receiver,
        ):
            wait_until(lambda: refused(sender).get("wrong_server_key"), receiver, sender)
            wait_until(lambda: refused(receiver).get("broken_off"), receiver, sender)
            assert sender.wait_for_peers(1, 0) == 0

    def test_a_plain_client(self, ring: Ring) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as foreign:
            foreign.linger = 0
            foreign.subscribe("")
            with Sender(ring.binding()) as sender:
                foreign.connect(sender.endpoint)
                wait_until(lambda: refused(sender), sender)
                # Whichever end sees first that the mechanisms differ hangs up on the other.
                assert set(refused(sender)) <= {"no_curve", "broken_off"}
                sender.send(frame())
                assert not foreign.poll(100)

    def test_a_plain_server(self, ring: Ring) -> None:
        """A client with keys never talks to a server that cannot prove itself."""
        with (
            Sender(Channel(ANYWHERE, True)) as sender,
            Receiver(ring.connecting(sender, "client")) as receiver,
        ):
            wait_until(lambda: refused(receiver), receiver, sender)
            assert sender.wait_for_peers(1, 0.1) == 0

    def test_a_refused_peer_takes_nothing_from_a_lossless_channel(self, ring: Ring) -> None:
        ring.allow("client", "subscribers")
        with (
            Sender(ring.binding("pushpull"), lossless=True, linger_ms=0) as sender,
            Receiver(ring.connecting(sender, "stranger")) as stranger,
        ):
            wait_until(lambda: refused(sender).get("unknown_key"), stranger)
            assert not sender.send(frame(0), timeout_ms=100)
            with Receiver(ring.connecting(sender, "client")) as receiver:
                wait_until(lambda: sender.send(frame(1), timeout_ms=50))
                got = receiver.receive(10_000)
                assert got is not None
                assert got.frame_id == 1
                assert stranger.receive(0) is None

    def test_garbage_and_port_scans_are_counted_and_harm_nothing(self, ring: Ring) -> None:
        ring.allow("client", "subscribers")
        with Sender(ring.binding()) as sender:
            address = ("127.0.0.1", int(sender.endpoint.rpartition(":")[2]))
            for words in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 10_000):
                with socket.create_connection(address) as connection:
                    connection.sendall(words)
            # libzmq tells nothing of one of the three
            wait_until(lambda: sum(refused(sender).values()) >= 2, sender)
            with Receiver(ring.connecting(sender, "client")) as receiver:
                wait_until(lambda: sender.wait_for_peers(1, 0.05) == 1, receiver)

    @pytest.mark.parametrize("secured", [True, False])
    def test_the_oldest_protocol_is_no_way_round(self, ring: Ring, secured: bool) -> None:
        """ZMTP 1.0 knows no security: a peer that says it speaks nothing else stays outside."""
        channel = ring.binding("pushpull") if secured else Channel(ANYWHERE, True, "pushpull")
        body = b"frame/cam"
        with Receiver(channel) as receiver:
            address = ("127.0.0.1", int(receiver.endpoint.rpartition(":")[2]))
            with socket.create_connection(address) as connection:
                connection.sendall(b"\x01\x00" + bytes([len(body) + 1, 0]) + body)
                if secured:
                    connection.settimeout(PATIENCE_S)
                    with contextlib.suppress(ConnectionResetError):
                        while connection.recv(1000):
                            pass  # until it is hung up on
                    assert receiver.receive(200) is None
                else:  # the same bytes do get in where nothing guards
                    with pytest.raises(MessageError, match="parts"):
                        receiver.receive(10_000)

    def test_without_its_gatekeeper_a_socket_lets_nobody_in(self, ring: Ring) -> None:
        """libzmq would admit everybody where a context has no ZAP handler."""
        ring.allow("client", "subscribers")
        with Sender(ring.binding()) as sender:
            assert sender._guard is not None
            sender._guard.close()
            sender._guard = None
            with Receiver(ring.connecting(sender, "client")) as receiver:
                wait_until(lambda: refused(receiver), receiver)
                assert sender.wait_for_peers(1, 0.5) == 0


class TestRotation:
    def test_of_a_clients_key_while_all_run(self, ring: Ring) -> None:
        ring.allow("client", "subscribers")
        with Sender(ring.binding()) as sender:
            first = Receiver(ring.connecting(sender, "client"))
            wait_until(lambda: sender.wait_for_peers(1, 0.05) == 1, first)
            keys.rotate_key("client", ring.folder)
            ring.allow("client", "subscribers")
            # The former and the new key are allowed; who is connected notices nothing.
            with Receiver(ring.connecting(sender, "client")) as second:
                wait_until(lambda: sender.wait_for_peers(2, 0.05) == 2, first, second)
                sender.send(frame(1))
                for receiver in (first, second):
                    got = receiver.receive(10_000)
                    assert got is not None
                    assert got.frame_id == 1
            first.close()
            keys.revoke("client.old", "subscribers", ring.allowed)
            former = Curve(key=ring.secret("client.old"), server=str(ring.public("server")))
            with Receiver(Channel(sender.endpoint, False, curve=former)) as late:
                wait_until(lambda: refused(sender).get("unknown_key"), late)
                wait_until(lambda: sender.wait_for_peers(1, 0.05) == 0, late)

    def test_a_refused_client_gets_in_once_it_is_allowed(self, ring: Ring) -> None:
        with (
            Sender(ring.binding()) as sender,
            Receiver(ring.connecting(sender, "client")) as receiver,
        ):
            wait_until(lambda: refused(sender).get("unknown_key"), receiver)
            ring.allow("client", "subscribers")
            wait_until(lambda: sender.wait_for_peers(1, 0.05) == 1, receiver)

    def test_a_refused_client_takes_up_its_new_key(self, ring: Ring) -> None:
        with (
            Sender(ring.binding()) as sender,
            Receiver(ring.connecting(sender, "client")) as receiver,
        ):
            wait_until(lambda: refused(sender).get("unknown_key"), receiver)
            keys.rotate_key("client", ring.folder)
            ring.allow("client", "subscribers")
            wait_until(lambda: sender.wait_for_peers(1, 0.05) == 1, receiver)

    def test_of_the_servers_key_with_clients_that_go_on_running(
        self, ring: Ring, tmp_path: Path
    ) -> None:
        """A folder of server keys: the client tries the next one where a handshake fails."""
        ring.allow("client", "subscribers")
        known = tmp_path / "servers"
        known.mkdir()
        (known / "a.key").write_bytes(ring.public("server").read_bytes())
        sender = Sender(ring.binding())
        again = msgspec.structs.replace(sender.channel, endpoint=sender.endpoint)
        curve = Curve(key=ring.secret("client"), server=str(known))
        with Receiver(Channel(sender.endpoint, False, curve=curve)) as receiver:
            with sender:
                wait_until(lambda: sender.wait_for_peers(1, 0.05) == 1, receiver)
                keys.rotate_key("server", ring.folder)
                (known / "b.key").write_bytes(ring.public("server").read_bytes())
            with Sender(again) as second:
                wait_until(lambda: second.wait_for_peers(1, 0.05) == 1, receiver)
                second.send(frame(3))
                got = receiver.receive(10_000)
                assert got is not None
                assert got.frame_id == 3

    def test_an_allow_list_that_vanishes_allows_nobody(self, ring: Ring) -> None:
        ring.allow("client", "subscribers")
        with Sender(ring.binding()) as sender:
            ring.allowed.rename(ring.allowed.with_name("gone"))
            with Receiver(ring.connecting(sender, "client")) as receiver:
                wait_until(lambda: refused(sender).get("unknown_key"), receiver)
                ring.allowed.with_name("gone").rename(ring.allowed)
                wait_until(lambda: sender.wait_for_peers(1, 0.05) == 1, receiver)


class TestLeftovers:
    def test_no_thread_and_no_descriptor_stays(self, ring: Ring) -> None:
        ring.allow("client", "subscribers")
        for warm in (True, False):
            before = len(os.listdir("/proc/self/fd")), gatekeepers()
            for _ in range(1 if warm else 5):
                with (
                    Sender(ring.binding()) as sender,
                    Receiver(ring.connecting(sender, "client")) as receiver,
                    Receiver(ring.connecting(sender, "stranger")) as stranger,
                ):
                    wait_until(lambda s=sender: s.wait_for_peers(1, 0.05) == 1, receiver)
                    wait_until(lambda s=sender: refused(s), stranger)
                    assert gatekeepers() == 1
            if not warm:
                assert (len(os.listdir("/proc/self/fd")), gatekeepers()) == before
        assert gatekeepers() == 0

    def test_ends_that_share_a_context_share_a_gatekeeper(self, ring: Ring) -> None:
        ring.allow("client", "frames")
        with zmq.Context() as context:
            with (
                Receiver(ring.binding(), context=context) as frames,
                Receiver(ring.binding(), kinds=("detections",), context=context) as detections,
                Sender(ring.connecting(frames, "client")) as camera,
                Sender(ring.connecting(detections, "client")) as intruder,
            ):
                assert gatekeepers() == 1
                wait_until(lambda: camera.wait_for_peers(1, 0.05) == 1, frames)
                wait_until(lambda: refused(detections).get("wrong_role"), detections, intruder)
                assert not refused(frames)
            assert gatekeepers() == 0
            with Receiver(ring.binding(), context=context):
                assert gatekeepers() == 1
        assert gatekeepers() == 0

    def test_a_context_that_is_terminated_first(self, ring: Ring) -> None:
        context = zmq.Context()
        sender = Sender(ring.binding(), context=context)
        ending = threading.Thread(target=context.term)
        ending.start()
        wait_until(lambda: gatekeepers() == 0)
        sender.close()
        ending.join(PATIENCE_S)
        assert not ending.is_alive()

    def test_an_endpoint_that_cannot_be_bound_leaves_nothing(self, ring: Ring) -> None:
        with Sender(ring.binding()) as sender:
            with pytest.raises(ChannelError, match="in use"):
                Sender(ring.binding(endpoint=sender.endpoint))
            assert gatekeepers() == 1


def gatekeepers() -> int:
    return sum(thread.name == "gatekeeper" for thread in threading.enumerate())


class TestKeyFilesOfChannels:
    def test_missing(self, ring: Ring) -> None:
        for name, complaint in (("nobody", "nobody.key_secret: cannot be read: "),):
            curve = Curve(key=ring.secret(name), allow=str(ring.allowed))
            with pytest.raises(KeyFileError, match=complaint):
                Sender(Channel(ANYWHERE, True, curve=curve))

    @pytest.mark.parametrize("mode", [0o604, 0o640, 0o606])
    def test_a_secret_that_others_may_use(self, ring: Ring, mode: int) -> None:
        Path(ring.secret("server")).chmod(mode)
        with pytest.raises(KeyFileError, match=rf"\(mode {mode:04o}\).*chmod 600"):
            Sender(ring.binding())
        assert gatekeepers() == 0

    def test_a_public_key_in_place_of_the_secret(self, ring: Ring) -> None:
        ring.public("client").chmod(0o600)
        curve = Curve(key=str(ring.public("client")), allow=str(ring.allowed))
        with pytest.raises(KeyFileError, match="holds no secret key"):
            Sender(Channel(ANYWHERE, True, curve=curve))

    def test_an_allow_list_that_is_not_there_or_open_to_all(self, ring: Ring) -> None:
        ring.allowed.chmod(0o777)
        with pytest.raises(KeyFileError, match="everybody can write"):
            Sender(ring.binding())
        ring.allowed.chmod(0o755)
        (ring.allowed / "subscribers").rmdir()
        with pytest.raises(KeyFileError, match=r"subscribers is not a folder; `dscsnet keys allow"):
            Sender(ring.binding())

    def test_no_secret_is_logged_or_shown(
        self, ring: Ring, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        ring.allow("client", "subscribers")
        with (
            Sender(ring.binding()) as sender,
            Receiver(ring.connecting(sender, "client")) as receiver,
            Receiver(ring.connecting(sender, "stranger")) as stranger,
        ):
            wait_until(lambda: sender.wait_for_peers(1, 0.05) == 1, receiver)
            wait_until(lambda: refused(sender), stranger)
        pairs = [keys.read_secret(ring.secret(n)) for n in ("server", "client", "stranger")]
        for pair in pairs:
            assert pair.secret.decode() not in caplog.text + repr(pairs)

    def test_check_looks_at_the_key_files(self, ring: Ring) -> None:
        bound, connected = ring.binding().curve, Curve(key=ring.secret("client"), server="none")
        assert bound is not None
        check_keys(bound, "frames")
        with pytest.raises(KeyFileError, match="none: cannot be read"):
            check_keys(connected, "frames")
        (ring.allowed / "frames").rmdir()
        with pytest.raises(KeyFileError, match="--role frames"):
            check_keys(bound, "frames")


class TestExposure:
    @pytest.mark.parametrize(
        ("endpoint", "local"),
        [
            ("tcp://127.0.0.1:5550", True),
            ("tcp://127.8.0.1:*", True),
            ("tcp://localhost:5550", True),
            ("tcp://[::1]:5550", True),
            ("tcp://lo:5550", True),
            ("ipc:///run/frames", True),
            ("inproc://frames", True),
            ("tcp://*:5550", False),
            ("tcp://0.0.0.0:5550", False),
            ("tcp://[::]:5550", False),
            ("tcp://10.0.0.5:5550", False),
            ("tcp://eth0:5550", False),
            ("tcp://localhost.example:5550", False),
            ("tcp://127.0.0.1.example:5550", False),
            ("tcp://127.0.0.1:0;10.0.0.5:5550", False),
        ],
    )
    def test_local(self, endpoint: str, local: bool) -> None:
        assert is_local(endpoint) is local

    def test_a_plain_bind_on_the_network_is_refused_in_one_line(self, tmp_path: Path) -> None:
        path = tmp_path / "node.yaml"
        plain = 'output: {targets: {endpoint: "tcp://0.0.0.0:5552", bind: true'
        path.write_text(plain + "}}")
        with pytest.raises(
            ConfigError, match=r"output\.targets: bind: .* network.*curve"
        ) as caught:
            load_config(path)
        assert "\n" not in str(caught.value)
        assert INSECURE in str(caught.value)
        path.write_text(plain + f', insecure: "{INSECURE}"}}}}')
        assert load_config(path).output.targets.insecure == INSECURE
        path.write_text(plain + ", insecure: yes}}")
        with pytest.raises(ConfigError, match="insecure"):
            load_config(path)

    @pytest.mark.parametrize(
        ("settings", "complaint"),
        [
            ({"bind": True, "curve": {"key": "k"}}, "key and allow"),
            ({"bind": True, "curve": {"key": "k", "allow": "a", "server": "s"}}, "no server"),
            ({"bind": False, "curve": {"key": "k"}}, "key and server"),
            ({"bind": False, "curve": {"key": "k", "allow": "a", "server": "s"}}, "no allow"),
            ({"bind": True, "curve": {"key": "k", "allow": "a"}, "insecure": INSECURE}, "contradi"),
            ({"bind": True, "curve": {"allow": "a"}}, "key"),
            ({"bind": True, "curve": {"key": "k", "alow": "a"}}, "alow"),
        ],
    )
    def test_settings_that_do_not_fit(self, settings: dict, complaint: str) -> None:
        with pytest.raises(msgspec.ValidationError, match=complaint):
            msgspec.convert({"endpoint": "tcp://10.0.0.5:5550", **settings}, Channel)

    def test_inproc_cannot_be_encrypted(self) -> None:
        with pytest.raises(ValueError, match="inproc never leaves"):
            Channel("inproc://x", True, curve=Curve(key="k", allow="a"))

    def test_plain_channels_on_a_network_are_warned_of(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with Receiver(Channel("tcp://192.0.2.1:5550", False)):
            assert "without encryption" in caplog.text
        caplog.clear()
        with Receiver(Channel("tcp://192.0.2.1:5550", False, insecure=INSECURE)):
            assert not caplog.text
        with Receiver(Channel("tcp://0.0.0.0:*", True, insecure=INSECURE)):
            assert "anyone on the network" in caplog.text

    def test_pages_on_a_network_are_warned_of(self, caplog: pytest.LogCaptureFixture) -> None:
        registry = NodeMetrics(dict).registry.__class__()
        for host, warned in (("127.0.0.1", False), ("0.0.0.0", True)):
            with HealthServer(Http(host=host, port=0), registry, lambda: None, lambda: None):
                assert ("anyone who reaches" in caplog.text) is warned


def test_a_secured_node_counts_whom_it_refuses(ring: Ring) -> None:
    """Camera and detector connect to the node; heartbeat and metrics tell of the intruder."""
    ring.allow("client", "frames")
    ring.allow("server", "subscribers")
    config = NodeConfig(
        inputs=Inputs(frames=ring.binding(), detections=ring.binding()),
        output=Output(targets=ring.binding(), expected_subscribers=0),
        http=Http(enabled=False),
    )
    node, stop = Node(config), threading.Event()
    thread = threading.Thread(target=node.run, args=(stop,))
    thread.start()
    try:
        assert node.ready.wait(60)
        frames, detections = (node._ends[name] for name in ("frames", "detections"))
        assert isinstance(frames, Receiver)
        assert isinstance(detections, Receiver)
        target = Channel(
            node.targets_endpoint,
            False,
            curve=Curve(key=ring.secret("server"), server=str(ring.public("server"))),
        )
        with (
            Sender(ring.connecting(frames, "client")) as camera,
            Sender(ring.connecting(detections, "client")) as intruder,
            Receiver(target, kinds=("targets", "status")) as listener,
        ):
            deadline = time.monotonic() + PATIENCE_S
            sent = answers = 0
            counts: dict[str, int] = {}
            while not (answers and counts.get("wrong_role")):
                assert time.monotonic() < deadline
                if camera.wait_for_peers(1, 0.05):
                    camera.send(frame(sent))
                    sent += 1
                intruder.wait_for_peers(1, 0.0)
                message = listener.receive(50)
                if isinstance(message, Status):
                    counts = message.body["refused_connections"]
                else:
                    answers += message is not None
            assert intruder.wait_for_peers(1, 0.0) == 0
    finally:
        stop.set()
        thread.join(30)
    assert gatekeepers() == 0
    samples = {
        sample.labels["reason"]: sample.value
        for metric in node._metrics.collect()
        for sample in metric.samples
        if sample.name == "dscsnet_refused_connections_total"
    }
    assert samples["wrong_role"] >= 1


class Wiretap:
    """A TCP proxy that keeps what passes through it."""

    def __init__(self, endpoint: str) -> None:
        self._target = ("127.0.0.1", int(endpoint.rpartition(":")[2]))
        self._server = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        self.seen = bytearray()
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def _serve(self) -> None:
        near, _ = self._server.accept()
        far = socket.create_connection(self._target)
        with near, far:
            other = threading.Thread(target=self._copy, args=(near, far))
            other.start()
            self._copy(far, near)
            other.join()

    def _copy(self, source: Any, sink: Any) -> None:
        try:
            while data := source.recv(65536):
                self.seen += data
                sink.sendall(data)
        except OSError:
            pass
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def __enter__(self) -> "Wiretap":
        return self

    def __exit__(self, *_: object) -> None:
        self._threads[0].join(PATIENCE_S)
        self._server.close()


def test_a_recorder_beside_a_secured_chain(ring: Ring, tmp_path: Path) -> None:
    ring.allow("client", "subscribers")
    file = tmp_path / "out.mcap"
    with Sender(ring.binding()) as sender:
        command = [
            *(sys.executable, "-P", "-m", "dscsnet.pipeline", "record", str(file)),
            *("--frames", sender.endpoint, "--detections", "none", "--targets", "none"),
            *("--key", ring.secret("client"), "--server", f"frames={ring.public('server')}"),
            "--exit-on-end",
        ]
        recorder = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
        try:
            assert sender.wait_for_peers(1, 60)
            sender.send(frame(0))
            sender.send(End("cam", EPOCH, 0, 1))
            assert recorder.wait(60) == 0
        finally:
            recorder.kill()
            recorder.wait()
    kinds = [type(recorded.message) for recorded in RecordingReader([file]).messages()]
    assert kinds == [Frame, End]

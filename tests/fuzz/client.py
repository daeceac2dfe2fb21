"""A peer that sends a node nothing that a publisher would: mutated messages, and worse."""

import contextlib
import random
import socket
import time
from collections import Counter
from pathlib import Path

import msgpack
import zmq

from tests.fuzz.mutators import flip_bytes, message_parts
from tests.fuzz.targets import CORPUS

GREETING = bytes.fromhex("ff00000000000000017f03004e554c4c") + bytes(48)
READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB"
REQUESTS = (
    b"GET /metrics HTTP/1.1\r\n\r\n",
    b"POST /healthz HTTP/9.9\r\nContent-Length: -1\r\n\r\n",
)
LONGEST_MESSAGE = 2**20


class FuzzClient:
    """Sends to both inputs, subscribes at the output and calls at the HTTP port.

    Args:
        endpoints: `frames`, `detections`, `targets` and `http`, each `tcp://127.0.0.1:port`.

    Attributes:
        sent: what was sent, by kind.
    """

    def __init__(self, endpoints: dict[str, str], seed: int) -> None:
        self._endpoints, self._chance = endpoints, random.Random(seed)
        self._valid = [path.read_bytes() for path in _seeds("message", "unmix")]
        self._context = zmq.Context()
        self._inputs = [self._connected(zmq.PUB, endpoints[name]) for name in INPUTS]
        self._output = self._connected(zmq.XSUB, endpoints["targets"])
        self._streams = 0
        self.sent: Counter[str] = Counter()

    def _connected(self, kind: int, endpoint: str) -> zmq.Socket[bytes]:
        peer = self._context.socket(kind)
        peer.setsockopt(zmq.LINGER, 0)
        peer.connect(endpoint)
        return peer

    def work(self, seconds: float) -> None:
        """Send for some time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for _ in range(20):
                self._send_message()
            self._send_subscriptions()
            if self._chance.random() < 0.2:
                self._send_raw()
            time.sleep(0.02)  # the node is to read it all, not to drop it at its queue

    def close(self) -> None:
        """Leave."""
        for peer in (*self._inputs, self._output):
            peer.close()
        self._context.term()

    def _send_message(self) -> None:
        chance = self._chance
        data = chance.choice(self._valid)
        valid = msgpack.unpackb(data)
        action = chance.randrange(12)
        if action == 0:
            parts, kind = valid * chance.choice([2, 5, 300]), "many parts"
        elif action == 1:
            parts, kind = [chance.randbytes(chance.choice([0, 1, 5000]))], "one part"
        elif action == 2:
            valid[-1] = bytes(chance.choice([1, 2**16, LONGEST_MESSAGE]))
            parts, kind = valid, "long"
        elif action == 3:
            parts, kind = [flip_bytes(part, chance) for part in valid], "bytes"
        elif action == 4:
            parts, kind = self._renamed(valid[:3]), "another stream"
        else:
            flipped = data
            for _ in range(chance.choice([1, 1, 3])):
                flipped = message_parts(flipped, chance, lambda part: flip_bytes(part, chance))
            parts, kind = _parts(flipped), "structure"
        if parts:
            with contextlib.suppress(zmq.Again):
                chance.choice(self._inputs).send_multipart(parts, zmq.DONTWAIT)
                self.sent[kind] += 1

    def _renamed(self, parts: list[bytes]) -> list[bytes]:
        """A message that is valid, of streams, epochs and frames that come and go."""
        chance = self._chance
        header = msgpack.unpackb(parts[1])
        name = f"fuzz{chance.randrange(90)}"
        header |= {"stream": name, "epoch": chance.choice([b"a" * 16, chance.randbytes(16)])}
        header["frame_id"] = chance.choice([0, 1, 2, 2**63, 2**64 - 1, chance.randrange(1000)])
        kind = parts[0].partition(b"/")[0]
        return [kind + b"/" + name.encode(), msgpack.packb(header), *parts[2:]]

    def _send_subscriptions(self) -> None:
        topic = self._chance.choice([b"", b"targets/", self._chance.randbytes(30)])
        command = self._chance.choice([b"\x00", b"\x01", b"\x02", b""])
        with contextlib.suppress(zmq.Again):
            self._output.send(command + topic, zmq.DONTWAIT)
            self.sent["subscription"] += 1

    def _send_raw(self) -> None:
        """Bytes without ZeroMQ; the node's end may hang up at any time."""
        chance = self._chance
        name = chance.choice(sorted(self._endpoints))
        if name == "http":
            content = chance.choice(REQUESTS)
        else:
            frame = b"\x02" + chance.choice([2**62, 2**31, 5]).to_bytes(8, "big")
            content = GREETING + READY + frame + chance.randbytes(200)
        content = flip_bytes(content, chance) if chance.random() < 0.7 else content
        host, _, port = self._endpoints[name].removeprefix("tcp://").rpartition(":")
        with (
            contextlib.suppress(OSError),
            socket.create_connection((host, int(port)), timeout=1) as connection,
        ):
            connection.sendall(content)
            self.sent[f"raw to {name}"] += 1


INPUTS = ("frames", "detections")


def _seeds(*targets: str) -> list[Path]:
    return [path for name in targets for path in sorted((CORPUS / name).glob("seed-*"))]


def _parts(data: bytes) -> list[bytes]:
    try:
        parts = msgpack.unpackb(data)
    except (ValueError, msgpack.exceptions.UnpackException):
        return [data]
    return [part for part in parts if isinstance(part, bytes)] if isinstance(parts, list) else []

"""Peers of the chaos test, each a process of its own: `chaos_peers.py ROLE NAME SEED ENDPOINT...`.

`camera` sends frames to the node and to the detector, `detector` sends detections to the node, and
`vandal` sends what no publisher would. What the first two send goes through an unreliable link.
"""

import contextlib
import heapq
import random
import socket
import sys
import time
from collections.abc import Callable

import msgpack
import numpy as np

from dscsnet.pipeline.messages import Detections, End, Frame, Message, encode, new_epoch
from dscsnet.pipeline.sockets import Channel, Receiver, Sender

RATE_HZ = 30.0
HEIGHT, WIDTH = 48, 64
LOSS, DOUBLING, DELAY, DAMAGE = 0.04, 0.04, 0.08, 0.04  # shares of the messages
MAX_DELAY_S = 0.12  # beyond the node's default join timeout

Parts = list[bytes]


def edited(parts: Parts, **changes: object) -> Parts:
    """The message with some keys of its map changed."""
    return [parts[0], msgpack.packb(msgpack.unpackb(parts[1]) | changes), *parts[2:]]


#: What may happen to a message; none of these is a valid message any more.
DAMAGES: tuple[Callable[[Parts, random.Random], Parts], ...] = (
    lambda parts, chance: [parts[0], chance.randbytes(200), *parts[2:]],
    lambda parts, _: [*parts[:-1], parts[-1][:-1]],
    lambda parts, _: [*parts[:-1], parts[-1] + b"\x00"],
    lambda parts, _: [*parts, *parts, b""],
    lambda parts, _: parts[:1],
    lambda parts, _: edited(parts, schema="frame/2"),
    lambda parts, _: edited(parts, schema="targets/1"),
    lambda parts, _: edited(parts, epoch=b"short"),
    lambda parts, _: edited(parts, frame_id=-1),
    lambda parts, _: edited(parts, stream="another"),
    lambda parts, _: edited(parts, height=16384, width=16384, x=[1.0]),
    lambda parts, _: edited(parts, height=-1, x=None),
    lambda parts, _: edited(parts, note=[[[[[[[[[[]]]]]]]]]]),
    lambda parts, _: edited(parts, note="x" * 100_000),
    lambda parts, _: [parts[0], b"\xdf\x7f\xff\xff\xff" + parts[1], *parts[2:]],
    lambda parts, _: [parts[0] + b" /../", *parts[1:]],
)


class UnreliableLink:
    """Loses, doubles, delays (so that others overtake) and damages what is sent."""

    def __init__(self, sender: Sender, chance: random.Random) -> None:
        self._sender, self._chance = sender, chance
        self._delayed: list[tuple[float, int, Message]] = []
        self._count = 0

    def send(self, message: Message) -> None:
        """Send, or not."""
        kind = self._chance.random()
        if (kind := kind - LOSS) < 0:
            return
        if (kind := kind - DAMAGE) < 0:
            parts = [bytes(part) for part in encode(message)]
            damage = self._chance.choice(DAMAGES)
            self._sender.socket.send_multipart(damage(parts, self._chance))
        if (kind := kind - DELAY) < 0:
            due = time.monotonic() + self._chance.uniform(0, MAX_DELAY_S)
            self._count += 1
            heapq.heappush(self._delayed, (due, self._count, message))
            return
        self._sender.send(message)
        if kind - DOUBLING < 0:
            self._sender.send(message)

    def release(self) -> None:
        """Send what was delayed until now."""
        while self._delayed and self._delayed[0][0] <= time.monotonic():
            self._sender.send(heapq.heappop(self._delayed)[2])


def camera(name: str, chance: random.Random, to_node: str, to_detector: str) -> None:
    """Frames of one stream at a steady rate; some lives end with an `end`."""
    epoch, last = new_epoch(), chance.choice([40, 100, 10**9])
    noise = np.random.default_rng(chance.getrandbits(64))
    pixels = noise.integers(900, 1100, (HEIGHT, WIDTH), np.uint16)
    pixels[20, 30] = 5000
    with (
        Sender(Channel(to_node, bind=False)) as node,
        Sender(Channel(to_detector, bind=False)) as detector,
    ):
        node.wait_for_peers(1, 5)
        link, started = UnreliableLink(node, chance), time.monotonic()
        for frame_id in range(last):
            frame = Frame(name, epoch, frame_id, time.time_ns(), pixels)
            detector.send(frame)
            link.send(frame)
            time.sleep(max(0.0, started + frame_id / RATE_HZ - time.monotonic()))
            link.release()
        node.send(End(name, epoch, last - 1, time.time_ns()))


def detector(_name: str, chance: random.Random, to_node: str, frames: str) -> None:
    """Random candidates for each frame that comes."""
    with (
        Receiver(Channel(frames, bind=True)) as receiver,
        Sender(Channel(to_node, bind=False)) as node,
    ):
        link = UnreliableLink(node, chance)
        while True:
            link.release()
            frame = receiver.receive(20)
            if not isinstance(frame, Frame):
                continue
            number = chance.choice([0, 1, 1, 2, 5, 40])
            x = [chance.uniform(-2, WIDTH + 1) for _ in range(number)]
            y = [chance.uniform(-2, HEIGHT + 1) for _ in range(number)]
            link.send(Detections(*frame.key, frame.timestamp_ns, x=x, y=y))


def vandal(name: str, chance: random.Random, frames: str, detections: str) -> None:
    """Messages with wild keys and flipped bits, and connections that speak no ZeroMQ."""
    with (
        Sender(Channel(frames, bind=False)) as to_frames,
        Sender(Channel(detections, bind=False)) as to_detections,
    ):
        for sender in (to_frames, to_detections):
            sender.wait_for_peers(1, 5)
        while True:
            time.sleep(0.04)
            key = (name, chance.randbytes(16), chance.choice([0, 1, 2**63, 2**64 - 1]), 7)
            pixels = np.full((4, 4), chance.choice([np.nan, np.inf, -1e38, 0]), np.float32)
            many = [chance.uniform(-1e9, 1e9)] * chance.choice([1, 300, 20_000])
            first: Message = Frame(*key, pixels) if chance.random() < 0.5 else End(*key)
            second: Message = Detections(*key, x=many, y=many)
            for sender, message in ((to_frames, first), (to_detections, second)):
                parts = [bytearray(part) for part in encode(message)]
                for _ in range(chance.choice([0, 0, 1, 10])):
                    part = chance.choice(parts)
                    part[chance.randrange(len(part))] ^= 1 << chance.randrange(8)
                sender.send(message, 0)
                sender.socket.send_multipart(list(map(bytes, parts)))
            if chance.random() < 0.05:
                hang_up_midway(chance.choice([frames, detections]), chance)


def hang_up_midway(endpoint: str, chance: random.Random) -> None:
    """Connect without being a ZeroMQ peer, send anything, and leave."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    with (
        contextlib.suppress(OSError),
        socket.create_connection((host, int(port)), timeout=1) as connection,
    ):
        connection.sendall(chance.randbytes(chance.choice([1, 64, 5000])))


if __name__ == "__main__":
    role, peer_name, seed, *endpoints = sys.argv[1:]
    roles = {"camera": camera, "detector": detector, "vandal": vandal}
    roles[role](peer_name, random.Random(f"{peer_name} {seed}"), *endpoints)

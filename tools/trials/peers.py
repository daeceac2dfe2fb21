"""Publishers and subscribers of the trials, each a process.

Run as `python -m dscsnet.tools.trials.peers JSON`. Each says `up NANOSECONDS` (monotonic clock) on
standard output once its sockets are open.
"""

import itertools
import signal
import sys
import time
from typing import Any, Literal

import msgspec

from dscsnet.pipeline.messages import Detections, End, Frame, Targets, new_epoch
from dscsnet.pipeline.replay.pacing import Pacer
from dscsnet.pipeline.sockets import Channel, Receiver, Sender
from dscsnet.tools.bench.node import make_load

PEERS_S = 30.0
DRAIN_S = 2.0


class Camera(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Sends frames of one stream, to the node and to the detector.

    Attributes:
        endpoints: bound; the first is the node's, the second the detector's.
        rate_hz: None: as fast as they are taken.
        life_frames: an epoch ends, with `end`, after so many frames and another begins; 0: never.
        jump_s: the timestamps jump forth and back by this much, once a second.
    """

    endpoints: tuple[Channel, Channel]
    shape: tuple[int, int]
    candidates: int
    rate_hz: float | None
    stream: str = "cam"
    lossless: bool = False
    life_frames: int = 0
    jump_s: float = 0.0

    def run(self) -> None:
        """Send until SIGTERM, then an `end`."""
        load, going = make_load(self.candidates, shape=self.shape), _until_terminated()
        node_end, detector_end = self.endpoints
        with (
            Sender(node_end, lossless=self.lossless) as node,
            Sender(detector_end, lossless=self.lossless) as detector,
        ):
            _say("up")
            node.wait_for_peers(1, PEERS_S)
            detector.wait_for_peers(1, PEERS_S)
            pacer, epoch, frame_id = Pacer(self.rate_hz), new_epoch(), 0
            for index in itertools.count():
                pacer.wait(index)
                timestamp = self._timestamp()
                if not going[0]:
                    break
                pixels = load.frames[index % len(load.frames)]
                frame = Frame(self.stream, epoch, frame_id, timestamp, pixels)
                node.send(frame)
                detector.send(frame)
                frame_id += 1
                if frame_id == self.life_frames:
                    node.send(End(self.stream, epoch, frame_id - 1, timestamp))
                    epoch, frame_id = new_epoch(), 0
            if frame_id:
                # A full queue drops what is sent, the end of the stream as well.
                time.sleep(0 if self.lossless else DRAIN_S)
                node.send(End(self.stream, epoch, frame_id - 1, timestamp))

    def _timestamp(self) -> int:
        now = time.time_ns()
        return now + int(self.jump_s * 1e9) * (-1) ** (now // 1_000_000_000)


class Detector(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Sends the candidates of each frame that comes.

    Attributes:
        frames, detections: connected, and bound.
        empty_every, missing_every: of so many frames one has no candidates, or no message; 0: none.
    """

    frames: Channel
    detections: Channel
    candidates: int
    shape: tuple[int, int]
    lossless: bool = False
    empty_every: int = 0
    missing_every: int = 0

    def run(self) -> None:
        """Serve until SIGTERM."""
        load, going = make_load(self.candidates, shape=self.shape), _until_terminated()
        with (
            Receiver(self.frames) as receiver,
            Sender(self.detections, lossless=self.lossless) as node,
        ):
            # It tells this life of the detector from others in the node's answers.
            ids = [_say("up")] * self.candidates
            node.wait_for_peers(1, PEERS_S)
            while going[0]:
                frame = receiver.receive(200)
                if not isinstance(frame, Frame) or _is_nth(frame, self.missing_every):
                    continue
                found: tuple[list[float], list[float], list[int]] = load.x, load.y, ids
                if _is_nth(frame, self.empty_every):
                    found = [], [], []
                x, y, numbers = found
                node.send(Detections(*frame.key, frame.timestamp_ns, x=x, y=y, id=numbers))


class Subscriber(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Reads targets, and does nothing with them; says `first NANOSECONDS` at the first ones."""

    targets: Channel

    def run(self) -> None:
        """Read until SIGTERM."""
        going = _until_terminated()
        with Receiver(self.targets, kinds=("targets", "end", "status")) as receiver:
            _say("up")
            while going[0] and not isinstance(receiver.receive(200), Targets):
                pass
            _say("first")
            while going[0]:
                receiver.receive(200)


Peer = Camera | Detector | Subscriber


def _is_nth(frame: Frame, every: int) -> bool:
    return every > 0 and frame.frame_id % every == every - 1


def _say(what: str) -> int:
    """Returns the moment."""
    now = time.monotonic_ns()
    print(f"{what} {now}", flush=True)
    return now


def _until_terminated() -> list[Literal[True]]:
    """A list that SIGTERM empties of its truth."""
    going: list[Any] = [True]

    def end(*_: object) -> None:
        going[0] = False

    signal.signal(signal.SIGTERM, end)
    return going


if __name__ == "__main__":
    peer: Peer = msgspec.json.decode(sys.argv[1], type=Peer)
    peer.run()

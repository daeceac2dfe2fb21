"""The receiving thread: sockets to joiner."""

import logging
import threading
import time

import zmq

from pipeline.config import Inputs
from pipeline.errors import MessageError
from pipeline.join import Joiner
from pipeline.log import RateLimitedLog
from pipeline.messages import End
from pipeline.sockets import Receiver

log = logging.getLogger(__name__)

#: Look at the stop event, and at inputs that were blocked, this often.
IDLE_MS, BLOCKED_MS = 100, 2
#: Messages read from one input before the other has its turn.
BURST = 16


class Intake:
    """Reads both inputs until told to stop; a malformed message is counted and logged.

    Raises:
        ChannelError: an input cannot be bound or connected.
    """

    def __init__(self, inputs: Inputs, joiner: Joiner) -> None:
        self._joiner = joiner
        self._warn = RateLimitedLog(log)
        self.frames = Receiver(inputs.frames, kinds=("frame", "end"), streams=inputs.streams)
        try:
            self.detections = Receiver(
                inputs.detections, kinds=("detections", "end"), streams=inputs.streams
            )
        except BaseException:
            self.frames.close()
            raise

    def run(self, stop: threading.Event) -> None:
        """Receive until `stop` is set."""
        receivers = (self.frames, self.detections)
        while not stop.is_set():
            deadline = self._joiner.expire()
            blocked = self._joiner.blocked()
            readable = [
                r for r, is_blocked in zip(receivers, blocked, strict=True) if not is_blocked
            ]
            wait_ms = _wait_ms(deadline, any(blocked))
            if readable:
                zmq.select([receiver.socket for receiver in readable], [], [], wait_ms / 1000)
            else:
                stop.wait(wait_ms / 1000)  # a poll of nothing would return at once
            # Where nothing came, too: a receiver looks after its connection when it is read.
            for receiver in readable:
                self._read(receiver)

    def _read(self, receiver: Receiver) -> None:
        for _ in range(BURST):
            try:
                message = receiver.receive(0)
            except MessageError as error:
                self._joiner.reject(error.reason)
                self._warn.warning(f"message rejected ({error.reason})", str(error))
                continue
            if message is None:
                return
            if receiver is self.detections and isinstance(message, End):
                continue  # detectors may pass it on; the frames' own is the one that counts
            self._joiner.offer(message)
            if any(self._joiner.blocked()):
                return

    def close(self) -> None:
        """Close both sockets."""
        self.frames.close()
        self.detections.close()


def _wait_ms(deadline_ns: int | None, blocked: bool) -> int:
    wait = float(BLOCKED_MS if blocked else IDLE_MS)
    if deadline_ns is not None:
        wait = min(wait, max(0.0, (deadline_ns - time.monotonic_ns()) / 1e6))
    # Rounded up: a wait of 0 ms would spin until the deadline.
    return int(wait) + 1

"""The receiving thread: sockets to joiner."""

import logging
import threading
import time

import zmq

from dscsnet.pipeline.config import Inputs
from dscsnet.pipeline.errors import MessageError
from dscsnet.pipeline.join import DETECTIONS, FRAMES, Joiner
from dscsnet.pipeline.messages import Detections, End, Frame, FrameKey, Message
from dscsnet.pipeline.process.logs import RateLimitedLog
from dscsnet.pipeline.sockets import Receiver

log = logging.getLogger(__name__)

#: Look at the stop event, and at inputs that were blocked, this often.
IDLE_MS, BLOCKED_MS = 100, 2
#: Messages read before deadlines are looked at again.
BURST = 64
#: Messages read from the input that is behind before the other has its turn.
CATCH_UP = 64
#: Streams whose progress is remembered.
MOST_STREAMS = 256


class InputProgress:
    """How far each input has come in each stream, so that the one behind is read first.

    Under overload frames are lost at their publisher, whose queue is short, while thousands of
    detections find room on the way. Read in turn, they would come later and later, after their
    frames were given up: nothing would be joined until the overload ends.
    """

    def __init__(self) -> None:
        self._read: tuple[dict[str, FrameKey], dict[str, FrameKey]] = ({}, {})
        self._stream: str | None = None
        self._last, self._in_a_row = DETECTIONS, 0

    def note(self, source: int, message: Message | None) -> None:
        """One message was read from an input; None: a malformed one."""
        self._in_a_row = self._in_a_row + 1 if source == self._last else 1
        self._last = source
        if isinstance(message, Frame | Detections):
            keys = self._read[source]
            if len(keys) >= MOST_STREAMS and message.stream not in keys:
                keys.clear()
            keys[message.stream] = message.key
            self._stream = message.stream

    def next(self) -> int:
        """The input to read: the one behind in the latest message's stream, or the other one."""
        other = 1 - self._last
        if self._stream is None or self._in_a_row >= CATCH_UP:
            return other
        frame, detections = (keys.get(self._stream) for keys in self._read)
        if frame is None or detections is None or frame.epoch != detections.epoch:
            return other
        if frame.frame_id == detections.frame_id:
            return other
        return FRAMES if frame.frame_id < detections.frame_id else DETECTIONS


class Intake:
    """Reads both inputs until told to stop; a malformed message is counted and logged.

    Raises:
        ChannelError: an input cannot be bound or connected.
    """

    def __init__(self, inputs: Inputs, joiner: Joiner) -> None:
        self._joiner, self._progress = joiner, InputProgress()
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
            readable = [source for source in (FRAMES, DETECTIONS) if not blocked[source]]
            wait_ms = _wait_ms(deadline, any(blocked))
            if readable:
                sockets = [receivers[source].socket for source in readable]
                zmq.select(sockets, [], [], wait_ms / 1000)
            else:
                stop.wait(wait_ms / 1000)  # a poll of nothing would return at once
            # Where nothing came, too: a receiver looks after its connection when it is read.
            self._read(readable)

    def _read(self, readable: list[int]) -> None:
        """Read up to `BURST` messages, of the input behind while it has any."""
        left = list(readable)
        for _ in range(BURST):
            if not left:
                return
            source = self._progress.next()
            if source not in left:
                source = left[0]
            if not self._read_one(source):
                left.remove(source)
            blocked = self._joiner.blocked()
            left = [source for source in left if not blocked[source]]

    def _read_one(self, source: int) -> bool:
        """Whether a message was there."""
        try:
            message = (self.frames, self.detections)[source].receive(0)
        except MessageError as error:
            self._progress.note(source, None)
            self._joiner.reject(error.reason)
            self._warn.warning(f"message rejected ({error.reason})", str(error))
            return True
        if message is None:
            return False
        self._progress.note(source, message)
        # Detectors may pass an end on; the frames' own is the one that counts.
        if source == FRAMES or not isinstance(message, End):
            self._joiner.offer(message)
        return True

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

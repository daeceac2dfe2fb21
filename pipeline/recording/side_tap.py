"""Records what goes over the channels of a running chain, as one more subscriber of each."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import ExitStack

import zmq

from dscsnet.pipeline.errors import MessageError
from dscsnet.pipeline.messages import End, Message
from dscsnet.pipeline.recording.layout import ChannelName
from dscsnet.pipeline.recording.recorder import Recorder
from dscsnet.pipeline.recording.settings import Recording
from dscsnet.pipeline.sockets import Channel, Receiver

log = logging.getLogger(__name__)

KINDS: dict[ChannelName, tuple[str, ...]] = {
    "frames": ("frame", "end"),
    "detections": ("detections", "end"),
    "targets": ("targets", "end", "status"),
}
POLL_MS = 100
#: Messages read from one channel before the others have their turn.
BURST = 16
#: What the sockets still hold at the end is read until nothing comes, at most for so long.
DRAIN_S = 1.0
REPORT_S = 10.0
#: A recorder that is told to end may write what is queued for so long.
CLOSE_S = 30.0


def run_side_tap(
    channels: dict[ChannelName, Channel],
    settings: Recording,
    *,
    streams: Collection[str] = (),
    seconds: float | None = None,
    exit_on_end: bool = False,
    stop: threading.Event | None = None,
    ready: Callable[[], None] | None = None,
) -> Counter[str]:
    """Record until stopped; returns the number of messages recorded by kind.

    Args:
        channels: pubsub channels to subscribe to.
        settings: where to record, and how.
        streams: only these (and heartbeats); none: all.
        seconds: end after so long.
        exit_on_end: end when a stream is complete on the last of the channels, which are in the
            order in which a frame passes them.
        stop: ends it when set.
        ready: called once all sockets are there.

    Raises:
        ChannelError: a socket cannot be opened.
        RecordingError: the file cannot be created, or is there already.
    """
    stop = stop or threading.Event()
    final = list(channels)[-1]
    with ExitStack() as stack:
        recorder = stack.enter_context(Recorder(settings, close_s=CLOSE_S))
        receivers = {
            source: stack.enter_context(Receiver(channel, kinds=KINDS[source]))
            for source, channel in channels.items()
        }
        tap = _Tap(recorder, receivers, streams)
        if ready is not None:
            ready()
        deadline = None if seconds is None else time.monotonic() + seconds
        while not stop.is_set() and (deadline is None or time.monotonic() < deadline):
            ended = tap.turn()
            if exit_on_end and final in ended:
                break
        tap.drain()
        recorder.close()
        return Counter(recorder.snapshot()["written"])


class _Tap:
    """Reads all channels in turn."""

    def __init__(
        self, recorder: Recorder, receivers: dict[ChannelName, Receiver], streams: Collection[str]
    ) -> None:
        self._recorder, self._receivers, self._streams = recorder, receivers, streams
        self._rejected: Counter[str] = Counter()
        self._report_at = time.monotonic() + REPORT_S
        self._dropped = self._taken = 0
        for source, receiver in receivers.items():
            receiver.tap = self._filtered(source)

    def turn(self) -> set[ChannelName]:
        """Take what came; returns the channels on which a stream ended."""
        sockets = [receiver.socket for receiver in self._receivers.values()]
        zmq.select(sockets, [], [], POLL_MS / 1000)
        ended: set[ChannelName] = set()
        self._taken = 0
        for source, receiver in self._receivers.items():
            for _ in range(BURST):
                message = self._receive(receiver)
                if message is None:
                    break
                self._taken += 1
                if isinstance(message, End) and self._is_wanted(message):
                    ended.add(source)
        self._report()
        return ended

    def drain(self) -> None:
        """Take what the sockets hold."""
        deadline = time.monotonic() + DRAIN_S
        self._taken = 1
        while self._taken and time.monotonic() < deadline:
            self.turn()

    def _filtered(self, source: ChannelName) -> Callable[[Message, object], None]:
        tap = self._recorder.tap(source)

        def take(message: Message, parts: object) -> None:
            if self._is_wanted(message):
                tap(message, parts)  # type: ignore[arg-type]

        return take

    def _is_wanted(self, message: Message) -> bool:
        return not self._streams or message.kind == "status" or message.stream in self._streams

    def _receive(self, receiver: Receiver) -> Message | None:
        try:
            return receiver.receive(0)
        except MessageError as error:
            if error.reason not in self._rejected:
                log.warning("malformed message, not recorded (%s): %s", error.reason, error)
            self._rejected[error.reason] += 1
            return None

    def _report(self) -> None:
        now = time.monotonic()
        if now < self._report_at:
            return
        self._report_at = now + REPORT_S
        state = self._recorder.snapshot()
        dropped = sum(state["dropped"].values())
        if dropped > self._dropped:
            log.warning("%d messages dropped so far: %s", dropped, state["dropped"])
        self._dropped = dropped

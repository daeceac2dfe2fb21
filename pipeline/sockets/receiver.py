"""The end of a channel that receives."""

from collections.abc import Sequence
from typing import cast

import zmq

from dscsnet.pipeline.errors import MessageError
from dscsnet.pipeline.messages import KINDS, Limits, Message, decode
from dscsnet.pipeline.messages.codec import MAX_PARTS, MAX_TOPIC_BYTES
from dscsnet.pipeline.sockets.channel import Channel
from dscsnet.pipeline.sockets.end import (
    PEER_MARKER,
    SocketEnd,
    Tap,
    deadline_after,
    milliseconds_left,
    wait_slice,
)


def _publisher_role(kinds: frozenset[str]) -> str:
    """What a peer must be allowed to publish in order to be read for these kinds."""
    if kinds & {"targets", "status"}:
        return "targets"
    return "detections" if "detections" in kinds else "frames"


class Receiver(SocketEnd):
    """The end of a channel that receives: SUB or PULL. Not to be shared between threads.

    Call `receive` at least every second, also when a poller shows nothing: libzmq subscribes on a
    new connection only inside such a call, and a connection that libzmq gave up is renewed there.

    Args:
        channel: where and how.
        kinds: message kinds to read.
        streams: streams to read; none means all.
        limits: the largest messages that are accepted.
        context: to share one between sockets; its owner terminates it.

    Attributes:
        socket: for a `zmq.Poller`.
        endpoint: where it is bound or connected.
        last_bytes: size of the last message received, rejected ones too.

    Raises:
        ChannelError: the endpoint cannot be bound or connected.
        ValueError: a kind that does not exist, or none.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        kinds: Sequence[str] = ("frame",),
        streams: Sequence[str] = (),
        limits: Limits = Limits(),  # noqa: B008 (immutable)
        context: zmq.Context | None = None,
    ) -> None:
        unknown = set(kinds) - set(KINDS)
        if unknown or not kinds:
            raise ValueError(f"kinds: expected some of {', '.join(KINDS)}, got {list(kinds)}")
        self._pubsub = channel.kind == "pubsub"
        super().__init__(channel, zmq.SUB if self._pubsub else zmq.PULL, 0, context)
        self._kinds, self._streams, self._limits = frozenset(kinds), frozenset(streams), limits
        self.last_bytes = 0
        self.tap: Tap | None = None  # sees what was received and well-formed
        self.socket.setsockopt(zmq.RCVHWM, channel.high_water_mark)
        # A part somewhat too large is to be rejected with its size. One beyond this costs the
        # connection, as libzmq then reserves nothing for it.
        largest = 2 * max(limits.max_header_bytes, limits.max_frame_bytes)
        self.socket.setsockopt(zmq.MAXMSGSIZE, largest)
        self._broken_off = f"connected anew after a part over {largest} bytes or no ZeroMQ peer"
        if self._pubsub:
            for kind in self._kinds:
                for stream in self._streams or [""]:
                    self.socket.subscribe(f"{kind}/{stream}")
            self.socket.subscribe(PEER_MARKER)
        self.start(_publisher_role(self._kinds))

    def receive(self, timeout_ms: int = 0) -> Message | None:
        """Return the next message, or None where none came in time (-1 waits for ever).

        Raises:
            MessageError: the message is malformed; the receiver stays usable. "connection" where
                it never came and the connection had to be made anew.
            ChannelError: the receiver or its context is closed.
        """
        deadline = deadline_after(timeout_ms)
        try:
            while True:
                if self.events() & zmq.POLLIN:
                    parts = self._take_parts()
                    if parts and self._is_wanted(parts[0]):
                        message = decode(parts, self._limits)
                        if self.tap is not None:
                            self.tap(message, parts)
                        return message
                elif self.renew_connection():
                    raise MessageError("connection", f"{self.endpoint}: {self._broken_off}")
                left = milliseconds_left(deadline)
                if left == 0:
                    return None
                self.socket.poll(wait_slice(left))
        except zmq.ZMQError as error:
            raise self.lost(error) from error

    def _take_parts(self) -> list[zmq.Frame]:
        """Take one message from the queue; of one with far too many parts only some are kept.

        None is there, although the socket said so, where a peer has just shown its key and its
        first message is still on the way: libzmq queues the key's owner ahead of it.
        """
        parts: list[zmq.Frame] = []
        self.last_bytes = 0
        more = 1
        while more:
            try:
                part = self.socket.recv(zmq.DONTWAIT, copy=False)
            except zmq.Again:
                return []
            self.last_bytes += len(part)
            if len(parts) < MAX_PARTS + 1:
                parts.append(part)
            more = cast(int, self.socket.getsockopt(zmq.RCVMORE))
        return parts

    def _is_wanted(self, topic: zmq.Frame) -> bool:
        """Tell whether the topic was asked for.

        A subscription is a prefix, so that one to `cam1` also brings `cam10`: that is passed over.
        PULL has no subscriptions; passing over would lose a message unseen, so it is rejected.
        """
        if len(topic) > MAX_TOPIC_BYTES:
            return True  # left to decode, which rejects it
        text = topic.bytes.decode("ascii", errors="replace")
        kind, _, stream = text.partition("/")
        if kind in self._kinds and (not self._streams or stream in self._streams):
            return True
        if self._pubsub:
            return False
        expected = f"kinds {sorted(self._kinds)}, streams {sorted(self._streams) or 'all'}"
        raise MessageError("topic", f"{self.endpoint} is read for {expected}; got {text!r}")

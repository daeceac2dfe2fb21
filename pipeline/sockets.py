"""Channels between the programs of the chain: a sender and a receiver of messages over ZeroMQ.

`pubsub` is live: whoever subscribes gets a copy, and a slow subscriber loses messages unless the
sender is lossless. `pushpull` loses nothing while its peers live: each message goes to one of
them and the sender waits when none can take it. What was queued for a peer that dies is gone.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

import zmq

from pipeline.channel import Channel, complete_channels
from pipeline.codec import MAX_PARTS, MAX_TOPIC_BYTES
from pipeline.errors import MessageError
from pipeline.messages import KINDS, Limits, Message, decode, encode
from pipeline.socket_end import SocketEnd, deadline_after, milliseconds_left, wait_slice

__all__ = ["Channel", "Receiver", "Sender", "complete_channels"]

# Every Receiver subscribes to this topic too, which no message has: so a Sender counts a Receiver
# once, however many topics it reads. It sorts after all topics, and libzmq sends subscriptions
# sorted: when it arrives, the others are in force.
PEER_MARKER = b"\xffpeer"
MAX_SUBSCRIPTION_BYTES = 4096
_SETTLE_MS = 20
#: Called with a message and its parts as they are on the wire; must not wait.
Tap = Callable[[Message, Sequence[Any]], None]


# In a lossless stream the last messages may still wait for a slow reader when all is sent; ZeroMQ
# gives up on them after this time, or at once when the reader goes away.
LOSSLESS_LINGER_MS = 60_000
LIVE_LINGER_MS = 1_000


class Sender(SocketEnd):
    """The end of a channel that sends: XPUB or PUSH. Not to be shared between threads.

    Args:
        channel: where and how.
        lossless: a full subscriber makes `send` wait; without it that subscriber loses the
            message. PUSH waits in either case.
        linger_ms: how long `close` waits for queued messages to leave; by default 60 s for a
            lossless sender, whose reader may be slow, and 1 s for others.
        context: to share one between sockets; its owner terminates it.

    Raises:
        ChannelError: the endpoint cannot be bound or connected.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        lossless: bool = False,
        linger_ms: int | None = None,
        context: zmq.Context | None = None,
    ) -> None:
        self._pubsub = channel.kind == "pubsub"
        if linger_ms is None:
            linger_ms = LOSSLESS_LINGER_MS if lossless else LIVE_LINGER_MS
        super().__init__(channel, zmq.XPUB if self._pubsub else zmq.PUSH, linger_ms, context)
        self.lossless = lossless
        self.tap: Tap | None = None  # sees what was sent
        self._subscriptions: Counter[bytes] = Counter()
        self.socket.setsockopt(zmq.SNDHWM, channel.high_water_mark)
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_SUBSCRIPTION_BYTES)
        if self._pubsub:
            self.socket.setsockopt(zmq.XPUB_VERBOSER, 1)
            self.socket.setsockopt(zmq.XPUB_NODROP, int(lossless))
        else:
            self.socket.setsockopt(zmq.IMMEDIATE, 1)  # queue for peers that are there only
        if self._pubsub and not lossless:
            # Drops subscribers whose machine vanished. Only here: a heartbeat takes a reader that
            # pauses with a full queue for dead. That would lose messages of a lossless channel,
            # and on the reader's side it runs into an open defect of libzmq (issue 3937) which
            # aborts the process.
            self.socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
            self.socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 5000)
        self.start("subscribers")

    def hurry(self, linger_ms: int = 500) -> None:
        """Let `close` wait no longer than this for queued messages: its user wants to leave."""
        self.socket.setsockopt(zmq.LINGER, linger_ms)

    def wait_for_peers(self, count: int, timeout_s: float) -> int:
        """Wait until peers are there, and return how many are.

        A subscriber counts from the moment its subscriptions are in force, so that it gets the
        next message. Every Receiver is counted exactly. Of other subscribers at least those that
        share the most common topic are counted: one alone always is.

        PUSH cannot count. One peer is enough for it to lose nothing, whenever the others come: as
        soon as one can take a message, `count` is returned.
        """
        deadline = time.monotonic() + timeout_s
        needed, awaited = (count, zmq.POLLIN) if self._pubsub else (1, zmq.POLLOUT)
        settled = False
        try:
            while True:
                self.renew_connection()
                peers, left = self._count_peers(), milliseconds_left(deadline)
                if left == 0 or (peers >= needed and settled):
                    return peers if self._pubsub else peers * max(1, count)
                if peers >= needed:
                    # libzmq tells of peers that left only some time after it was called
                    settled = not self.socket.poll(min(left, _SETTLE_MS), zmq.POLLIN)
                else:
                    self.socket.poll(wait_slice(left), awaited)
        except zmq.ZMQError as error:
            raise self.lost(error) from error

    def send(self, message: Message, timeout_ms: int | None = None) -> bool:
        """Send a message; afterwards its pixels may be overwritten.

        Args:
            message: what to send.
            timeout_ms: how long to wait for room in the queue; 0 not at all, -1 for ever; by
                default -1 for a lossless sender and 0 for others. A live pubsub sender never
                waits.

        Returns:
            False if there was no room in time: the message was then not sent, not even in part.

        Raises:
            ChannelError: the sender or its context is closed.
            MessageError: the message holds a value that msgpack cannot carry.
        """
        parts = encode(message)
        sent = self.send_parts(parts, timeout_ms)
        if sent and self.tap is not None:
            self.tap(message, parts)
        return sent

    def send_parts(self, parts: Sequence[bytes | memoryview], timeout_ms: int | None) -> bool:
        """Send a message as it is on the wire; see `send`."""
        if timeout_ms is None:
            timeout_ms = -1 if self.lossless else 0
        deadline = deadline_after(timeout_ms)
        wait_ms = 0
        try:
            while True:
                self.renew_connection()
                self._count_peers()  # keeps libzmq's queue of subscriptions short
                if self._send_parts(parts, wait_ms):
                    return True
                left = milliseconds_left(deadline)
                if left == 0:
                    return False
                wait_ms = wait_slice(left)
        except zmq.ZMQError as error:
            raise self.lost(error) from error

    def _send_parts(self, parts: Sequence[bytes | memoryview], wait_ms: int) -> bool:
        self.socket.setsockopt(zmq.SNDTIMEO, wait_ms)
        last = len(parts) - 1
        try:
            for index, part in enumerate(parts):
                # Only the first part can meet a full queue. A later one fails where the peer of a
                # PUSH died meanwhile: libzmq then forgets the parts before it, and without
                # DONTWAIT it would send the rest as a message of its own.
                flags = zmq.SNDMORE if index < last else 0
                self.socket.send(part, flags | (zmq.DONTWAIT if index else 0))
        except zmq.Again:
            return False
        return True

    def _count_peers(self) -> int:
        """Take in new and cancelled subscriptions; return how many peers there are at least."""
        if not self._pubsub:
            return int(self.events() & zmq.POLLOUT != 0)
        while self.events() & zmq.POLLIN:
            event = self.socket.recv(zmq.DONTWAIT)
            change, topic = event[:1], event[1:]
            if change == b"\x01":
                self._subscriptions[topic] += 1
            elif change == b"\x00":
                self._subscriptions[topic] -= 1
                if self._subscriptions[topic] <= 0:
                    del self._subscriptions[topic]
        return max(self._subscriptions.values(), default=0)


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
        unknown = sorted(set(kinds) - set(KINDS))
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
            for kind in sorted(self._kinds):
                for stream in sorted(self._streams) or [""]:
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

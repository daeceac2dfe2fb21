"""Channels between the programs of the chain: a sender and a receiver of messages over ZeroMQ.

`pubsub` is live: whoever subscribes gets a copy, and a slow subscriber loses messages unless the
sender is lossless. `pushpull` loses nothing while its peers live: each message goes to one of
them and the sender waits when none can take it. What was queued for a peer that dies is gone.
"""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Self, cast

import zmq

from pipeline.channel import Channel, attach, make_context
from pipeline.codec import MAX_PARTS, MAX_TOPIC_BYTES
from pipeline.errors import ChannelError, MessageError
from pipeline.messages import KINDS, Limits, Message, decode, encode

__all__ = ["Channel", "Receiver", "Sender"]

# Every Receiver subscribes to this topic too, which no message has: so a Sender counts a Receiver
# once, however many topics it reads. It sorts after all topics, and libzmq sends subscriptions
# sorted: when it arrives, the others are in force.
PEER_MARKER = b"\xffpeer"
MAX_SUBSCRIPTION_BYTES = 4096
_SEND_SLICE_MS = 200  # a blocked sender looks at its subscriptions this often


def _milliseconds_left(deadline: float | None) -> int:
    """Return what is left until the deadline for ZeroMQ: -1 without one, never less than 0."""
    if deadline is None:
        return -1
    return max(0, round((deadline - time.monotonic()) * 1000))


def _deadline(timeout_ms: int) -> float | None:
    return None if timeout_ms < 0 else time.monotonic() + timeout_ms / 1000


class _End:
    """A socket with its channel and context; what Sender and Receiver share."""

    def __init__(
        self, channel: Channel, socket_type: int, linger_ms: int, context: zmq.Context | None
    ) -> None:
        self.channel = channel
        self._context, self._owns_context = make_context(channel, context)
        try:
            self.socket: zmq.Socket[bytes] = self._context.socket(socket_type)
        except zmq.ZMQError as error:
            raise ChannelError(f"cannot open {channel.endpoint}: {error.strerror}") from error
        self.socket.setsockopt(zmq.LINGER, linger_ms)
        self.endpoint = channel.endpoint

    def _attach(self) -> None:
        try:
            self.endpoint = attach(self.socket, self.channel)
        except ChannelError:
            self.close()
            raise

    def _lost(self, error: zmq.ZMQError) -> ChannelError:
        """Return the error for a socket that was closed or whose context was terminated."""
        return ChannelError(f"channel {self.endpoint} is closed: {error.strerror}")

    def _events(self) -> int:
        return cast(int, self.socket.getsockopt(zmq.EVENTS))

    def close(self) -> None:
        """Close the socket; a sender first hands over what is queued, for at most its linger."""
        self.socket.close()
        if self._owns_context:
            self._context.term()

    def __enter__(self) -> Self:
        """Return itself; leaving the block closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


class Sender(_End):
    """The end of a channel that sends: XPUB or PUSH. Not to be shared between threads.

    Args:
        channel: where and how.
        lossless: a full subscriber makes `send` wait; without it that subscriber loses the
            message. PUSH waits in either case.
        linger_ms: how long `close` waits for queued messages to leave.
        context: to share one between sockets; its owner terminates it.

    Raises:
        ChannelError: the endpoint cannot be bound or connected.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        lossless: bool = False,
        linger_ms: int = 1000,
        context: zmq.Context | None = None,
    ) -> None:
        self._pubsub = channel.kind == "pubsub"
        super().__init__(channel, zmq.XPUB if self._pubsub else zmq.PUSH, linger_ms, context)
        self.lossless = lossless
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
        self._attach()

    def wait_for_peers(self, count: int, timeout_s: float) -> int:
        """Wait until peers are there, and return how many are.

        A subscriber counts from the moment its subscriptions are in force, so that it gets the
        next message. Every Receiver is counted exactly. Of other subscribers at least those that
        share the most common topic are counted: one alone always is.

        PUSH knows only whether some peer can take a message and returns 0 or 1; with one peer no
        message is lost, whenever the others come.
        """
        deadline = time.monotonic() + timeout_s
        try:
            if not self._pubsub:
                return int(self.socket.poll(_milliseconds_left(deadline), zmq.POLLOUT) != 0)
            while True:
                peers, left = self._count_subscribers(), _milliseconds_left(deadline)
                if peers >= count or left == 0:
                    return peers
                self.socket.poll(left, zmq.POLLIN)
        except zmq.ZMQError as error:
            raise self._lost(error) from error

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
        if timeout_ms is None:
            timeout_ms = -1 if self.lossless else 0
        deadline = _deadline(timeout_ms)
        wait_ms = 0
        try:
            while True:
                if self._pubsub:
                    self._count_subscribers()  # also keeps libzmq's queue of them short
                if self._send_parts(parts, wait_ms):
                    return True
                left = _milliseconds_left(deadline)
                if left == 0:
                    return False
                wait_ms = _SEND_SLICE_MS if left < 0 else min(left, _SEND_SLICE_MS)
        except zmq.ZMQError as error:
            raise self._lost(error) from error

    def _send_parts(self, parts: list[bytes | memoryview], wait_ms: int) -> bool:
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

    def _count_subscribers(self) -> int:
        """Take in new and cancelled subscriptions; return how many peers there are at least."""
        while self._events() & zmq.POLLIN:
            event = self.socket.recv(zmq.DONTWAIT)
            change, topic = event[:1], event[1:]
            if change == b"\x01":
                self._subscriptions[topic] += 1
            elif change == b"\x00":
                self._subscriptions[topic] -= 1
                if self._subscriptions[topic] <= 0:
                    del self._subscriptions[topic]
        return max(self._subscriptions.values(), default=0)


class Receiver(_End):
    """The end of a channel that receives: SUB or PULL. Not to be shared between threads.

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
        self.socket.setsockopt(zmq.RCVHWM, channel.high_water_mark)
        largest = max(limits.max_header_bytes, limits.max_frame_bytes)
        self.socket.setsockopt(zmq.MAXMSGSIZE, largest)
        if self._pubsub:
            for kind in sorted(self._kinds):
                for stream in sorted(self._streams) or [""]:
                    self.socket.subscribe(f"{kind}/{stream}")
            self.socket.subscribe(PEER_MARKER)
        self._attach()

    def receive(self, timeout_ms: int = 0) -> Message | None:
        """Return the next message, or None where none came in time (-1 waits for ever).

        Raises:
            MessageError: the message is malformed; the receiver stays usable.
            ChannelError: the receiver or its context is closed.
        """
        deadline = _deadline(timeout_ms)
        try:
            while self._is_readable(_milliseconds_left(deadline)):
                parts = self._take_parts()
                if self._is_wanted(parts[0]):
                    return decode(parts, self._limits)
                if _milliseconds_left(deadline) == 0:
                    break
        except zmq.ZMQError as error:
            raise self._lost(error) from error
        return None

    def _is_readable(self, wait_ms: int) -> bool:
        if self._events() & zmq.POLLIN:
            return True
        return wait_ms != 0 and self.socket.poll(wait_ms) != 0

    def _take_parts(self) -> list[zmq.Frame]:
        """Take one message from the queue; of one with far too many parts only some are kept."""
        parts: list[zmq.Frame] = []
        self.last_bytes = 0
        more = 1
        while more:
            part = self.socket.recv(zmq.DONTWAIT, copy=False)
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
        kind, _, stream = topic.bytes.decode("ascii", errors="replace").partition("/")
        if kind in self._kinds and (not self._streams or stream in self._streams):
            return True
        if self._pubsub:
            return False
        expected = f"kinds {sorted(self._kinds)}, streams {sorted(self._streams) or 'all'}"
        raise MessageError("topic", f"{self.endpoint} is read for {expected}, got {kind}/{stream}")

"""The end of a channel that sends."""

import time
from collections import Counter
from collections.abc import Sequence

import zmq

from dscsnet.pipeline.messages import Message, encode
from dscsnet.pipeline.sockets.channel import Channel
from dscsnet.pipeline.sockets.end import (
    SocketEnd,
    Tap,
    deadline_after,
    milliseconds_left,
    wait_slice,
)

MAX_SUBSCRIPTION_BYTES = 4096
_SETTLE_MS = 20


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

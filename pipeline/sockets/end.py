"""A socket with its channel, context and connection: what a sender and a receiver share."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Self, cast

import zmq

from dscsnet.pipeline.errors import ChannelError
from dscsnet.pipeline.messages import Message
from dscsnet.pipeline.security import ClientKeys, Refusals, warn_if_exposed
from dscsnet.pipeline.security.gatekeeper import Guard
from dscsnet.pipeline.sockets.channel import Channel, attach, make_context
from dscsnet.pipeline.sockets.reconnect import ConnectionKeeper

SLICE_MS = 200  # who waits looks after subscriptions and the connection this often


def milliseconds_left(deadline: float | None) -> int:
    """Return what is left until the deadline for ZeroMQ: -1 without one, never less than 0."""
    if deadline is None:
        return -1
    return max(0, round((deadline - time.monotonic()) * 1000))


def deadline_after(timeout_ms: int) -> float | None:
    """Return the end of a wait on the monotonic clock, s; None for a negative timeout: no end."""
    return None if timeout_ms < 0 else time.monotonic() + timeout_ms / 1000


def wait_slice(left_ms: int) -> int:
    """Return how long to wait before looking after the socket again."""
    return SLICE_MS if left_ms < 0 else min(left_ms, SLICE_MS)


class SocketEnd:
    """Opens, connects and closes one socket; subclasses set its options, then call `start`.

    Attributes:
        refusals: connections that were refused at this end, by reason.

    Raises:
        ChannelError: the context is terminated.
    """

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
        self._keeper: ConnectionKeeper | None = None
        self._guard: Guard | None = None
        self.refusals = Refusals()

    def start(self, peer_role: str) -> None:
        """Bind or connect; ChannelError if that cannot be done.

        Args:
            peer_role: what those who connect may do, one of `dscsnet.pipeline.security.keys.ROLES`.
        """
        try:
            keys = self._secure(peer_role)
            if not self.channel.bind and not self.endpoint.startswith("inproc:"):
                self._keeper = ConnectionKeeper(
                    self.socket, self._context, self.refusals, self.endpoint, keys
                )
            self.endpoint = attach(self.socket, self.channel)
        except ChannelError:
            self.close()
            raise

    def _secure(self, peer_role: str) -> ClientKeys | None:
        channel, curve = self.channel, self.channel.curve
        if curve is None:
            warn_if_exposed(channel.endpoint, channel.bind, channel.insecure)
            return None
        if not channel.bind:
            return ClientKeys(self.socket, curve)
        self._guard = Guard(
            self.socket,
            self._context,
            curve,
            role=peer_role,
            endpoint=channel.endpoint,
            refusals=self.refusals,
        )
        return None

    def lost(self, error: zmq.ZMQError) -> ChannelError:
        """Return the error for a socket that was closed or whose context was terminated."""
        return ChannelError(f"channel {self.endpoint} is closed: {error.strerror}")

    def renew_connection(self) -> bool:
        """Connect anew if libzmq gave the connection up; return whether that was so."""
        return self._keeper is not None and self._keeper.renew(self.endpoint)

    def events(self) -> int:
        """Return whether the socket can be read (POLLIN) and written (POLLOUT)."""
        return cast(int, self.socket.getsockopt(zmq.EVENTS))

    def close(self) -> None:
        """Close the socket; a sender first hands over what is queued, for at most its linger."""
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        self.socket.close()
        if self._owns_context:
            self._context.term()

    def __enter__(self) -> Self:
        """Return itself; leaving the block closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


# Every Receiver subscribes to this topic too, which no message has: so a Sender counts a Receiver
# once, however many topics it reads. It sorts after all topics, and libzmq sends subscriptions
# sorted: when it arrives, the others are in force.
PEER_MARKER = b"\xffpeer"


#: Called with a message and its parts as they are on the wire; must not wait.
Tap = Callable[[Message, Sequence[Any]], None]

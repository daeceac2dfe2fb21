"""Connecting anew where libzmq does not do so by itself."""

import contextlib
import logging
import time
from typing import cast

import zmq
from zmq.utils.monitor import parse_monitor_message

from dscsnet.pipeline.errors import KeyFileError
from dscsnet.pipeline.security import HANDSHAKE_FAILED, ClientKeys, Refusals, protocol_reason

log = logging.getLogger(__name__)

GRACE_S = 0.5  # libzmq announces within milliseconds that it will try again


class ConnectionKeeper:
    """Watches a connecting socket and renews a connection that libzmq has given up.

    libzmq reconnects after every loss but one: when the peer sent a part larger than
    ZMQ_MAXMSGSIZE, or bytes that are not ZeroMQ's, it closes the connection for good. One such
    message would silence a channel for ever, also when a sound peer takes the place.

    A handshake that failed is counted and logged. Where the channel has keys, these are read anew
    for the next connection, so that keys can change while a program runs: libzmq would go on with
    those that failed, or give up.

    Made before the socket connects.
    """

    def __init__(
        self,
        socket: zmq.Socket,
        context: zmq.Context,
        refusals: Refusals,
        endpoint: str,
        keys: ClientKeys | None = None,
    ) -> None:
        self._socket, self._refusals, self._endpoint, self._keys = socket, refusals, endpoint, keys
        self._lost_at: float | None = None
        self._refused = False
        address = f"inproc://monitor-{socket.FD}"
        socket.monitor(
            address,
            zmq.EVENT_DISCONNECTED
            | zmq.EVENT_CONNECT_RETRIED
            | zmq.EVENT_HANDSHAKE_SUCCEEDED
            | HANDSHAKE_FAILED,
        )
        self._monitor: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self._monitor.setsockopt(zmq.LINGER, 0)
        # Without a bound: a full queue would stop libzmq's thread. At most some events a second.
        self._monitor.setsockopt(zmq.RCVHWM, 0)
        self._monitor.connect(address)

    def renew(self, endpoint: str) -> bool:
        """Connect anew if the connection was given up.

        To be called when nothing is left to be read: disconnecting discards it.

        Returns:
            Whether that was so; not for a connection whose keys were refused, which is tried
            again and again.
        """
        while cast(int, self._monitor.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            event = parse_monitor_message(self._monitor.recv_multipart(zmq.DONTWAIT))
            self._note(event["event"], event["value"])
        if self._lost_at is None or time.monotonic() - self._lost_at < GRACE_S:
            return False
        refused, self._refused, self._lost_at = self._refused, False, None
        if self._keys is not None:
            try:
                self._keys.apply()
            except KeyFileError as error:  # half-way through a change of keys, say
                log.warning("%s: the former keys stay in use: %s", self._endpoint, error)
        self._socket.disconnect(endpoint)
        self._socket.connect(endpoint)
        return not (refused and self._keys)

    def _note(self, event: int, value: int) -> None:
        if event == zmq.EVENT_DISCONNECTED:
            self._lost_at = self._lost_at or time.monotonic()
        elif event & HANDSHAKE_FAILED:
            self._refused = True
            self._refusals.add(_reason(event, value), f"{self._endpoint}: {self._hint()}")
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._refused, self._lost_at = False, None
        elif self._keys is None or not self._refused:
            self._lost_at = None  # libzmq tries again by itself

    def _hint(self) -> str:
        if self._keys is None:
            return "no connection; is the peer a ZeroMQ program, and does it ask for curve keys?"
        return "no connection; are curve.server the peer's key, and this end's on its allow-list?"

    def close(self) -> None:
        """Stop watching; to be called while the watched socket is open.

        The other way round libzmq's thread can be left writing to a monitor that nobody reads,
        and connections of other sockets of the same context then never come up.
        """
        with contextlib.suppress(zmq.ZMQError):  # the context is terminated
            self._socket.disable_monitor()
        self._monitor.close()


def _reason(event: int, value: int) -> str:
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return "by_peer"
    return protocol_reason(value) if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL else "broken_off"

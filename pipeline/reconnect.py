"""Connecting anew where libzmq does not do so by itself."""

import contextlib
import time
from typing import cast

import zmq
from zmq.utils.monitor import parse_monitor_message

GRACE_S = 0.5  # libzmq announces within milliseconds that it will try again


class ConnectionKeeper:
    """Watches a connecting socket and renews a connection that libzmq has given up.

    libzmq reconnects after every loss but one: when the peer sent a part larger than
    ZMQ_MAXMSGSIZE, or bytes that are not ZeroMQ's, it closes the connection for good. One such
    message would silence a channel for ever, also when a sound peer takes the place.

    Made before the socket connects.
    """

    def __init__(self, socket: zmq.Socket, context: zmq.Context) -> None:
        self._socket = socket
        self._lost_at: float | None = None
        address = f"inproc://monitor-{socket.FD}"
        socket.monitor(address, zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED)
        self._monitor: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self._monitor.setsockopt(zmq.LINGER, 0)
        # Without a bound: a full queue would stop libzmq's thread. At most some events a second.
        self._monitor.setsockopt(zmq.RCVHWM, 0)
        self._monitor.connect(address)

    def renew(self, endpoint: str) -> bool:
        """Connect anew if the connection was given up; return whether that was so.

        To be called when nothing is left to be read: disconnecting discards it.
        """
        while cast(int, self._monitor.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            event = parse_monitor_message(self._monitor.recv_multipart(zmq.DONTWAIT))
            lost = event["event"] == zmq.EVENT_DISCONNECTED
            self._lost_at = time.monotonic() if lost else None
        if self._lost_at is None or time.monotonic() - self._lost_at < GRACE_S:
            return False
        self._lost_at = None
        self._socket.disconnect(endpoint)
        self._socket.connect(endpoint)
        return True

    def close(self) -> None:
        """Stop watching; to be called while the watched socket is open.

        The other way round libzmq's thread can be left writing to a monitor that nobody reads,
        and connections of other sockets of the same context then never come up.
        """
        with contextlib.suppress(zmq.ZMQError):  # the context is terminated
            self._socket.disable_monitor()
        self._monitor.close()

"""Decides who may connect to a bound CURVE socket: the ZAP handler of a context, in a thread.

Fails closed. libzmq lets everybody in where a context has no ZAP handler, unless the socket
enforces its domain: ours do, and their endpoint is bound only after the handler runs.
"""

import contextlib
import itertools
import logging
import threading
from dataclasses import dataclass

import zmq
from zmq.auth import Authenticator
from zmq.utils.monitor import parse_monitor_message

from dscsnet.pipeline.security.keys import AllowList, read_secret
from dscsnet.pipeline.security.policy import (
    HANDSHAKE_FAILED,
    Curve,
    Refusals,
    protocol_reason,
    set_pair,
)

log = logging.getLogger(__name__)

#: The thread answers an order at once; longer means that it has died.
ANSWER_MS = 10_000
ZAP_ADDRESS = "inproc://zeromq.zap.01"  # libzmq's, one in each context

_running: dict[int, "Gatekeeper"] = {}
_lock = threading.Lock()
_numbers = itertools.count()


@dataclass(frozen=True)
class _Door:
    """One bound socket, as the authenticator's credentials provider."""

    endpoint: str
    allowed: AllowList
    refusals: Refusals
    keeper: "Gatekeeper"

    def callback(self, _domain: str, key: bytes) -> bool:
        """Tell whether a client's public key (Z85) may connect."""
        if key in self.allowed:
            return True
        other = self.allowed.other_role(key)
        known = f", which is allowed for {other}," if other else ""
        self.refusals.add(
            "wrong_role" if other else "unknown_key",
            f"{self.endpoint}: {self.keeper.address} with key {key.decode()}{known} "
            f"may not connect for {self.allowed.role}",
        )
        return False


class Guard:
    """What a bound socket holds while it is guarded; to be closed before the socket.

    Args:
        socket: not yet bound.
        context: of the socket.
        curve: its own key and its allow-list.
        role: what those who connect may do.

    Raises:
        KeyFileError: a key file or the allow-list cannot be used.
    """

    def __init__(
        self,
        socket: zmq.Socket,
        context: zmq.Context,
        curve: Curve,
        *,
        role: str,
        endpoint: str,
        refusals: Refusals,
    ) -> None:
        assert curve.allow is not None
        pair, allowed = read_secret(curve.key), AllowList(curve.allow, role)
        self._socket = socket
        self._domain = f"door-{next(_numbers)}"
        socket.curve_server = True
        set_pair(socket, pair)
        socket.zap_domain = self._domain.encode()
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        self._keeper = _employ(context)
        self._keeper.admit(self._domain, socket, _Door(endpoint, allowed, refusals, self._keeper))

    def close(self) -> None:
        """Let nobody in any more; who is connected stays until the socket is closed."""
        # While the socket is open, and before the reader goes: see sockets.reconnect.
        with contextlib.suppress(zmq.ZMQError):  # the context is terminated
            self._socket.disable_monitor()
        _dismiss(self._keeper, self._domain)


def _employ(context: zmq.Context) -> "Gatekeeper":
    with _lock:
        keeper = _running.get(context.underlying)
        if keeper is None:
            keeper = _running[context.underlying] = Gatekeeper(context)
        keeper.doors += 1
        return keeper


def _dismiss(keeper: "Gatekeeper", domain: str) -> None:
    with _lock:
        keeper.forget(domain)
        keeper.doors -= 1
        if keeper.doors == 0:
            del _running[keeper.number]
            keeper.stop()


class Gatekeeper:
    """The one ZAP handler of a context, and reader of its guarded sockets' monitors.

    Attributes:
        address: of the peer that is being asked about.
        doors: sockets that it guards.
        number: of the context.
    """

    def __init__(self, context: zmq.Context) -> None:
        self._context, self.number = context, context.underlying
        self.address, self.doors = "", 0
        self._doors: dict[str, _Door] = {}
        self._monitors: dict[zmq.Socket[bytes], str] = {}
        self._authenticator = Authenticator(context, log=log.getChild("zap"))
        self._authenticator.start()
        address = f"inproc://gatekeeper-{next(_numbers)}"
        self._orders: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self._inbox: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        for socket in (self._orders, self._inbox):
            socket.linger = 0
        self._orders.rcvtimeo = self._orders.sndtimeo = ANSWER_MS
        self._orders.bind(address)
        self._inbox.connect(address)
        self._thread = threading.Thread(target=self._run, name="gatekeeper", daemon=True)
        self._thread.start()

    def admit(self, domain: str, socket: zmq.Socket, door: _Door) -> None:
        """Answer for a socket from now on."""
        self._doors[domain] = door
        self._authenticator.configure_curve_callback(domain, door)
        socket.monitor(f"inproc://monitor-{domain}", HANDSHAKE_FAILED)
        self._order(b"watch", domain.encode())

    def forget(self, domain: str) -> None:
        """Answer for a socket no more."""
        self._authenticator.credentials_providers.pop(domain, None)
        with contextlib.suppress(zmq.ZMQError):  # the context is terminated, the thread over
            self._order(b"forget", domain.encode())
        self._doors.pop(domain, None)

    def stop(self) -> None:
        """End the thread and close its sockets."""
        with contextlib.suppress(zmq.ZMQError):
            self._orders.send(b"stop")
        self._thread.join()
        self._orders.close()

    def _order(self, *parts: bytes) -> None:
        """Have the thread do something, and wait until it has."""
        self._orders.send_multipart(parts)
        self._orders.recv()

    # The thread

    def _run(self) -> None:
        try:
            self._serve()
        except zmq.ContextTerminated:
            log.debug("the context was terminated")
        finally:
            for socket in (*self._monitors, self._inbox):
                socket.close()
            # Closing alone frees the address only some time later, when the next handler may have
            # been refused it.
            with contextlib.suppress(zmq.ZMQError):
                self._authenticator.zap_socket.unbind(ZAP_ADDRESS)
            self._authenticator.stop()

    def _serve(self) -> None:
        poller = zmq.Poller()
        poller.register(self._inbox, zmq.POLLIN)
        poller.register(self._authenticator.zap_socket, zmq.POLLIN)
        while True:
            for socket, _ in poller.poll():
                if socket is self._authenticator.zap_socket:
                    self._answer()
                elif socket in self._monitors:
                    self._observe(socket)
                elif socket is self._inbox and self._obey(poller):
                    return

    def _answer(self) -> None:
        request = self._authenticator.zap_socket.recv_multipart()
        self.address = request[3].decode("ascii", "replace") if len(request) > 3 else "?"
        # A coroutine for the sake of providers that wait for something. Ours do not, so that it
        # runs to its end at once and needs no event loop.
        with contextlib.suppress(StopIteration):
            self._authenticator.handle_zap_message(request).send(None)

    def _observe(self, monitor: zmq.Socket) -> None:
        event = parse_monitor_message(monitor.recv_multipart())
        door = self._doors.get(self._monitors.get(monitor, ""))
        if door is None:
            return
        if event["event"] == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            door.refusals.add(protocol_reason(event["value"]), f"{door.endpoint}: a peer")
        elif event["event"] == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            door.refusals.add("broken_off", f"{door.endpoint}: a peer")

    def _obey(self, poller: zmq.Poller) -> bool:
        """Carry out an order; return whether it was to stop."""
        order, *rest = self._inbox.recv_multipart()
        if order == b"stop":
            return True
        domain = rest[0].decode()
        if order == b"watch":
            monitor: zmq.Socket[bytes] = self._context.socket(zmq.PAIR)
            monitor.linger = 0
            monitor.rcvhwm = 0  # a full queue would stop libzmq's own thread
            monitor.connect(f"inproc://monitor-{domain}")
            poller.register(monitor, zmq.POLLIN)
            self._monitors[monitor] = domain
        else:
            for monitor in [m for m, d in self._monitors.items() if d == domain]:
                poller.unregister(monitor)
                del self._monitors[monitor]
                monitor.close()
        self._inbox.send(b"")
        return False

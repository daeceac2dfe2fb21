"""A channel between two programs of the chain: its settings, and binding or connecting it."""

import errno
import os
from typing import Literal

import msgspec
import zmq

from dscsnet.pipeline.errors import ChannelError
from dscsnet.pipeline.security import Curve, Insecure, check_exposure


class InvalidChannelError(ChannelError, ValueError):
    """A channel's setting is wrong; a ValueError too, so that msgspec adds the path to the key."""


class Channel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One end of a channel.

    Attributes:
        endpoint: `tcp://host:port`, `ipc://path` or `inproc://name`.
        bind: True to bind the endpoint, False to connect to it; the peer does the other.
        kind: `pubsub` (live) or `pushpull` (lossless); both ends must agree.
        high_water_mark: messages that this end queues for each peer.
        curve: keys that encrypt the channel and say who may connect; None leaves it plain.
        insecure: the sentence that allows a plain channel on a network.
    """

    endpoint: str
    bind: bool
    kind: Literal["pubsub", "pushpull"] = "pubsub"
    high_water_mark: int = 64
    curve: Curve | None = None
    insecure: Insecure | None = None

    def __post_init__(self) -> None:
        """Check the endpoint's form and the bound of the queue (InvalidChannelError)."""
        if not _is_endpoint(self.endpoint):
            expected = "tcp://host:port (port 1 to 65535 or *), ipc://path or inproc://name"
            raise InvalidChannelError(f"endpoint: expected {expected}, got {self.endpoint!r}")
        if self.kind not in ("pubsub", "pushpull"):
            raise InvalidChannelError(f"kind: expected pubsub or pushpull, got {self.kind!r}")
        if not 1 <= self.high_water_mark <= 1_000_000:
            raise InvalidChannelError(
                f"high_water_mark: expected 1 to 1000000 messages, got {self.high_water_mark}"
            )
        problem = check_exposure(self.endpoint, self.bind, self.curve, self.insecure)
        if problem:
            raise InvalidChannelError(problem)


def _is_endpoint(endpoint: str) -> bool:
    transport, _, address = endpoint.partition("://")
    if transport != "tcp":
        return transport in ("ipc", "inproc") and bool(address)
    host, _, port = address.rpartition(":")
    # libzmq takes a port modulo 65536 without a word
    return bool(host) and (port == "*" or (port.isdecimal() and 1 <= int(port) <= 65535))


def make_context(channel: Channel, given: zmq.Context | None) -> tuple[zmq.Context, bool]:
    """Return the context and whether it is ours to terminate."""
    if given is not None:
        return given, False
    if channel.endpoint.startswith("inproc:"):
        return zmq.Context.instance(), False  # inproc peers find each other only in one context
    return zmq.Context(), True


def attach(socket: zmq.Socket, channel: Channel) -> str:
    """Set what both ends share, bind or connect, and return the endpoint in use."""
    # A peer that left without a word (power, cable) is noticed within about 4 s and a new one is
    # tried at least every second, so that flow resumes within 2 s of its return.
    socket.setsockopt(zmq.RECONNECT_IVL, 100)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, 1000)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)
    try:
        if channel.bind:
            socket.bind(channel.endpoint)
        else:
            socket.connect(channel.endpoint)
    except zmq.ZMQError as error:
        raise ChannelError(_explain(channel, error)) from error
    return socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")


def _explain(channel: Channel, error: zmq.ZMQError) -> str:
    act = f"cannot {'bind' if channel.bind else 'connect to'} {channel.endpoint}"
    if error.errno == zmq.EADDRINUSE:
        return f"{act}: the address is in use; stop the program that holds it or choose another"
    if error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV):
        return f"{act}: this machine has no such address; use one of its own, or connect instead"
    if error.errno in (zmq.EINVAL, zmq.EPROTONOSUPPORT, zmq.ENOCOMPATPROTO):
        return f"{act}: not a valid endpoint; expected for example tcp://127.0.0.1:5550"
    return f"{act}: {os.strerror(error.errno or 0)}; check the endpoint and its permissions"

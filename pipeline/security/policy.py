"""Who may use a channel: CURVE keys of its ends, and what a plain channel is refused."""

import ipaddress
import logging
from collections.abc import Mapping
from typing import Annotated, Literal, Protocol, get_args

import msgspec
import zmq
from msgspec import Meta

from dscsnet.pipeline.process.logs import RateLimitedLog
from dscsnet.pipeline.security.keys import AllowList, KeyPair, read_secret, read_servers

log = logging.getLogger(__name__)

#: To be written out in full by whoever binds a plain channel where a network reaches it.
Insecure = Literal["anyone on the network may read and write"]
INSECURE: Insecure = get_args(Insecure)[0]

#: Why a connection was refused, for counters.
REFUSALS = {
    "unknown_key": "its key is on no allow-list",
    "wrong_role": "its key is allowed in another role only",
    "no_curve": "one end has CURVE, the other has not",
    "wrong_server_key": "it expects another key of this end",
    "broken_off": "the handshake did not come to its end",
    "protocol": "its handshake is malformed",
    "by_peer": "the peer does not allow this end's key",
}
#: Events of a socket's monitor that tell of a failed handshake.
HANDSHAKE_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


class Curve(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of one end of a channel; see docs/security.md."""

    key: Annotated[str, Meta(min_length=1, description="this end's secret key file")]
    allow: (
        Annotated[str, Meta(description="if it binds: folder of who may connect, by role")] | None
    ) = None
    server: (
        Annotated[str, Meta(description="if it connects: the peer's public key file, or a folder")]
        | None
    ) = None


def check_exposure(
    endpoint: str, bind: bool, curve: Curve | None, insecure: Insecure | None
) -> str | None:
    """Say what is wrong with a channel's security settings, or None."""
    if curve is not None:
        return _check_curve(endpoint, bind, curve, insecure)
    if not bind or insecure or is_local(endpoint):
        return None
    return (
        f"bind: {endpoint} can be reached from the network, and without curve anyone there "
        "could read and write: give curve (docs/security.md), bind 127.0.0.1, or say "
        f'insecure: "{INSECURE}"'
    )


def _check_curve(endpoint: str, bind: bool, curve: Curve, insecure: Insecure | None) -> str | None:
    if endpoint.startswith("inproc:"):
        return "curve: inproc never leaves the process and cannot be encrypted; leave out curve"
    if insecure:
        return "insecure: contradicts curve; leave out one of them"
    if bind and (not curve.allow or curve.server):
        return "curve: who binds gives key and allow (folder of those who may connect), no server"
    if not bind and (not curve.server or curve.allow):
        return "curve: who connects gives key and server (the peer's public key), no allow"
    return None


def is_local(endpoint: str) -> bool:
    """Tell whether only programs of this machine reach an endpoint."""
    transport, _, address = endpoint.partition("://")
    if transport in ("ipc", "inproc"):
        return True
    peer = address.rpartition(";")[2]  # what stands before it is the own address of a connection
    return is_local_host(peer.rpartition(":")[0])


def is_local_host(host: str) -> bool:
    """Tell whether a host name or address is the loopback interface."""
    if host in ("localhost", "lo"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Refusals:
    """Counts refused connections of one end by reason, and logs them at a limited rate."""

    def __init__(self) -> None:
        # All reasons from the start: other threads may copy while one counts.
        self.counts = dict.fromkeys(REFUSALS, 0)
        self._log = RateLimitedLog(log)

    def add(self, reason: str, detail: str) -> None:
        """One connection."""
        self.counts[reason] += 1
        self._log.warning(f"connection refused ({reason})", f"{detail}: {REFUSALS[reason]}")


class Refusing(Protocol):
    """An end of a channel, of which only what it refused matters here."""

    @property
    def refusals(self) -> Refusals: ...


def count_refusals(ends: Mapping[str, Refusing]) -> dict[str, int]:
    """Refused connections of several ends together, by reason."""
    total = dict.fromkeys(REFUSALS, 0)
    for end in list(ends.values()):
        for reason, count in end.refusals.counts.items():
            total[reason] += count
    return total


def protocol_reason(value: int) -> str:
    """Reason for the value of a monitor's HANDSHAKE_FAILED_PROTOCOL event."""
    if value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
        return "no_curve"
    return "wrong_server_key" if value == zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC else "protocol"


class ClientKeys:
    """Keys of an end that connects; read anew after a handshake that failed.

    Raises:
        KeyFileError: a file cannot be used.
    """

    def __init__(self, socket: zmq.Socket, curve: Curve) -> None:
        self._socket, self._curve = socket, curve
        self._tries = 0
        self.apply()

    def apply(self) -> None:
        """Set the keys for the next connection: of several servers the next one's."""
        assert self._curve.server is not None
        pair, servers = read_secret(self._curve.key), read_servers(self._curve.server)
        set_pair(self._socket, pair)
        self._socket.curve_serverkey = servers[self._tries % len(servers)]
        self._tries += 1


def check_keys(curve: Curve, peer_role: str) -> None:
    """Find out whether the files of one end can be used (KeyFileError).

    Args:
        curve: its keys.
        peer_role: what those who connect may do, if it binds.
    """
    read_secret(curve.key)
    if curve.allow is not None:
        AllowList(curve.allow, peer_role)
    if curve.server is not None:
        read_servers(curve.server)


def set_pair(socket: zmq.Socket, pair: KeyPair) -> None:
    """Give a socket its own keys."""
    socket.curve_publickey, socket.curve_secretkey = pair.public, pair.secret


def warn_if_exposed(endpoint: str, bind: bool, insecure: Insecure | None) -> None:
    """Say that a plain channel goes over a network, unless its owner has said so."""
    if is_local(endpoint):
        return
    if bind:
        log.warning("%s: not encrypted: anyone on the network may read and write", endpoint)
    elif not insecure:
        log.warning(
            "%s: connects over a network without encryption: give curve (docs/security.md), "
            'or insecure: "%s"',
            endpoint,
            INSECURE,
        )

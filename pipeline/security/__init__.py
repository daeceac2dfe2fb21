"""Who may use a channel: CURVE key files, allow-lists, and the handler that asks them."""

from dscsnet.pipeline.security.policy import (
    HANDSHAKE_FAILED,
    INSECURE,
    ClientKeys,
    Curve,
    Insecure,
    Refusals,
    check_exposure,
    check_keys,
    count_refusals,
    is_local_host,
    protocol_reason,
    warn_if_exposed,
)

__all__ = [
    "HANDSHAKE_FAILED",
    "INSECURE",
    "ClientKeys",
    "Curve",
    "Insecure",
    "Refusals",
    "check_exposure",
    "check_keys",
    "count_refusals",
    "is_local_host",
    "protocol_reason",
    "warn_if_exposed",
]

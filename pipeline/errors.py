"""Errors of the node; expected loss is a counter (see `pipeline.join.ledger`), not an exception."""

from dscsnet.engines.errors import DscsnetError


class ConfigError(DscsnetError):
    """A configuration file or value is wrong; the message names the key."""


class InputError(DscsnetError, ValueError):
    """An argument of the Python interface cannot be used; the message names it."""


class SourceError(DscsnetError):
    """A replay source cannot be opened or read."""


class ChannelError(DscsnetError):
    """A socket cannot be bound or connected."""


class KeyFileError(ChannelError):
    """A key file or allow-list cannot be used; the message names the file."""


class MessageError(DscsnetError):
    """A wire message is malformed.

    Attributes:
        reason: short slug for counters, one of `dscsnet.pipeline.messages.REJECTIONS`.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason

"""Option values that need more than typer's own checks."""

from typing import Literal

import typer

from pipeline.sockets import Channel


def make_channel(endpoint: str, bind: bool, kind: Literal["pubsub", "pushpull"]) -> Channel:
    """Return the channel; an endpoint that cannot be one is a wrong use (exit code 2)."""
    try:
        return Channel(endpoint=endpoint, bind=bind, kind=kind)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error

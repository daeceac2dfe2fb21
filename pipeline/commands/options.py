"""Options of commands that open one channel, and values that need more than typer's own checks."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from dscsnet.pipeline.security import INSECURE, Curve
from dscsnet.pipeline.sockets import Channel

KeyOption = Annotated[
    Path | None, typer.Option(help="CURVE: this end's secret key file (dscsnet keys new).")
]
ServerOption = Annotated[
    Path | None, typer.Option(help="CURVE, to connect: the peer's public key file.")
]
AllowOption = Annotated[
    Path | None, typer.Option(help="CURVE, to bind: folder of who may connect (dscsnet keys).")
]
InsecureOption = Annotated[
    bool,
    typer.Option("--insecure", help=f"Without CURVE on a network, where {INSECURE}."),
]


def make_channel(
    endpoint: str,
    bind: bool,
    kind: Literal["pubsub", "pushpull"],
    *,
    key: Path | None = None,
    server: Path | None = None,
    allow: Path | None = None,
    insecure: bool = False,
) -> Channel:
    """Return the channel; settings that cannot be are a wrong use (exit code 2)."""
    if key is None and (server or allow):
        raise typer.BadParameter("--server and --allow need --key, this end's own secret key file")
    curve = None
    if key is not None:
        curve = Curve(
            key=str(key),
            server=None if server is None else str(server),
            allow=None if allow is None else str(allow),
        )
    try:
        return Channel(
            endpoint=endpoint,
            bind=bind,
            kind=kind,
            curve=curve,
            insecure=INSECURE if insecure else None,
        )
    except ValueError as error:
        hint = " (options --key, --allow, --server, --insecure)"
        reason = str(error)
        raise typer.BadParameter(reason + hint * ("curve" in reason)) from error

"""`dscsnet keys`: make, show, list and rotate CURVE keys, and say who may connect."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dscsnet.pipeline.errors import KeyFileError
from dscsnet.pipeline.security import keys

app = typer.Typer(
    no_args_is_help=True, help="Keys that encrypt channels, and lists of who may connect."
)

Folder = Annotated[Path, typer.Option(help="Folder of this machine's key pairs.")]
AllowFolder = Annotated[
    Path, typer.Option("--allow", help="Folder of who may connect: one subfolder a role.")
]
Role = Annotated[
    str,
    typer.Option(
        help="What the peer may do: publish frames, detections or targets, or be one of the "
        "subscribers."
    ),
]
KEYS, ALLOWED = Path("keys"), Path("keys/allowed")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Whose key: a machine or program, say camera1.")],
    folder: Folder = KEYS,
) -> None:
    """Make a key pair: NAME.key to hand round, NAME.key_secret for its owner alone."""
    public, secret = keys.make_key(name, folder)
    print(f"public  {public}  {keys.read_public(public).decode()}")
    print(f"secret  {secret}  (leave it on this machine; mode 0600)")


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A .key or .key_secret file.")],
) -> None:
    """Check a key file and print its public key; a secret is never printed."""
    if file.name.endswith(keys.SECRET):
        print(f"{file}: secret key of {keys.read_secret(file).public.decode()}")
    else:
        print(f"{file}: public key {keys.read_public(file).decode()}")


@app.command("list")
def list_keys(folder: Folder = KEYS, allowed: AllowFolder = ALLOWED) -> None:
    """List the key pairs of this machine, and who may connect in which role."""
    table = Table("key", "public key", "use", box=None)
    for file in sorted(folder.glob(f"*{keys.PUBLIC}")):
        table.add_row(file.stem, _public(file), _state(file.with_suffix(keys.SECRET)))
    for role, file in keys.listed(allowed):
        table.add_row(file.stem, _public(file), f"may connect: {role}")
    if not table.row_count:
        raise KeyFileError(f"no keys in {folder} or {allowed}; `dscsnet keys new NAME` makes one")
    width = None if os.isatty(1) else 160
    Console(width=width, highlight=False, markup=False).print(table)


@app.command()
def rotate(
    name: Annotated[str, typer.Argument(help="The pair to replace.")], folder: Folder = KEYS
) -> None:
    """Make a new pair in the place of NAME; the former one stays beside it as NAME.old.

    A program that runs goes on with the former key until it connects anew.
    """
    public, old = keys.rotate_key(name, folder)
    print(f"public  {public}  {keys.read_public(public).decode()}")
    print(f"former  {old}")
    print(f"next: bring {public} to those it connects to (dscsnet keys allow) or who connect to it")


@app.command()
def allow(
    file: Annotated[Path, typer.Argument(help="The peer's public key file.")],
    role: Role,
    allowed: AllowFolder = ALLOWED,
) -> None:
    """Let the owner of a key connect in a role; programs that run notice at once.

    A former key of the same name stays allowed, as NAME.old, until it is revoked.
    """
    written, former = keys.allow(file, role, allowed)
    print(f"allowed {written}  {keys.read_public(written).decode()}")
    if former is not None:
        print(
            f"former  {former}: still allowed; when it is no longer used: "
            f"dscsnet keys revoke {former.stem} --role {role} --allow {allowed}"
        )


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Name in the allow-list.")],
    role: Role,
    allowed: AllowFolder = ALLOWED,
) -> None:
    """Refuse a key's next connections; who is connected stays until the program restarts."""
    print(f"revoked {keys.revoke(name, role, allowed)}; restart what it is connected to")


def _public(file: Path) -> str:
    try:
        return keys.read_public(file).decode()
    except KeyFileError as error:
        return str(error)


def _state(secret: Path) -> str:
    if not secret.exists():
        return "public key only"
    try:
        keys.read_secret(secret)
    except KeyFileError as error:
        return str(error)
    return "key pair"

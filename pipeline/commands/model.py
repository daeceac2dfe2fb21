"""`dscsnet model`: the models that are there and what their cards say."""

from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from engines.model import load_model, shipped_models

app = typer.Typer(no_args_is_help=True, help="List, show, export and build models.")


@app.command("list")
def list_models() -> None:
    """List the models that come with the package."""
    table = Table("model", "description", "crop px", "PSF sigma px", "crops seen", box=None)
    for name in shipped_models():
        card = load_model(name).card
        table.add_row(
            name,
            card.description,
            f"{card.crop_size}",
            f"{card.psf_sigma:g}",
            f"{card.training.crops:,}",
        )
    Console().print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a shipped model, or a model folder.")],
) -> None:
    """Check a model's files and print its card."""
    model = load_model(name)
    print(f"# {model.folder}: all files are as the card says")
    print(msgspec.yaml.encode(model.card).decode(), end="")

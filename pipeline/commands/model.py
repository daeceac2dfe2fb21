"""`dscsnet model`: the models that are there and what their cards say."""

from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(no_args_is_help=True, help="List, show, export and build models.")


@app.command("list")
def list_models() -> None:
    """List the models that come with the package, and for which GPUs they are compiled."""
    from dscsnet.engines.model import load_model, shipped_models
    from dscsnet.engines.runtimes.tensorrt import EngineCache

    compiled: dict[str, list[str]] = {}
    for note in EngineCache().entries():
        compiled.setdefault(note.key.model, []).append(f"{note.key.precision} {note.key.device}")
    table = Table(box=None)
    table.add_column("model", no_wrap=True)
    for heading in ("description", "crop px", "PSF sigma px", "crops seen", "compiled for"):
        table.add_column(heading)
    for name in shipped_models():
        card = load_model(name).card
        table.add_row(
            name,
            card.description,
            f"{card.crop_size}",
            f"{card.psf_sigma:g}",
            f"{card.training.crops:,}",
            ", ".join(sorted(set(compiled.get(name, [])))),
        )
    Console().print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a shipped model, or a model folder.")],
) -> None:
    """Check a model's files and print its card."""
    from dscsnet.engines.model import load_model

    model = load_model(name)
    print(f"# {model.folder}: all files are as the card says")
    print(msgspec.yaml.encode(model.card).decode(), end="")

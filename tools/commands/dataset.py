"""`dscsnet dataset`: write simulated crops in the layout of CSIST-100K, and look at such a set."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from dscsnet.pipeline.commands.progress import PLAIN_LINE_S

if TYPE_CHECKING:
    from dscsnet.tools.simulation.scenes import Scenes

app = typer.Typer(
    no_args_is_help=True, help="Write or look at crops with known targets, laid out as CSIST-100K."
)


@app.command()
def write(
    configuration: Annotated[
        Path, typer.Argument(help="Training configuration with the protocol, YAML.")
    ],
    folder: Annotated[Path, typer.Argument(help="Folder to write; new or empty.")],
    *,
    train: Annotated[int, typer.Option(min=0, help="Crops to train on.")] = 8000,
    val: Annotated[int, typer.Option(min=0, help="Crops to validate on.")] = 1000,
    test: Annotated[int, typer.Option(min=0, help="Crops to test on.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, max=10**9, help="Another seed: other crops.")] = 0,
    base: Annotated[
        int, typer.Option(min=0, max=1, help="Coordinate of the first pixel in the annotations.")
    ] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the data set that is in the folder.")
    ] = False,
) -> None:
    """Simulate crops and write them as PNG images and XML annotations."""
    from dscsnet.tools.dataset.writer import write_dataset
    from dscsnet.tools.training.config import load_crop_protocol

    protocol = load_crop_protocol(configuration)
    counts = {"train": train, "val": val, "test": test}
    with progress("writing") as show:
        manifest = write_dataset(
            *(folder, protocol, counts),
            seed=seed,
            base=1 if base else 0,
            force=force,
            progress=show,
        )
    crops = ", ".join(f"{record.crops} {name}" for name, record in manifest.splits.items())
    print(f"{folder}: {crops} crops, seed {seed}")


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="A data set, or one of its splits.")],
    *,
    base: Annotated[
        Literal["auto", "0", "1"],
        typer.Option(help="Coordinate of the first pixel in the annotations; auto: find out."),
    ] = "auto",
    picture: Annotated[
        Path | None, typer.Option(help="Draw a contact sheet of the first split: a PNG file.")
    ] = None,
) -> None:
    """Print counts and ranges, and draw a contact sheet."""
    from dscsnet.tools.dataset.contact_sheet import draw_sheet
    from dscsnet.tools.dataset.reader import find_splits, load_dataset
    from dscsnet.tools.drawing.canvas import save_picture

    for name, split in find_splits(folder).items():
        with progress(f"reading {name}") as tell:
            scenes = load_dataset(split, base=base_of(base), progress=tell)
        _print(name, scenes)
        if picture:
            save_picture(picture, draw_sheet(scenes, f"{name}: {len(scenes.x)} crops"))
            print(f"picture  {picture}: {name}")
            picture = None


def base_of(option: Literal["auto", "0", "1"]) -> Literal[0, 1, "auto"]:
    """The option as the reader takes it."""
    return {"auto": "auto", "0": 0, "1": 1}[option]  # type: ignore[return-value]


def _print(name: str, scenes: "Scenes") -> None:
    size = scenes.crops.shape[-1]
    low, high = scenes.crops.min().item(), scenes.crops.max().item()
    noise = scenes.noise.max().item()
    about = f", noise sigma up to {noise:.3g}" if noise else ""
    console = Console(highlight=False)
    console.print(
        f"{name}: {len(scenes.x)} crops of {size}x{size} px, {low:g} to {high:g} counts{about}",
        soft_wrap=True,
    )
    table = Table("targets", "crops", "intensity", "x, px", "y, px", box=None)
    counts = scenes.present.sum(1)
    for number in counts.unique().tolist():
        rows = counts == number
        present = scenes.present[rows]
        columns = (v[rows][present] for v in (scenes.intensity, scenes.x, scenes.y))
        ranges = [
            f"{v.min().item():.2f} to {v.max().item():.2f}" if len(v) else "" for v in columns
        ]
        table.add_row(str(number), str(int(rows.sum())), *ranges)
    console.print(table)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback (crops done, in all): a bar on a terminal, now and then a line elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_lines(what)
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("crops"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _plain_lines(what: str) -> Callable[[int, int], None]:

    next_at = time.monotonic() + PLAIN_LINE_S

    def tell(done: int, total: int) -> None:
        nonlocal next_at
        if time.monotonic() >= next_at:
            next_at = time.monotonic() + PLAIN_LINE_S
            print(f"{what}: {done} of {total} crops", file=sys.stderr, flush=True)

    return tell

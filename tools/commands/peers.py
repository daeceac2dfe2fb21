"""`dscsnet bench --peers`: other people's ways to do the same beside ours, in processor time."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from rich.console import Console
from rich.table import Table

from dscsnet.tools.peers.comparison import Comparison

#: An empty frame takes a fraction of a millisecond: so many for one of the other benchmarks.
FRAMES_FOR_EACH = 5
MADE_OF = ("pyzmq", "torch", "photutils", "scipy")


def print_peers(console: Console, model: str, frames: int) -> None:
    """Measure and print each comparison, and a line for each peer that is not installed."""
    console.print(_versions(), highlight=False, soft_wrap=True)
    for comparison in _comparisons(model, frames):
        console.print(_table(comparison))
        for line in comparison.missing:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        console.print(comparison.note, highlight=False, soft_wrap=True)
    console.print(
        "us, and /s of processor time: all threads together, medians of rounds in turn; by the "
        "clock: what else this machine does counts, too; times: how many times its items the "
        "named row does in the same processor time (below 1: it is behind)",
        highlight=False,
        soft_wrap=True,
    )


def _versions() -> str:
    """Versions of what peers are made of, those that are installed."""
    found = []
    for name in MADE_OF:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return f"peers: {', '.join(found)}"


def _comparisons(model: str, frames: int) -> Iterator[Comparison]:
    from dscsnet.tools.peers.photometry import compare_photometry
    from dscsnet.tools.peers.relay import compare_relay
    from dscsnet.tools.peers.unmixing import compare_unmixing

    yield compare_relay(model, FRAMES_FOR_EACH * frames)
    yield compare_unmixing()
    yield compare_photometry()


def _table(comparison: Comparison) -> Table:
    table = Table(title=comparison.title, box=None)
    table.add_column("")
    heads = (
        *(f"{comparison.unit}/s of processor time", "us", "by the clock", *comparison.columns),
        *(f"{name}, times" for name in comparison.references),
    )
    for head in heads:
        table.add_column(head, justify="right")
    for row in comparison.rows:
        figures = row.figures or ("",) * len(comparison.columns)
        table.add_row(
            row.name,
            f"{row.speed.cpu:,.0f}",
            f"{1e6 / row.speed.cpu:,.0f}",
            f"{row.speed.wall:,.0f}",
            *figures,
            *(f"{times:.3g}" for times in comparison.ahead(row)),
        )
    return table

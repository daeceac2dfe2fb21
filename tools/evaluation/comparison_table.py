"""The comparison of methods as tables: on the terminal, and as Markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from dscsnet.tools.evaluation.comparison import Entry
from dscsnet.tools.measures.average_precision import DISTANCES, AveragePrecision

NONE = "-"


@dataclass(frozen=True)
class Sheet:
    """A titled table of text; the first column is of words, the others are of numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def sheets(entries: Iterable[Entry]) -> tuple[Sheet, Sheet]:
    """Accuracy and cost."""
    entries = list(entries)
    distances = [f"AP{round(100 * distance):02d}" for distance in DISTANCES]
    paper = [f"paper {column}" for column in ("CSO-mAP", *distances)]
    return (
        Sheet(
            "Accuracy",
            ("method", "crops", "CSO-mAP", *distances, *paper),
            [_accuracy(entry) for entry in entries],
        ),
        Sheet(
            "Cost",
            (
                *("method", "parameters M", "paper M", "GMAC/crop", "paper GMAC", "crops/s"),
                *("crops seen", "training s", "budget"),
            ),
            [_cost(entry) for entry in entries],
        ),
    )


def print_sheet(console: Console, sheet: Sheet) -> None:
    """On the terminal."""
    table = Table(title=sheet.title, title_justify="left", box=None)
    for index, column in enumerate(sheet.columns):
        table.add_column(column, justify="right" if index else "left")
    for row in sheet.rows:
        table.add_row(*row)
    console.print(table)


def markdown(sheet: Sheet) -> str:
    """As a Markdown section."""
    lines = [sheet.columns, ["---", *["---:"] * (len(sheet.columns) - 1)], *sheet.rows]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"## {sheet.title}\n\n{body}\n"


def _accuracy(entry: Entry) -> list[str]:
    paper = entry.published.precision if entry.published else None
    measured = f"{entry.measured_on:,}"
    return [entry.name, measured, *_precision(entry.precision), *_precision(paper)]


def _precision(precision: AveragePrecision | None) -> list[str]:
    if precision is None:
        return [NONE] * (1 + len(DISTANCES))
    return [f"{value:.2f}" for value in (precision.cso_map, *precision.by_distance)]


def _cost(entry: Entry) -> list[str]:
    cost, paper = entry.cost, entry.published
    speed = NONE if entry.crops_per_s is None else f"{entry.crops_per_s:,.0f}"
    theirs = (NONE, NONE)
    if paper is not None:
        theirs = (_number(paper.parameters), _number(paper.gmac))
    if cost is None:
        return [entry.name, NONE, theirs[0], NONE, theirs[1], speed, NONE, NONE, NONE]
    return [
        entry.name,
        _number(cost.parameters / 1e6),
        theirs[0],
        _number(cost.multiply_accumulates / 1e9),
        theirs[1],
        speed,
        f"{cost.crops:,}",
        f"{cost.seconds:,.0f}",
        cost.budget,
    ]


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"

"""The battery's result as tables on the terminal, and as JSON."""

import math

import msgspec
from rich.console import Console
from rich.table import Table

from dscsnet.tools.robustness.battery import Report
from dscsnet.tools.robustness.measure import Row

COLUMNS = (
    *("right %", "false", "silent %", "flagged %", "outside"),
    *("RMS px", "/ bound", "flux %", "1s %", "2s %"),
)
NOTES = (
    "right: spots with the right number of targets. false: published targets a spot that are no "
    "true one's within 0.5 px. silent: spots that are wrong and not flagged. outside: targets more "
    "than half a pixel outside the frame. RMS, of one axis, its ratio to the Cramér-Rao bound, the "
    "median error of the flux, and errors within 1 and 2 sigma (nominal 68.3, 95.4): of spots with "
    "the right number."
)


def print_report(report: Report, console: Console) -> None:
    """Print a table for each group, models below each other, and what the columns are."""
    groups: dict[str, list[Row]] = {}
    for row in report.rows:
        groups.setdefault(row.group, []).append(row)
    for group, rows in groups.items():
        table = Table(title=group, title_justify="left", box=None)
        table.add_column("", no_wrap=True)
        table.add_column("model", no_wrap=True)
        for column in COLUMNS:
            table.add_column(column, justify="right")
        for row in rows:
            table.add_row(row.name, row.model, *cells(row))
        console.print(table)
    console.print(NOTES, highlight=False)


def cells(row: Row) -> list[str]:
    """A row's figures, as `COLUMNS` names them."""
    return [
        _number(100 * row.right, 1),
        _number(row.false, 3),
        _number(100 * row.silent, 1),
        _number(100 * row.flagged, 1),
        str(row.outside),
        _number(row.rms, 4),
        _number(row.over_bound, 2),
        _number(100 * row.flux_bias, 1),
        _number(100 * row.one_sigma, 0),
        _number(100 * row.two_sigma, 0),
    ]


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def as_json(report: Report) -> bytes:
    """The report as JSON; what is not known is null."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"

"""The field benchmark's result as tables on the terminal."""

import math
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from dscsnet.tools.field.benchmark import DOUBTS, FieldResult, OddSet, Reference
from dscsnet.tools.field.chain import Speed
from dscsnet.tools.field.report import CHI2_QUANTILES, Coverage, FieldReport, Found

FOUND_COLUMNS = ("true", "published", "R.25", "P.25", "R.5", "P.5")
NOTES = (
    "R, P: recall and precision within 0.25 and 0.5 px, one to one; precision by signal-to-noise "
    "goes by the published intensity. count right: share of crops with the right number of "
    "targets. kept: share of crops with targets for which any was published. 1s, 2s: share of "
    "errors within 1 and 2 sigma (nominal 68.3, 95.4) in crops with the right count; e2/v: mean "
    "squared error over variance (1). doubted: flagged as not to be trusted; detected: doubted, "
    "or nothing published; low score: the best score is like that of the lowest 5 % of fair "
    "crops; targets: published a crop; not doubted: those of crops that are not doubted. "
    "crops/s: of processor time, hence of one core. All but crops/s and numbers of targets in %."
)


def print_result(result: FieldResult, console: Console) -> None:
    """Print all tables."""
    console.print(
        f"{result.engine} ({result.runtime}) on {result.crops} crops implanted in "
        f"{result.frames} real frames, seed {result.seed}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(_summary("", [("field protocol", result.report), *result.variants.items()]))
    console.print(_found("By signal-to-noise", "SNR", result.report.by_snr.items()))
    console.print(_by_number(result.report))
    console.print(_coverage(result.report))
    console.print(_errors(result.report), highlight=False)
    console.print(_odd(result.odd))
    if result.references:
        for table in _beside(result.engine, result.references):
            console.print(table)
    speeds = [(each.name, each.speed) for each in result.references]
    console.print(_speed([(result.engine, result.speed), *speeds]))
    console.print(NOTES, highlight=False)


def _table(title: str, first: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None)
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _number(value: float, digits: int = 1) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _summary(title: str, reports: Iterable[tuple[str, FieldReport]]) -> Table:
    columns = (
        *("CSO-mAP", "AP.5", "R.25", "P.25", "R.5", "P.5", "count right", "kept"),
        *("false/random", "false/peak", "1s", "2s", "e2/v", "intensity"),
    )
    table = _table(title, "", columns)
    for name, report in reports:
        found, both = report.overall, (report.x, report.y)
        shares = (
            *(report.cso_map, report.ap_near, found.recall_close, found.precision_close),
            *(found.recall_near, found.precision_near, report.count_accuracy, report.kept),
        )
        table.add_row(
            name,
            *(_number(value) for value in shares),
            _number(report.random_places.false_targets, 3),
            _number(report.bright_peaks.false_targets, 3),
            _number(sum(axis.one_sigma for axis in both) / 2),
            _number(sum(axis.two_sigma for axis in both) / 2),
            _number(sum(axis.squared for axis in both) / 2, 2),
            _number(report.intensity_median),
        )
    return table


def _found_row(found: Found) -> list[str]:
    shares = (
        *(found.recall_close, found.precision_close),
        *(found.recall_near, found.precision_near),
    )
    return [str(found.true), str(found.published), *(_number(value) for value in shares)]


def _found(title: str, first: str, rows: Iterable[tuple[str, Found]]) -> Table:
    table = _table(title, first, FOUND_COLUMNS)
    for label, found in rows:
        table.add_row(label, *_found_row(found))
    return table


def _by_number(report: FieldReport) -> Table:
    table = _table("By number of targets", "targets", (*FOUND_COLUMNS, "count right"))
    for number, accuracy in report.count_by_number.items():
        found = report.by_number.get(number)
        row = [""] * len(FOUND_COLUMNS) if found is None else _found_row(found)
        table.add_row(str(number), *row, _number(accuracy))
    return table


def _coverage(report: FieldReport) -> Table:
    table = _table(
        "Uncertainties, in crops with the right count", "", ("1s", "2s", "e2/v", "without 1 %")
    )
    for name, column in (("x", report.x), ("y", report.y), ("intensity", report.intensity)):
        table.add_row(name, *_coverage_row(column))
    return table


def _errors(report: FieldReport) -> str:
    quantiles = ", ".join(
        f"{100 * share:g} % {_number(value, 2)}"
        for share, value in zip(CHI2_QUANTILES, report.chi2, strict=True)
    )
    return (
        f"Position RMS {_number(report.position_rms, 3)} px, intensity error median "
        f"{_number(report.intensity_median)} %, RMS {_number(report.intensity_rms)} %; "
        f"reduced chi-square of target crops: {quantiles}"
    )


def _coverage_row(column: Coverage) -> list[str]:
    return [
        _number(column.one_sigma),
        _number(column.two_sigma),
        _number(column.squared, 2),
        _number(column.trimmed, 2),
    ]


def _odd(sets: Sequence[OddSet]) -> Table:
    columns = (
        "crops",
        "doubted",
        *DOUBTS,
        "silent",
        "detected",
        "low score",
        "targets",
        "not doubted",
    )
    table = _table("Knowing when it does not know", "crops with", columns)
    for row in sets:
        shares = (row.doubted, *row.reasons.values(), row.silent, row.detected, row.low_score)
        table.add_row(
            row.name,
            str(row.crops),
            *(_number(value) for value in shares),
            _number(row.published, 2),
            _number(row.unflagged, 2),
        )
    return table


def _beside(engine: str, references: Sequence[Reference]) -> list[Table]:
    measured = references[0].measured
    reports = [(engine, measured), *((each.name, each.report) for each in references)]
    rows = [
        (f"{edges}  {name}", report.by_snr[edges])
        for edges in measured.by_snr
        for name, report in reports
    ]
    names = ", ".join(each.name for each in references)
    title = f"Beside {names}, on the same {measured.crops} crops"
    return [_summary(title, reports), _found("By signal-to-noise", "SNR", rows)]


def _speed(speeds: Iterable[tuple[str, Speed]]) -> Table:
    columns = ("crop and background", "engine", "readout", "together")
    table = _table("Crops/s on one core", "", columns)
    for name, speed in speeds:
        values = (speed.crop, speed.engine, speed.readout, speed.together)
        table.add_row(name, *(f"{value:,.0f}" for value in values))
    return table

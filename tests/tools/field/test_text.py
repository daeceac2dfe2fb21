"""The benchmark's tables: every figure in its column."""

import io
import math
import re
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from dscsnet.tools.field import text
from dscsnet.tools.field.benchmark import FieldResult
from tests.tools.field.made_up import ODD, RESULT, SPEED, field_report

FOUND_CELLS = ["100", "90", "50.2", "51.0", "60.5", "61.8"]


def cells(table: Table) -> list[list[str]]:
    """Texts of a printed table without its title and headings."""
    file = io.StringIO()
    Console(file=file, width=400).print(table)
    lines = [re.split(r" {2,}", line.strip()) for line in file.getvalue().splitlines()]
    return lines[lines.index(next(line for line in lines if len(line) > 2)) + 1 :]


def headings(table: Table) -> list[str]:
    return [str(column.header) for column in table.columns]


def test_a_summary_has_the_means_of_both_axes() -> None:
    table = text._summary(
        "", [("field protocol", field_report()), ("without", field_report(kept=math.nan))]
    )
    first, second = cells(table)
    assert first == [
        *("field protocol", "41.0", "42.0", "50.2", "51.0", "60.5", "61.8", "43.0", "46.0"),
        *("0.125", "0.250", "65.0", "93.0", "1.25", "5.5"),
    ]
    assert second[8] == "-"
    assert len(headings(table)) == len(first)


def test_recall_by_number_of_targets() -> None:
    none, one, two = cells(text._by_number(field_report()))
    assert none == ["0", "44.0"]
    assert one == ["1", *FOUND_CELLS, "45.0"]
    assert two == ["2", "8", *FOUND_CELLS[1:], "-"]


def test_coverage_and_errors() -> None:
    assert cells(text._coverage(field_report())) == [
        ["x", "60.0", "90.0", "1.00", "0.80"],
        ["y", "70.0", "96.0", "1.50", "0.90"],
        ["intensity", "-", "-", "-", "-"],
    ]
    assert text._errors(field_report()) == (
        "Position RMS 0.123 px, intensity error median 5.5 %, RMS 6.5 %; reduced chi-square of "
        "target crops: 10 % 0.50, 50 % 1.00, 90 % 1.50, 99 % 2.25"
    )


def test_what_is_no_cluster() -> None:
    table = text._odd([ODD])
    shares = ("80.0", "70.0", "20.0", "10.0", "5.0", "85.0", "60.0")
    assert cells(table) == [["hot pixels", "25", *shares, "1.25", "0.75"]]
    assert headings(table)[3:6] == ["misfit", "PSF", "crowded"]


def test_references_stand_below_the_engine_on_the_same_crops() -> None:
    summary, by_snr = text._beside("mine", RESULT.references)
    assert "on the same 30 crops" in str(summary.title)
    assert [row[:2] for row in cells(summary)] == [["mine", "22.0"], ["other", "21.0"]]
    rows = cells(by_snr)
    assert [row[:2] for row in rows] == [
        ["5-10", "mine"],
        ["5-10", "other"],
        ["10-30", "mine"],
        ["10-30", "other"],
    ]
    assert [row[2] for row in rows] == ["100", "100", "7", "7"]


def test_speeds_are_whole_numbers() -> None:
    assert cells(text._speed([("mine", SPEED)])) == [["mine", "12,346", "2,000", "30,000", "1,500"]]


def printed(result: FieldResult) -> str:
    file = io.StringIO()
    text.print_result(result, Console(file=file, width=400))
    return file.getvalue()


def test_the_whole_result_in_order() -> None:
    shown = printed(RESULT)
    parts = (
        "mine (onnx) on 400 crops implanted in 3 real frames, seed 5",
        *("field protocol", "PSF told +5 %", "By signal-to-noise", "By number of targets"),
        *("Uncertainties", "Position RMS", "Knowing when", "Beside other", "Crops/s", "R, P: "),
    )
    places = [shown.index(part) for part in parts]
    assert places == sorted(places)
    assert shown.count("12,346") == 2
    alone = printed(replace(RESULT, references=[]))
    assert "Beside" not in alone
    assert alone.count("12,346") == 1

"""`dscsnet bench --peers`: where the figures stand, and nothing else is measured."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
from typer.testing import CliRunner

from dscsnet.tools.bench.in_turn import Speed
from dscsnet.tools.cli import new_cli
from dscsnet.tools.commands import bench, peers
from dscsnet.tools.peers import photometry, relay, unmixing
from dscsnet.tools.peers.comparison import Comparison, Row

LINE = "abacus: left out, beads not installed: pip install beads"
OURS = Row("ours", Speed(2_000.0, 1_500.4), ("99.0",))
THEIRS = Row("theirs", Speed(40.0, 30.0), ("51.5",))


def comparison(title: str) -> Comparison:
    return Comparison(title, "beads", [OURS, THEIRS], ["ours"], "A note.", ["found %"], [LINE])


def test_rows_ratios_and_missing_peers_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def compare_relay(model: str, frames: int) -> Comparison:
        asked.append((model, frames))
        plain = [Row("ours", OURS.speed), Row("theirs", THEIRS.speed)]
        return Comparison("Receiving", "frames", plain, ["ours"], "")

    def nothing_else(*_: Any) -> Iterator[None]:
        raise AssertionError("nobody asked")

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(peers, "MADE_OF", ("pyzmq", "no-such-abacus"))
    monkeypatch.setattr(relay, "compare_relay", compare_relay)
    monkeypatch.setattr(unmixing, "compare_unmixing", lambda: comparison("Unmixing"))
    monkeypatch.setattr(photometry, "compare_photometry", lambda: comparison("Easy"))
    for name in ("_bench_engine", "_bench_node"):
        monkeypatch.setattr(bench, name, nothing_else)
    result = CliRunner().invoke(new_cli(), ["bench", "--peers", "--model", "m", "--frames", "70"])
    assert result.exit_code == 0, result.output
    assert asked == [("m", peers.FRAMES_FOR_EACH * 70)]
    assert f"peers: pyzmq {version('pyzmq')}\n" in result.output
    lines = [line.strip() for line in result.output.splitlines()]
    assert lines.count(LINE) == lines.count("A note.") == 2
    rows = [line.split() for line in lines]
    assert rows.count(["ours", "2,000", "500", "1,500", "99.0", "1"]) == 2
    assert rows.count(["theirs", "40", "25,000", "30", "51.5", "50"]) == 2
    assert ["theirs", "40", "25,000", "30", "50"] in rows
    titles = [line for line in lines if line in ("Receiving", "Unmixing", "Easy")]
    assert titles == ["Receiving", "Unmixing", "Easy"]

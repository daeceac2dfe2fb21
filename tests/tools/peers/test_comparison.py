"""Rows beside each other: ratios, and what a peer that is not installed leaves behind."""

import sys

import pytest

from dscsnet.tools.bench.in_turn import Speed
from dscsnet.tools.peers.comparison import Comparison, Row, absent, rows


def test_ratios_are_of_processor_time() -> None:
    fast, slow, peer = Row("fast", Speed(900, 1)), Row("slow", Speed(300, 9)), Row("p", Speed(6, 5))
    comparison = Comparison("", "crops", [fast, slow, peer], ["slow", "fast"], "")
    assert comparison.ahead(peer) == [50, 150]
    assert comparison.ahead(fast) == [pytest.approx(1 / 3), 1]


def test_rows_keep_their_order_and_figures_are_optional() -> None:
    speeds = {"b": Speed(1, 1), "a": Speed(2, 2)}
    assert rows(speeds) == [Row("b", Speed(1, 1)), Row("a", Speed(2, 2))]
    assert [row.figures for row in rows(speeds, {"a": ("7",)})] == [(), ("7",)]


def test_a_missing_peer_is_one_line_that_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert absent("JSON", ["json", "zmq"], "buy it") == []
    for name in ("json", "csv"):
        monkeypatch.setitem(sys.modules, name, None)
    assert absent("Files", ["json", "zmq", "csv"], "pip install files") == [
        "Files: left out, json and csv not installed: pip install files"
    ]

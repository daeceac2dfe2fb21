"""`dscsnet bench`: which figures are measured, and where they stand in the tables."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import dscsnet.tools.bench.engine
import dscsnet.tools.bench.node
import dscsnet.tools.bench.recorder
from dscsnet.tools.bench.engine import EngineSpeed
from dscsnet.tools.bench.node import NodeSpeed
from dscsnet.tools.bench.recorder import RecorderCost
from dscsnet.tools.cli import new_cli

CPU_US = {"intake": 51.4, "worker": 300.0}
Asked = list[tuple[str, tuple[Any, ...], dict[str, Any]]]


@pytest.fixture(name="asked")
def _asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What was to be measured; nothing is."""
    asked: Asked = []
    monkeypatch.setenv("COLUMNS", "200")

    def engine(*given: Any, **more: Any) -> Iterator[EngineSpeed]:
        asked.append(("engine", given, more))
        yield EngineSpeed("abacus", 64, 12_345.6)

    def node(*given: Any, **more: Any) -> Iterator[NodeSpeed]:
        asked.append(("node", given, more))
        yield NodeSpeed(20, 111.4, 222.4, 33.4, (1.5, 2.5, 3.5, 4.5), 0.75, CPU_US)

    def recorder(*given: Any, **more: Any) -> Iterator[RecorderCost]:
        asked.append(("recorder", given, more))
        yield RecorderCost(
            20, (50.0, 45.0), 10.0, (3.0, 3.6), 20.0, 15.0, (5.0, 5.5), (9.0, 9.5), -1.26, 99.5
        )

    monkeypatch.setattr(dscsnet.tools.bench.engine, "bench_engine", engine)
    monkeypatch.setattr(dscsnet.tools.bench.node, "bench_node", node)
    monkeypatch.setattr(dscsnet.tools.bench.recorder, "bench_recorder", recorder)
    return asked


TOLD = {"workers": 0, "streams": 1}


def bench(*arguments: str) -> Result:
    result = CliRunner().invoke(new_cli(), ["bench", *arguments])
    assert result.exit_code == 0, result.output
    return result


def rows(result: Result) -> list[list[str]]:
    return [line.split() for line in result.output.splitlines()]


@pytest.mark.parametrize(("cores", "threads"), [(1, (1,)), (4, (1, 4))])
def test_engine_and_node(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, cores: int, threads: tuple[int, ...]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(cores))
    result = bench("--model", "psf-fit", "--frames", "30", "--threads", "2")
    assert asked == [
        ("engine", ("psf-fit", (1, 8, 64, 256), threads), {}),
        ("node", ("psf-fit", (1, 20, 100)), {**TOLD, "frames": 30, "threads": 2}),
    ]
    assert ["20", "51", "300", "351"] in rows(result)
    assert ["abacus", "64", "12,346"] in rows(result)
    assert ["20", "111", "222", "33", "1.50", "2.50", "3.50", "4.50", "0.75"] in rows(result)


def test_other_numbers_of_workers_and_streams(asked: Asked) -> None:
    result = bench("--workers", "2", "--streams", "64")
    assert (asked[1][2]["workers"], asked[1][2]["streams"]) == (2, 64)
    assert "2 workers, 64 streams" in result.output


def test_the_engine_alone(asked: Asked) -> None:
    bench("--engine-only")
    assert [what for what, _, _ in asked] == ["engine"]


def test_other_numbers_of_candidates(asked: Asked) -> None:
    bench("--candidates", "3", "--candidates", "7")
    assert asked[1][1][1] == (3, 7)


def test_the_recorder_alone(asked: Asked) -> None:
    result = bench("--recorder", "--rounds", "2", "--frames", "40", "--compression", "lz4")
    ((what, (_, candidates), given),) = asked
    assert (what, candidates) == ("recorder", (1, 20, 100))
    record = given.pop("record")
    assert given == {"frames": 40, "threads": 0, "rounds": 2}
    assert record.compression == "lz4"
    table = rows(result)
    assert ["20", "frames/s,", "lossless", "50.00", "45.00", "+10.0"] in table
    assert ["20", "processor", "ms", "a", "frame", "3.00", "3.60", "+20.0"] in table
    at = ["ms,", "at", "15", "Hz"]
    assert ["20", "latency", "p50,", *at, "5.00", "5.50", "-1.3"] in table
    assert ["20", "latency", "p99,", *at, "9.00", "9.50"] in table
    assert ["20", "frames", "recorded,", "%", "99.5"] in table

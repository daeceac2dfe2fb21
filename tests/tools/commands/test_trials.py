"""`dscsnet soak` and `dscsnet faults`: what they ask for, tell and write, and when they fail."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import dscsnet.tools.trials.faults
import dscsnet.tools.trials.soak
import dscsnet.tools.trials.soak_report
from dscsnet.engines.errors import DscsnetError
from dscsnet.tools.cli import new_cli
from dscsnet.tools.trials.fault_list import FAULTS
from dscsnet.tools.trials.faults import Deed, Fault, Outcome
from dscsnet.tools.trials.soak import Sample, Soak


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(new_cli(), [str(each) for each in arguments])


def sample(seconds: float) -> Sample:
    counts = {"received": 9, "pending": 0, "dropped": 0, "lost_upstream": 0, "unsent": 0}
    ages = {"oldest_ms": 1.0, "latency_p50_ms": 9.0, "latency_max_ms": 30.0}
    process: dict[str, Any] = {"descriptors": 30, "threads": 16, "cpu_s": 0.0}
    published = int(10 * seconds)
    return Sample(
        seconds=seconds, memory_mib=201.5, published=published, **process, **counts, **ages
    )


class FakeSoak:
    """In place of the soak: ten samples and what came of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **result: Any) -> None:
        self.given: dict[str, Any] = {}
        self.capacity: tuple[Any, ...] = ()
        self.drawn: list[Path] = []
        self._result = {"silent": 0, "faults": [], **result}
        monkeypatch.setattr(dscsnet.tools.trials.soak, "soak", self.soak)
        monkeypatch.setattr(dscsnet.tools.trials.soak, "measure_capacity", self.measure)
        monkeypatch.setattr(dscsnet.tools.trials.soak_report, "grows", lambda soak: self._grows)
        monkeypatch.setattr(
            dscsnet.tools.trials.soak_report,
            "draw_soak",
            lambda soak, path: self.drawn.append(path),
        )
        self._grows = self._result.pop("grows", False)

    def measure(self, *given: Any) -> float:
        self.capacity = given
        return 84.0

    def soak(self, folder: Path, **given: Any) -> Iterator[Sample | Soak]:
        self.given = {"folder": folder, **given}
        samples = [sample(60.0 * k) for k in range(11)]
        yield from samples
        yield Soak(given["rate_hz"], given["candidates"], samples, **self._result)


def test_a_soak_is_told_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, out = FakeSoak(monkeypatch), tmp_path / "deep" / "soak"
    result = invoke(
        *("soak", "--minutes", 100, "-o", out, "--rate", 12.5, "--candidates", 7),
        *("--model", "psf-fit", "--every", 4),
    )
    assert result.exit_code == 0, result.output
    settings = {"model": "psf-fit", "candidates": 7, "rate_hz": 12.5, "minutes": 100}
    assert fake.given == {"folder": out, "every_s": 4, **settings}
    assert fake.capacity == ()
    told = [line for line in result.output.splitlines() if "descriptors" in line and "MiB" in line]
    # A twentieth of 100 minutes is 5: of samples a minute apart every fifth.
    assert [line.split()[0] for line in told[:3]] == ["0.0", "5.0", "10.0"]
    assert told[1].split()[1:] == ["min", "201.5", "MiB", "30", "descriptors", "3000", "published"]
    assert "7 candidates" in (out / "soak.txt").read_text()
    assert fake.drawn == [out / "soak.png"]


def test_without_a_rate_it_is_half_of_what_the_node_manages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeSoak(monkeypatch)
    result = invoke("soak", "-o", tmp_path, "--model", "psf-fit", "--candidates", 3)
    assert fake.capacity == (tmp_path, "psf-fit", 3)
    assert fake.given["rate_hz"] == 42.0
    assert "half load: 42.0 frames/s" in result.output


@pytest.mark.parametrize("bad", [{"silent": 1}, {"faults": ["out of order"]}, {"grows": True}])
def test_a_soak_that_loses_or_grows_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: dict[str, Any]
) -> None:
    FakeSoak(monkeypatch, **bad)
    result = invoke("soak", "-o", tmp_path, "--rate", 5)
    assert isinstance(result.exception, DscsnetError)
    assert str(result.exception) == f"the soak failed: see {tmp_path / 'soak.txt'}"
    assert (tmp_path / "soak.txt").exists()


def test_no_place_for_a_soak(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = invoke("soak", "-o", tmp_path / "file" / "soak", "--rate", 5)
    assert isinstance(result.exception, DscsnetError)
    assert str(result.exception).startswith(f"{tmp_path / 'file' / 'soak'}: cannot be made: ")


def outcome(fault: Fault, **changes: Any) -> Outcome:
    given: dict[str, Any] = {
        **{"deed": Deed("nothing", 0.25), "received": 9, "published": 8, "dropped": {}},
        **{"lost_upstream": 0, "silent": 0, "memory_mib": (1.0, 2.0), "broken": []},
    }
    return Outcome(fault=fault, **given | changes)


def play(monkeypatch: pytest.MonkeyPatch, **of_the_second: Any) -> list[tuple[list[str], float]]:
    """Faults that are not committed; what was asked for."""
    asked: list[tuple[list[str], float]] = []

    def commit(faults: list[Fault], seconds: float) -> Iterator[Outcome]:
        asked.append(([fault.name for fault in faults], seconds))
        for number, fault in enumerate(faults):
            yield outcome(fault, **(of_the_second if number == 1 else {}))

    monkeypatch.setattr(dscsnet.tools.trials.faults, "commit", commit)
    return asked


NAMES = [fault.name for fault in FAULTS]


def test_faults_are_told_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, page = play(monkeypatch), tmp_path / "faults.md"
    result = invoke("faults", NAMES[2], NAMES[0], "--seconds", 1.5, "-o", page)
    assert result.exit_code == 0, result.output
    assert asked == [([NAMES[2], NAMES[0]], 1.5)]
    assert result.output.splitlines() == [
        f"{FAULTS[k].title}: nothing; 9 received, 8 published, 0 lost silently, back after 0.25 s"
        for k in (2, 0)
    ]
    text = page.read_text()
    assert f"dscsnet faults {NAMES[2]} {NAMES[0]} --seconds 1.5\n" in text
    assert text.count("| nothing | 9 | 8 |") == 2


def test_by_default_every_fault_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = play(monkeypatch)
    assert invoke("faults").exit_code == 0
    assert asked == [(NAMES, 10.0)]


def test_a_fault_that_is_not_borne_fails_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "faults.md"
    play(monkeypatch, silent=2)
    result = invoke("faults", "-o", page)
    assert isinstance(result.exception, DscsnetError)
    assert str(result.exception) == f"these faults are not borne: {NAMES[1]}"
    assert page.read_text().count("| nothing | 9 | 8 |") == len(FAULTS)

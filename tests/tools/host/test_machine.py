"""What a report says of the machine."""

import os
import platform
from pathlib import Path

import numpy as np
import pytest

from dscsnet.tools.host.machine import cpu_name, describe

LISTED = "processor : 0\nflags : fpu\nmodel name\t: A: fast one \nmodel name\t: another\n"


def test_the_first_processor_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: {"/proc/cpuinfo": LISTED}[str(path)])
    assert cpu_name() == "A: fast one"


@pytest.mark.parametrize("listed", [True, False])
def test_elsewhere_python_knows_the_name(monkeypatch: pytest.MonkeyPatch, listed: bool) -> None:
    """On ARM the file names no model; not every system has the file."""

    def read_text(_: Path) -> str:
        if not listed:
            raise FileNotFoundError
        return "processor : 0\nthe model name : unknown\n"

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    for known, name in (("chip", "chip"), ("", "aarch64")):
        monkeypatch.setattr(platform, "processor", lambda known=known: known)
        assert cpu_name() == name


def test_a_report_tells_what_its_speed_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0: {2, 5, 7}}[process])
    monkeypatch.setattr(os, "getloadavg", lambda: (1.26, 9.0, 8.0))
    machine, versions = describe().split("\n")
    assert machine == f"{cpu_name()}, 3 cores, load 1.3, Linux {platform.release()}"
    assert versions.startswith(f"Python {platform.python_version()}, numpy {np.__version__}, ")

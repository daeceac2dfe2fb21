"""Child processes that fail, stay or end."""

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from dscsnet.tools.host import processes
from dscsnet.tools.host.processes import ProgramError, Programs, free_ports

#: Runs until told to stop, as a module of the standard library that anyone has.
SERVER = ("http.server", "--bind", "127.0.0.1", "0")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Every process that was started."""
    found: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def record(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        found.append(popen(*arguments, **options))  # type: ignore[call-overload]
        return found[-1]

    monkeypatch.setattr(processes.subprocess, "Popen", record)
    return found


def test_none_is_left_behind_whatever_happens(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    def fail() -> None:
        with Programs(tmp_path) as programs:
            programs.start("one", *SERVER)
            programs.start("two", *SERVER)
            programs.check()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [process.returncode for process in started] == [-signal.SIGTERM] * 2


def test_a_failure_names_the_program_and_ends_with_its_last_words(tmp_path: Path) -> None:
    with Programs(tmp_path) as programs:
        programs.start("reader", "json.tool", str(tmp_path / "nothing.json"))
        with pytest.raises(ProgramError) as caught:
            programs.wait("reader")
    first, *last = str(caught.value).splitlines()
    assert first.startswith("the reader ended with exit code ")
    assert str(tmp_path / "reader.log") in first
    assert 1 <= len(last) <= 5
    assert "nothing.json" in last[-1]


def test_ending_early_is_a_failure_unless_it_may(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    with Programs(tmp_path) as programs:
        programs.start("poem", "this")
        assert started[0].wait(30) == 0
        programs.check(may_end=("poem",))
        with pytest.raises(ProgramError, match="the poem ended early with exit code 0"):
            programs.check()
        programs.wait("poem")
        programs.check()


def test_stop_wants_exit_code_0_of_all(tmp_path: Path) -> None:
    with Programs(tmp_path) as programs:
        programs.start("server", *SERVER)
        with pytest.raises(ProgramError, match="the server ended with exit code -15"):
            programs.stop()


def test_a_program_that_does_not_end_is_told_and_killed(
    tmp_path: Path,
    started: list[subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "STOP_S", 0.1)
    with Programs(tmp_path) as programs:
        programs.start("server", *SERVER)
        with pytest.raises(ProgramError, match=r"the server did not end within 0\.1 s"):
            programs.wait("server")
    assert started[0].returncode is not None


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    with (
        Programs(tmp_path / "nothing") as programs,
        pytest.raises(ProgramError, match="the poem cannot be started"),
    ):
        programs.start("poem", "this")


def test_free_ports_differ_and_can_be_bound() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        with socket.socket() as each:
            each.bind(("127.0.0.1", port))


def test_processor_time_is_read_in_seconds(
    tmp_path: Path, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Programs(tmp_path) as programs:
        programs.start("server", *SERVER)
        pid = programs.pid("server")
        assert pid == started[0].pid
        assert programs.cpu_seconds("server") >= 0
        # A name may hold anything; user and system time are the 14th and 15th field.
        fields = ["S", *(str(k) for k in range(4, 14)), "250", "50", "9", "9"]
        monkeypatch.setattr(Path, "read_text", lambda path: f"{pid} (a) b c) {' '.join(fields)}\n")
        monkeypatch.setattr(processes.os, "sysconf", lambda name: {"SC_CLK_TCK": 100}[name])
        assert programs.cpu_seconds("server") == 3.0
        programs.kill("server")

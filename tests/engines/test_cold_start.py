"""What a start says of the loops that it compiles, and how it waits for other processes."""

import errno
import fcntl
from pathlib import Path
from typing import Any

import pytest

from dscsnet.engines import cold_start
from dscsnet.engines.cold_start import announced, before_compiling


class Folder:
    """A folder of compiled loops.

    Attributes:
        found: what is in it.
    """

    def __init__(self, writable: Path | None) -> None:
        self.writable, self.is_empty = writable, True
        self.found: str | None = None

    def look(self) -> str | None:
        return self.found


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_start_that_finds_all_says_nothing() -> None:
    said: list[str] = []
    with announced(said.append):
        pass
    assert said == []


@pytest.mark.parametrize("writable", [True, False])
def test_a_start_says_once_that_it_compiles_and_how_long_it_took(
    folder: Folder, writable: bool
) -> None:
    said: list[str] = []
    if not writable:
        folder.writable = None
    with announced(said.append):
        for _ in range(3):
            assert before_compiling(folder, folder.look) is None
            folder.is_empty = False
        assert len(said) == 1
    first, last = said
    assert "about half a minute" in first
    assert "compiled 3 numerical loops in 0.0 s" in last


def test_a_few_that_are_missing_take_less(folder: Folder) -> None:
    said: list[str] = []
    folder.is_empty = False
    with announced(said.append):
        before_compiling(folder, folder.look)
    assert "about half a minute" not in said[0]
    assert "compiled 1 numerical loop in" in said[1]


def test_a_start_that_fails_does_not_say_that_it_is_done(folder: Folder) -> None:
    said: list[str] = []

    def fail() -> None:
        with announced(said.append):
            before_compiling(folder, folder.look)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert len(said) == 1
    assert is_free(folder)


def is_free(folder: Folder) -> bool:
    assert folder.writable is not None
    with (folder.writable / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def test_who_compiles_keeps_others_waiting_till_it_is_done(folder: Folder) -> None:
    with announced(lambda _text: None):
        before_compiling(folder, folder.look)
        assert not is_free(folder)
    assert is_free(folder)


def test_what_another_process_compiles_is_waited_for(folder: Folder) -> None:
    assert folder.writable is not None
    said: list[str] = []
    with (folder.writable / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        def hear(text: str) -> None:
            said.append(text)
            folder.found = "a loop"  # the other process is done
            other.close()

        with announced(hear):
            assert before_compiling(folder, folder.look) == "a loop"
            assert is_free(folder)  # a third process has not to wait for this one
    assert len(said) == 1
    assert "another process" in said[0]


def test_a_process_that_hangs_is_not_waited_for_longer(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder.writable is not None
    monkeypatch.setattr(cold_start, "LONGEST_WAIT_S", 0.0)
    said: list[str] = []
    with (folder.writable / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with announced(said.append):
            assert before_compiling(folder, folder.look) is None
            assert before_compiling(folder, folder.look) is None
    assert [line for line in said if "compiled 2 numerical loops" in line]
    assert sum("another process" in line for line in said) <= 1


def test_a_file_system_without_locks_keeps_nobody_waiting(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(cold_start.fcntl, "flock", refuse)
    said: list[str] = []
    with announced(said.append):
        assert before_compiling(folder, folder.look) is None
    assert not any("another process" in line for line in said)
    assert "compiled 1 numerical loop in 0.0 s" in said[-1]


def test_without_a_start_it_compiles_at_once(folder: Folder) -> None:
    looked: list[Any] = []
    assert before_compiling(folder, lambda: looked.append(1)) is None
    assert looked == []


def test_what_cannot_be_locked_is_tried_once(folder: Folder) -> None:
    assert folder.writable is not None
    (folder.writable / ".lock").mkdir()
    looked: list[int] = []
    with announced(lambda _text: None):
        for _ in range(3):
            before_compiling(folder, lambda: looked.append(1))
    assert looked == [1]


def test_who_has_the_lock_does_not_look_again(folder: Folder) -> None:
    looked: list[int] = []
    with announced(lambda _text: None):
        for _ in range(3):
            before_compiling(folder, lambda: looked.append(1))
    assert looked == [1]


def test_others_are_waited_for_two_minutes_asking_ten_times_a_second(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder.writable is not None
    now, slept = [1000.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += 20 * seconds * 10

    monkeypatch.setattr(cold_start.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(cold_start.time, "sleep", sleep)
    said: list[str] = []
    with (folder.writable / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with announced(said.append):
            before_compiling(folder, folder.look)
    assert slept == [0.1] * 7  # of 20 s here: after 120 s it asks once more
    assert sum("another process" in line for line in said) == 1


def test_starts_are_inside_each_other(folder: Folder) -> None:
    outer: list[str] = []
    inner: list[str] = []
    with announced(outer.append):
        with announced(inner.append):
            before_compiling(folder, folder.look)
        assert is_free(folder)
        before_compiling(folder, folder.look)
        before_compiling(folder, folder.look)
    assert "compiled 1 numerical loop in" in inner[-1]
    assert "compiled 2 numerical loops in" in outer[-1]
    before_compiling(folder, folder.look)
    assert len(outer) == len(inner) == 2

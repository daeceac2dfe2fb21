"""Folders for code: found, made and written so that nobody else can change what is in them."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dscsnet.engines.files.private import (
    is_only_ours,
    make_private,
    open_to_others,
    user_cache,
    write_whole,
)


@pytest.fixture
def _generous() -> Iterator[None]:
    """A umask that lets a user's group write, as many systems have it."""
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_generous")
def test_every_folder_that_is_made_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "dscsnet" / "loops"
    make_private(folder)
    make_private(folder)
    for place in (folder, *list(folder.parents)[:2]):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert open_to_others(folder) is None


def test_no_folder_beneath_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(OSError, match="file"):
            make_private(path)


def test_the_user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache("loops") == tmp_path / ".cache" / "dscsnet" / "loops"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert user_cache("loops") == tmp_path / "xdg" / "dscsnet" / "loops"


def test_a_user_without_a_home_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    assert user_cache("loops") is None


def test_who_can_write(tmp_path: Path) -> None:
    folder, file = tmp_path / "folder", tmp_path / "folder" / "file"
    folder.mkdir()
    write_whole(file, b"content")
    assert file.read_bytes() == b"content"
    assert open_to_others(file) is None
    file.chmod(0o620)
    assert open_to_others(file) == file
    file.chmod(0o600)
    folder.chmod(0o702)
    assert open_to_others(file) == folder
    folder.chmod(0o1702)  # like /tmp: nobody can put another file in this one's place
    assert open_to_others(file) is None
    assert open_to_others(folder) == folder


def test_half_a_file_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(_descriptor: int) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write_whole(path, b"new")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("mode", [0o700, 0o720, 0o702])
@pytest.mark.parametrize("sticky", [False, True])
def test_what_belongs_to_others_is_never_ours(mode: int, sticky: bool) -> None:
    for owner, ours in ((0, True), (os.geteuid(), True), (os.geteuid() + 4321, False)):
        status = os.stat_result((mode, 0, 0, 1, owner, 0, 0, 0, 0, 0))
        assert is_only_ours(status, sticky) == (ours and (sticky or mode == 0o700))
    mine = os.stat_result((mode, 0, 0, 1, os.geteuid(), 0, 0, 0, 0, 0))
    assert is_only_ours(mine) == (mode == 0o700)

"""The cache of compiled engines: found by everything they depend on, whole, and only ours."""

import fcntl
import multiprocessing
import os
import stat
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from dscsnet.engines.errors import ModelError
from dscsnet.engines.runtimes.tensorrt.cache import (
    EngineCache,
    EngineKey,
    check_only_ours,
    default_folder,
)

KEY = EngineKey(
    model="some model/1",
    network="ab" * 32,
    library="tensorrt 10.9",
    device="8.6",
    precision="fp16",
    buckets=(1, 8),
)


@pytest.fixture(name="cache")
def _cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "deep" / "engines")


def never() -> bytes:
    raise AssertionError("built again")


def test_built_once_then_found(cache: EngineCache) -> None:
    assert cache.find(KEY) is None
    assert cache.get(KEY, lambda: b"plan") == b"plan"
    assert cache.get(KEY, never) == b"plan"
    assert [note.key for note in cache.entries()] == [KEY]
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


OTHER: dict[str, Any] = {
    "model": "other",
    "network": "cd" * 32,
    "library": "tensorrt 10.10",
    "device": "8.9",
    "precision": "fp32",
    "buckets": (1, 8, 64),
    "kind": "kernels",
}


@pytest.mark.parametrize("field", [field.name for field in fields(EngineKey)])
def test_whatever_changes_makes_another_engine(cache: EngineCache, field: str) -> None:
    cache.get(KEY, lambda: b"plan")
    changed = replace(KEY, **{field: OTHER[field]})
    assert changed.digest != KEY.digest
    assert cache.get(changed, lambda: b"another") == b"another"
    assert cache.get(KEY, never) == b"plan"


def test_what_is_put_takes_the_place_of_what_was(cache: EngineCache) -> None:
    key = replace(KEY, kind="kernels")
    for content in (b"kernels", b"more kernels"):
        cache.put(key, content)
        assert cache.find(key) == content
    assert {path.suffix for path in cache.folder.iterdir()} == {".kernels", ".json", ".lock"}
    assert cache.entries() == []  # they are no engines


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("spoil", [shorten, flip, Path.unlink])
@pytest.mark.parametrize("ending", [".engine", ".json"])
def test_what_is_not_whole_is_built_again(
    cache: EngineCache, spoil: Callable[[Path], None], ending: str
) -> None:
    cache.get(KEY, lambda: b"plan")
    spoil(next(cache.folder.glob(f"*{ending}")))
    assert cache.find(KEY) is None
    assert cache.get(KEY, lambda: b"plan again") == b"plan again"


def test_a_failed_build_leaves_nothing(cache: EngineCache) -> None:
    def fails() -> bytes:
        raise ModelError("refused operator")

    with pytest.raises(ModelError, match="refused operator"):
        cache.get(KEY, fails)
    assert cache.entries() == []
    assert cache.get(KEY, lambda: b"plan") == b"plan"


def test_no_half_file_is_left_by_a_full_disk(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "no room")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelError, match=r"\.engine: cannot be written: no room"):
        cache.get(KEY, lambda: b"plan")
    assert [path.suffix for path in cache.folder.iterdir()] == [".lock"]


def _build(folder: Path, barrier: Any, log: Path) -> None:
    def build() -> bytes:
        with log.open("a") as file:
            file.write("built\n")
        return b"plan"

    barrier.wait(60)
    assert EngineCache(folder).get(KEY, build) == b"plan"


def test_processes_that_want_the_same_build_it_once(cache: EngineCache, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    log, barrier = tmp_path / "log", context.Barrier(3)
    arguments = (cache.folder, barrier, log)
    processes = [context.Process(target=_build, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert log.read_text() == "built\n"


def test_nobody_else_builds_meanwhile(cache: EngineCache) -> None:
    def build() -> bytes:
        (path,) = cache.folder.glob("*.lock")
        with path.open("w") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return b"plan"

    cache.get(KEY, build)
    (path,) = cache.folder.glob("*.lock")
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_another_process_built_meanwhile_is_taken(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not there before the lock was asked for, and is once that is given."""
    looks = iter((None, b"of another"))
    monkeypatch.setattr(cache, "find", lambda key: next(looks))
    assert cache.get(KEY, never) == b"of another"


def test_entries_come_by_name_whatever_the_folder_says(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [replace(KEY, model=model) for model in ("b", "c", "a")]
    for key in keys:
        cache.get(key, lambda: b"plan")
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, text: sorted(glob(self, text), reverse=True))
    assert [note.key.model for note in cache.entries()] == ["a", "b", "c"]


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_can_write_is_refused(cache: EngineCache, mode: int) -> None:
    cache.get(KEY, lambda: b"plan")
    cache.folder.chmod(mode)
    with pytest.raises(ModelError, match="others can write here"):
        cache.get(KEY, never)


def test_a_file_that_others_can_write_is_refused(cache: EngineCache) -> None:
    cache.get(KEY, lambda: b"plan")
    next(cache.folder.glob("*.engine")).chmod(0o666)
    with pytest.raises(ModelError, match=r"\.engine: others can write here"):
        cache.get(KEY, never)


def test_a_parent_that_others_can_write_is_refused(cache: EngineCache) -> None:
    cache.get(KEY, lambda: b"plan")
    cache.folder.parent.chmod(0o777)
    with pytest.raises(ModelError, match="deep: others can write here"):
        cache.find(KEY)
    cache.folder.parent.chmod(0o1777)  # like /tmp: others cannot replace what is ours
    assert cache.find(KEY) == b"plan"


def test_a_link_is_followed_to_where_it_leads(cache: EngineCache, tmp_path: Path) -> None:
    cache.get(KEY, lambda: b"plan")
    link = tmp_path / "link"
    link.symlink_to(cache.folder)
    cache.folder.chmod(0o777)
    with pytest.raises(ModelError, match="engines: others can write here"):
        check_only_ours(link / next(cache.folder.glob("*.engine")).name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_somebody_else_is_refused(cache: EngineCache) -> None:
    cache.get(KEY, lambda: b"plan")
    os.chown(next(cache.folder.glob("*.engine")), 12345, -1)
    with pytest.raises(ModelError, match="others can write here"):
        cache.find(KEY)


def test_no_place_for_a_folder_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"no folder for compiled engines: .*DSCSNET_CACHE"):
        EngineCache(tmp_path / "file" / "engines").get(KEY, never)


def test_where_engines_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DSCSNET_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_folder() == tmp_path / ".cache" / "dscsnet" / "engines"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert default_folder() == Path("/x/dscsnet/engines")
    monkeypatch.setenv("DSCSNET_CACHE", "/y")
    assert default_folder() == Path("/y")

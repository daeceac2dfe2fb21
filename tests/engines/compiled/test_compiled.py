"""Compiled loops on disk: found by what they were made from, whole, and only ours."""

import errno
import logging
import math
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numba
import pytest

from dscsnet.engines import compiled
from dscsnet.engines.cold_start import announced
from dscsnet.engines.compiled import cache as loop_cache
from dscsnet.engines.compiled import checked_kernel, inner, kernel
from dscsnet.engines.compiled.folder import LoopFolder

NAME = "0" * 32
STEP = 3

Damage = Callable[[bytes], bytes]


def tripled(value: float) -> float:
    return value * STEP


def halved(value: float) -> float:
    return value / 2


def inverse(value: float) -> float:
    return 1 / value


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoopFolder:
    """In the place of this process's own folder."""
    return use(LoopFolder([tmp_path / "loops"], NAME), monkeypatch)


def use(folder: LoopFolder, monkeypatch: pytest.MonkeyPatch) -> LoopFolder:
    monkeypatch.setattr(loop_cache, "loop_folder", lambda _processor: folder)
    return folder


def files(folder: LoopFolder) -> list[Path]:
    return sorted(folder.bases[0].rglob("*.loop"))


def is_found(function: Callable[[float], float], argument: float = 5.0) -> bool:
    """Call it as a new process would: answers right; whether it came from the cache."""
    loop = kernel(function)
    assert loop(argument) == function(argument)
    return sum(loop.stats.cache_hits.values()) == 1


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def test_compiled_once_then_found(folder: LoopFolder, caplog: pytest.LogCaptureFixture) -> None:
    assert not is_found(tripled)
    assert is_found(tripled)
    assert len(files(folder)) == 1
    assert not is_found(tripled, 5)  # other types are another loop
    assert is_found(tripled, 5)
    assert is_found(tripled)
    assert not warnings_in(caplog)


def sealed_rubbish(_content: bytes) -> bytes:
    return loop_cache.sealed(b"neither a pickle nor code")


def sealed_other(_content: bytes) -> bytes:
    return loop_cache.sealed(pickle.dumps(("of", "another", "numba")))


DAMAGES: dict[str, Damage] = {
    "truncated": lambda content: content[: len(content) // 2],
    "one byte short": lambda content: content[:-1],
    "header alone": lambda content: content[:20],
    "emptied": lambda _content: b"",
    "zeroed": lambda content: bytes(len(content)),
    "zeroed behind the header": lambda content: content[:64] + bytes(len(content) - 64),
    "one bit turned": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "rubbish": lambda content: os.urandom(len(content)),
    "longer": lambda content: content + b"more",
    "whole, but no code": sealed_rubbish,
    "whole, but of another kind": sealed_other,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_broken_file_is_made_anew(
    folder: LoopFolder, caplog: pytest.LogCaptureFixture, damage: Damage
) -> None:
    assert not is_found(tripled)
    (path,) = files(folder)
    path.write_bytes(damage(path.read_bytes()))
    assert not is_found(tripled)
    (line,) = warnings_in(caplog)
    assert str(path) in line
    assert is_found(tripled)
    assert files(folder) == [path]


def test_many_broken_files_are_one_line(
    folder: LoopFolder, caplog: pytest.LogCaptureFixture
) -> None:
    functions = (tripled, halved, inverse)
    assert not any(is_found(function) for function in functions)
    for path in files(folder):
        path.write_bytes(b"")
    assert not any(is_found(function) for function in functions)
    assert len(warnings_in(caplog)) == 1
    assert all(is_found(function) for function in functions)


def test_a_folder_in_the_place_of_a_file(
    folder: LoopFolder, caplog: pytest.LogCaptureFixture
) -> None:
    is_found(tripled)
    (path,) = files(folder)
    path.unlink()
    path.mkdir()
    assert not is_found(tripled)
    assert {str(path) in line for line in warnings_in(caplog)} == {True}


@pytest.mark.parametrize(("lifted", "addresses"), [((), True), (("a loop",), False)])
def test_what_holds_addresses_of_this_process_is_not_kept(
    folder: LoopFolder,
    caplog: pytest.LogCaptureFixture,
    lifted: tuple[str, ...],
    addresses: bool,
) -> None:
    cache = loop_cache.LoopCache(numba.njit(tripled))
    result = SimpleNamespace(
        codegen=SimpleNamespace(magic_tuple=tuple),
        lifted=lifted,
        library=SimpleNamespace(has_dynamic_globals=addresses),
        _reduce=lambda: ("something",),
    )
    cache.save_overload((numba.float64,), result)
    assert not files(folder)
    (line,) = warnings_in(caplog)
    assert "addresses" in line
    result.lifted, result.library.has_dynamic_globals = (), False
    cache.save_overload((numba.float64,), result)
    assert len(files(folder)) == 1
    assert len(warnings_in(caplog)) == 1


def test_a_cache_that_was_emptied_or_closed_neither_finds_nor_keeps(folder: LoopFolder) -> None:
    assert not is_found(tripled)
    loop = kernel(tripled)
    for close in (loop._cache.flush, loop._cache.disable):
        loop._cache.enable()
        close()
        loop(5.0)
        assert not loop.stats.cache_hits
        loop._cache.load_overload((numba.float64,), numba.core.registry.cpu_target.target_context)
    closed = kernel(halved)
    closed._cache.disable()
    closed(5.0)
    assert len(files(folder)) == 1


# What a loop was compiled from


def function_of(source: str, **names: Any) -> Any:
    """The function `f` of a module of its own."""
    space: dict[str, Any] = {"__name__": "made", **names}
    exec(source, space)
    return space["f"]


CALLED = "def f(x):\n    return x * {factor}"
CALLER = "def f(x):\n    return called(x) + OFFSET"


def caller(factor: int = 2, offset: Any = 1) -> Any:
    called = inner(function_of(CALLED.format(factor=factor)))
    return function_of(CALLER, called=called, OFFSET=offset)


def test_another_inlined_function_is_another_loop(folder: LoopFolder) -> None:
    assert kernel(caller())(5.0) == 11
    assert kernel(caller(factor=4))(5.0) == 21
    assert len(files(folder)) == 2


def test_another_constant_is_another_loop(folder: LoopFolder) -> None:
    """Also one that comes from a module without loops."""
    assert kernel(caller())(5.0) == 11
    assert kernel(caller(offset=7))(5.0) == 17
    assert kernel(caller(offset=(7, 8)[1]))(5.0) == 18
    assert len(files(folder)) == 3


# Where it lies


def test_without_a_writable_home_temporary_files_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    no_home = tmp_path / "file"
    no_home.touch()
    folder = LoopFolder([no_home / "loops", tmp_path / "temporary"], NAME)
    use(folder, monkeypatch)
    assert not is_found(tripled)
    assert is_found(tripled)
    assert list((tmp_path / "temporary" / NAME).glob("*.loop"))
    (line,) = warnings_in(caplog)
    assert str(no_home) in line
    assert "temporary" in line


def test_without_any_folder_each_process_compiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    use(LoopFolder([tmp_path / "file" / "loops"], NAME), monkeypatch)
    with announced(lambda _text: None):
        assert not is_found(tripled)
        assert not is_found(halved)
    assert len(warnings_in(caplog)) == 1


def test_a_user_without_any_folder_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    folder = LoopFolder([], NAME)
    assert folder.writable is None
    assert folder.is_empty
    assert warnings_in(caplog) == [
        "compiled loops are kept by this process alone (no folder)",
    ]


def test_a_full_disk_stops_nothing(
    folder: LoopFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_space(_path: Path, _content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(loop_cache, "write_whole", no_space)
    assert not is_found(tripled)
    assert not is_found(halved)
    assert len(warnings_in(caplog)) == 1
    assert not files(folder)


def test_a_folder_that_was_filled_and_closed_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a container: what it lacks goes elsewhere."""
    image, own = tmp_path / "image", tmp_path / "own"
    use(LoopFolder([image], NAME), monkeypatch)
    assert not is_found(tripled)
    monkeypatch.setattr(os, "access", lambda path, _mode: not str(path).startswith(str(image)))
    use(LoopFolder([image, own], NAME), monkeypatch)
    assert is_found(tripled)
    assert not own.exists()
    assert not warnings_in(caplog)
    assert not is_found(halved)
    assert is_found(halved)
    assert len(list(own.rglob("*.loop"))) == len(list(image.rglob("*.loop"))) == 1


@pytest.mark.parametrize("mode", [0o770, 0o707])
@pytest.mark.parametrize("place", [f"loops/{NAME}", "loops"])
def test_a_folder_that_others_can_write_to_is_not_used(
    tmp_path: Path,
    folder: LoopFolder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    mode: int,
    place: str,
) -> None:
    is_found(tripled)
    before = [(path, path.stat().st_mtime_ns) for path in files(folder)]
    (tmp_path / place).chmod(mode)
    use(LoopFolder(folder.bases, NAME), monkeypatch)
    assert not is_found(tripled)
    assert not is_found(halved)
    (line,) = warnings_in(caplog)
    assert str(tmp_path / place) in line
    assert [(path, path.stat().st_mtime_ns) for path in files(folder)] == before


def test_a_file_that_others_can_write_to_is_not_loaded(
    folder: LoopFolder, caplog: pytest.LogCaptureFixture
) -> None:
    is_found(tripled)
    (path,) = files(folder)
    path.chmod(0o666)
    assert not is_found(tripled)
    (line,) = warnings_in(caplog)
    assert str(path) in line
    assert path.stat().st_mode & 0o777 == 0o600
    assert is_found(tripled)


# How loops are compiled


def test_a_division_by_zero(folder: LoopFolder) -> None:
    assert kernel(inverse)(0.0) == math.inf
    with pytest.raises(ZeroDivisionError):
        checked_kernel(inverse)(0.0)


def test_compiled_again_on_request(folder: LoopFolder) -> None:
    loop = kernel(tripled)
    assert loop(5.0) == 15
    loop.recompile()
    assert loop(5.0) == 15


def test_without_compiling_it_is_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    assert kernel(tripled) is tripled


def test_arrays_as_kernels_take_them() -> None:
    given = compiled.as_kernel_takes([[1, 2], [3, 4]], float).T
    taken = compiled.as_kernel_takes(given, float)
    assert taken.flags.c_contiguous
    assert taken.tolist() == [[1, 3], [2, 4]]

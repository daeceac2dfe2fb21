"""The folder of compiled loops: named by the sources of all loops, in real processes, too."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from dscsnet.engines.compiled.folder import KEPT, _bases, folder_name, kernel_sources, sweep

ROOT = Path(__file__).parents[3]


def tree(root: Path, factor: int = 2) -> Path:
    """The project's own decorators, and two modules of loops of which one inlines the other."""
    for part in ("compiled", "__init__.py", "cold_start.py", "files"):
        source, target = ROOT / "engines" / part, root / "dscsnet" / "engines" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (root / "dscsnet" / "__init__.py").touch()
    pipeline = root / "dscsnet" / "pipeline"
    pipeline.mkdir()
    (pipeline / "__init__.py").touch()
    (pipeline / "other.py").write_text("OTHER = 1\n")
    write_called(root, factor)
    (pipeline / "caller.py").write_text(
        "from dscsnet.engines.compiled import kernel\n"
        "from dscsnet.pipeline.called import called\n\n\n"
        "@kernel\ndef total(x):\n    return called(x) + 1\n"
    )
    return root


def write_called(root: Path, factor: int) -> None:
    (root / "dscsnet" / "pipeline" / "called.py").write_text(
        "from dscsnet.engines.compiled import inner\n\n\n"
        f"@inner\ndef called(x):\n    return x * {factor}\n"
    )


def test_the_folder_is_named_by_the_sources_of_all_loops(tmp_path: Path) -> None:
    root = tree(tmp_path / "a")
    processor = ("x86_64-linux", "some-processor", "+avx")
    name = folder_name(processor, root / "dscsnet")
    assert folder_name(processor, tree(tmp_path / "b") / "dscsnet") == name  # wherever they lie
    assert folder_name((*processor[:2], "+sse"), root / "dscsnet") != name
    for path in root.rglob("*.py"):
        os.utime(path, (1, 1))
    (root / "dscsnet" / "pipeline" / "other.py").write_text("OTHER = 2\n")
    assert folder_name(processor, root / "dscsnet") == name
    write_called(root, factor=4)
    assert folder_name(processor, root / "dscsnet") != name
    write_called(root, factor=2)
    assert folder_name(processor, root / "dscsnet") == name
    decorators = root / "dscsnet" / "engines" / "compiled" / "__init__.py"
    decorators.write_text(decorators.read_text() + "\n")
    assert folder_name(processor, root / "dscsnet") != name


def test_every_module_that_uses_the_decorators_is_hashed() -> None:
    users = {
        path
        for package in ("engines", "pipeline", "detector_stub", "tools")
        for path in (ROOT / package).rglob("*.py")
        if any(f"@{name}\n" in path.read_text() for name in ("kernel", "checked_kernel", "inner"))
    }
    assert len(users) > 15
    assert users <= set(kernel_sources(ROOT))


def test_the_order_in_which_a_disk_lists_its_files_changes_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "pipeline"
    package.mkdir()
    names = ["a.py", "b.py", "c.py"]
    for name in names:
        (package / name).write_text("from dscsnet.engines.compiled import kernel\n")
    listed = [names, names[::-1], ["b.py", "a.py", "c.py"]]
    found = []
    for order in listed:
        monkeypatch.setattr(os, "walk", lambda top, order=order: [(top, [], order)][: top.exists()])
        found.append(kernel_sources(tmp_path))
    assert found == [[package / name for name in names]] * 3


START = """
from dscsnet.engines.cold_start import announced
from dscsnet.pipeline.caller import total
with announced(lambda text: print(text, flush=True)):
    print(total(5.0))
"""


def start(root: Path, cached_in: Path, code: str = START) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(root), "NUMBA_CACHE_DIR": str(cached_in)}
    return subprocess.Popen(
        [sys.executable, "-P", "-W", "error", "-c", code],
        env=environment,
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said_by(process: subprocess.Popen[str]) -> list[str]:
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    return output.splitlines()


def test_an_edit_of_an_inlined_function_works_at_once(tmp_path: Path) -> None:
    root, cached_in = tree(tmp_path / "source"), tmp_path / "numba"
    first, answer, last = said_by(start(root, cached_in))
    assert first.startswith("compiling the numerical loops, once, about half a minute")
    assert answer == "11.0"
    assert last.startswith("compiled 1 numerical loop in ")
    times = {path: path.stat().st_mtime for path in root.rglob("*.py")}
    write_called(root, factor=4)
    called = root / "dscsnet" / "pipeline" / "called.py"
    os.utime(called, (times[called],) * 2)
    assert said_by(start(root, cached_in))[1] == "21.0"
    write_called(root, factor=2)
    assert said_by(start(root, cached_in)) == ["11.0"]
    assert len(list(cached_in.glob("dscsnet/*/*.loop"))) == 2
    assert not list(tmp_path.rglob("*.nb?"))


def test_processes_that_start_at_once_compile_once(tmp_path: Path) -> None:
    root, cached_in = tree(tmp_path / "source"), tmp_path / "numba"
    said = [said_by(process) for process in [start(root, cached_in) for _ in range(3)]]
    assert ["11.0" in lines for lines in said] == [True] * 3
    assert sum("compiled 1 numerical loop" in line for lines in said for line in lines) == 1
    assert len(list(cached_in.rglob("*.loop"))) == 1


def test_numba_keeps_its_own_settings_for_others(tmp_path: Path) -> None:
    code = """
import numba
def f(x): return x
import dscsnet.pipeline
f.__code__ = f.__code__.replace(co_filename=dscsnet.pipeline.__file__)
before = numba.njit(cache=True)(f).stats.cache_path, numba.config.CACHE_DIR
import dscsnet.pipeline.caller
dscsnet.pipeline.caller.total(5.0)
print((numba.njit(cache=True)(f).stats.cache_path, numba.config.CACHE_DIR) == before)
"""
    assert said_by(start(tree(tmp_path / "source"), tmp_path / "numba", code)) == ["True"]


def test_the_user_names_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    own, temporary = _bases()
    assert own == tmp_path / "xdg" / "dscsnet" / "loops"
    assert str(os.geteuid()) in temporary.name
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "numba"))
    assert _bases() == [tmp_path / "numba" / "dscsnet", temporary]


def test_only_old_folders_of_loops_are_removed(tmp_path: Path) -> None:
    names = [f"{number:032x}" for number in range(KEPT + 5)]
    others = ["engines", "a" * 31, "b" * 33]
    for age, name in enumerate([*names, *others]):
        (tmp_path / name).mkdir()
        (tmp_path / name / "some.loop").touch()
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    (tmp_path / ("c" * 32)).symlink_to(tmp_path / others[0])
    current = names[-1]  # the oldest
    sweep(tmp_path, current)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*names[:KEPT], current, *others, "c" * 32}
    sweep(tmp_path / "not there", current)

"""The lock files hold exact versions of all that setup.cfg asks for, whoever serves them."""

import configparser
import functools
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PYTHONS = ("3.11", "3.12", "3.13")
UNHASHED = "torch.txt"  # its builds for CPU and CUDA have one version and different hashes


def wanted(extras: tuple[str, ...]) -> list[Requirement]:
    """What setup.cfg asks for, with what the build itself needs."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    listed = [config["options"]["install_requires"]]
    listed += [config["options.extras_require"][extra] for extra in extras]
    lines = [line for block in listed for line in block.splitlines()]
    return [Requirement(line) for line in (*lines, *build) if line and not line.startswith("#")]


@functools.cache
def entries(name: str) -> list[tuple[Requirement, list[str]]]:
    """Each requirement of a lock file with its hashes."""
    text = (ROOT / "requirements" / name).read_text().replace("\\\n", "")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [
        (Requirement(line.partition(" --hash=")[0]), re.findall(r"--hash=(\S+)", line))
        for line in lines
    ]


def version(name: str, files: tuple[str, ...], python: str) -> str | None:
    """The version that lock files give a package on Linux, if they name it."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }
    found = {
        str(requirement.specifier).removeprefix("==")
        for file in files
        for requirement, _ in entries(file)
        if canonicalize_name(requirement.name) == canonicalize_name(name)
        and (requirement.marker is None or requirement.marker.evaluate(environment))
    }
    assert len(found) <= 1, f"{name}: {found}"
    return found.pop() if found else None


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    ("files", "extras"),
    [(("node.txt",), ()), (("dev.txt", UNHASHED), ("train", "plot", "dev"))],
    ids=["node", "dev"],
)
def test_every_dependency_is_locked_within_its_range(
    files: tuple[str, ...], extras: tuple[str, ...], python: str
) -> None:
    for requirement in wanted(extras):
        locked = version(requirement.name, files, python)
        assert locked is not None, f"{requirement.name} is in no lock file: make lock"
        assert requirement.specifier.contains(locked), f"{requirement}: {locked}; make lock"


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a_lock_file_is_exact_and_names_no_place(path: Path) -> None:
    assert "://" not in path.read_text()
    for requirement, hashes in entries(path.name):
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        assert "*" not in pin.version
        assert (path.name == UNHASHED) or hashes, f"{requirement} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes)


def test_the_lock_files_agree() -> None:
    for requirement, _ in entries("node.txt"):
        for python in PYTHONS:
            expected = version(requirement.name, ("node.txt",), python)
            assert version(requirement.name, ("dev.txt",), python) == expected, requirement


def test_users_get_ranges_with_a_bound_where_we_lean_on_what_may_change() -> None:
    bounded = {r.name for r in wanted(()) if any(s.operator == "<" for s in r.specifier)}
    assert {"numba", "pyzmq", "msgspec"} <= bounded
    assert not [r for r in wanted(()) if any(s.operator == "==" for s in r.specifier)]

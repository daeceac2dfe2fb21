"""Imports go down the list of packages and rooms, never in a circle; the node needs no PyTorch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("engines", "pipeline", "detector_stub", "tools")

#: What a package may import of the others.
ALLOWED = {
    "engines": (),
    "pipeline": ("engines",),
    "detector_stub": (
        "engines",
        *(
            f"pipeline.{room}"
            for room in ("cropping.bad_pixels", "errors", "messages", "process", "sockets")
        ),
        *("pipeline.arguments", "pipeline.yaml_file"),
    ),
    "tools": ("engines", "pipeline", "detector_stub"),
}

#: Rooms from the bottom to the top, each of which may import those on lines above it.
ROOMS = {
    "pipeline": """
        errors
        process messages yaml_file
        security cropping listen
        arguments sockets
        recording
        config sources unmix
        join monitoring replay
        worker
        node
        commands
        cli
        __main__
    """,
    "tools": """
        host drawing measures
        simulation calibration show demo bench
        dataset references training trials
        field robustness
        export
        evaluation gpu
        peers
        commands
        cli
    """,
}


def modules() -> dict[str, Path]:
    """Every module of the project by its name without the `dscsnet` before it."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports_of(path: Path) -> Iterator[str]:
    """What of the project a file imports, wherever in it, each name as far as it is a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            assert first not in PACKAGES, f"{path}: import dscsnet.{name}, or it is loaded twice"
            if first == "dscsnet" and rest:
                yield rest if rest in MODULES else rest.rpartition(".")[0]


IMPORTS = {name: sorted(set(imports_of(path)) - {name}) for name, path in MODULES.items()}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way_between_packages(package: str) -> None:
    allowed = (package, *ALLOWED[package])
    for name in MODULES:
        if name.partition(".")[0] != package:
            continue
        for imported in IMPORTS[name]:
            assert f"{imported}.".startswith(tuple(f"{each}." for each in allowed)), (
                f"{name} imports {imported}"
            )


@pytest.mark.parametrize("package", ROOMS)
def test_imports_point_one_way_between_rooms(package: str) -> None:
    lines = ROOMS[package].split("\n")
    level = {room: number for number, line in enumerate(lines) for room in line.split()}
    for name in MODULES:
        room = name.split(".")[1] if name.startswith(f"{package}.") else None
        if room is None:
            continue
        for imported in IMPORTS[name]:
            if not imported.startswith(f"{package}."):
                continue
            other = imported.split(".")[1]
            assert other == room or level[other] < level[room], f"{name} imports {imported}"


def test_no_imports_go_in_a_circle() -> None:
    """A package's face counts as what it imports, since that is loaded first."""
    faces = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    graph = {
        name: [
            *imported,
            *(
                face
                for face in faces
                if name not in faces
                for each in imported
                if each.startswith(f"{face}.") and not name.startswith(f"{face}.")
            ),
        ]
        for name, imported in IMPORTS.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_nothing_beside_the_packages_loads_them_twice() -> None:
    """In a check-out `import pipeline` would work, and load all of it once more."""
    for folder in ("docs", "dscsnet", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            list(imports_of(path))


def run(code: str) -> int:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode


def test_only_one_package_compiles() -> None:
    """Loops that numba caches by itself would be stale after edits, and damaged files fatal."""
    for name, path in MODULES.items():
        if not f"{name}.".startswith("engines.compiled."):
            assert "import numba" not in path.read_text(), f"{name}: use engines.compiled"


def test_the_node_needs_no_pytorch() -> None:
    assert not run(
        "import sys, dscsnet.pipeline.node, dscsnet.detector_stub.cli; "
        "sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    )


def test_the_command_line_starts_without_what_compiles() -> None:
    """Numba and SciPy would add a second to every command, `--help` included."""
    for module in ("tools.cli", "engines", "engines.cold_start"):
        code = f"import sys, dscsnet.{module}; "
        code += "sys.exit(not {'numba', 'scipy'}.isdisjoint(sys.modules))"
        assert not run(code), module

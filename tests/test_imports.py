"""Imports go down the list of packages only, and the node needs no PyTorch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ALLOWED = {
    "engines": set(),
    "pipeline": {"engines"},
    "detector_stub": {
        *("pipeline.messages", "pipeline.sockets", "pipeline.errors", "engines"),
        "pipeline.commands.interrupt",
    },
    "tools": {"engines", "pipeline", "detector_stub"},
}


def imported_modules(path: Path) -> set[str]:
    """Names of all modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        for name in imported_modules(path):
            top = name.partition(".")[0]
            if top not in ALLOWED or top == package:
                continue
            allowed = ALLOWED[package]
            assert top in allowed or name in allowed, f"{path.relative_to(ROOT)} imports {name}"


def test_only_one_package_compiles() -> None:
    """Loops that numba caches by itself would be stale after edits, and damaged files fatal."""
    own = ROOT / "engines" / "compiled"
    for package in ALLOWED:
        for path in sorted((ROOT / package).rglob("*.py")):
            tops = {name.partition(".")[0] for name in imported_modules(path)}
            if own not in path.parents:
                assert "numba" not in tops, f"{path.relative_to(ROOT)}: use engines.compiled"


def test_the_node_needs_no_pytorch() -> None:
    code = (
        "import sys, pipeline.node, detector_stub.cli; "
        "sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_command_line_starts_without_what_compiles() -> None:
    """Numba and SciPy would add a second to every command, `--help` included."""
    for module in ("tools.cli", "engines", "engines.cold_start"):
        code = f"import sys, {module}; sys.exit(not {{'numba', 'scipy'}}.isdisjoint(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
        assert done.returncode == 0, module

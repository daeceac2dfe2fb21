"""Which tests concern a module: the one of its name first, then by how near they import it.

Modules have the names of their files, with or without the name of the distribution before it.
"""

import ast
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

DISTRIBUTION = "dscsnet."
SKIPPED = {"fuzz", "gpu", "mutants"}


@dataclass
class Graph:
    """Imports of every file of the project.

    Attributes:
        modules: file of each module.
        helpers: file of each module of the tests that holds no tests, for what it imports.
        imports: modules that each file imports; fixtures count for tests that use them.
    """

    root: Path
    packages: tuple[str, ...]
    modules: dict[str, Path] = field(default_factory=dict)
    helpers: dict[str, Path] = field(default_factory=dict)
    imports: dict[Path, set[Path]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for package in self.packages:
            for path in sorted((self.root / package).rglob("*.py")):
                name = ".".join(path.relative_to(self.root).with_suffix("").parts)
                self.modules[name.removesuffix(".__init__")] = path
        for path in sorted((self.root / "tests").rglob("*.py")):
            if not path.name.startswith("test_"):
                self.helpers[".".join(path.relative_to(self.root).with_suffix("").parts)] = path
        for path in (*self.modules.values(), *self.helpers.values()):
            self.imports[path] = self._imported(path)
        for path in self.tests():
            self.imports[path] = self._imported(path) | self._of_fixtures(path)

    def tests(self) -> list[Path]:
        """All test files, but for what a mutation cannot concern or that runs too long."""
        folder = self.root / "tests"
        return [
            path
            for path in sorted(folder.rglob("test_*.py"))
            if path.relative_to(folder).parts[0] not in SKIPPED
        ]

    def _imported(self, path: Path) -> set[Path]:
        found: set[Path] = set()
        for node in ast.walk(ast.parse(path.read_bytes())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
            files = self.modules | self.helpers
            found |= {
                files[name]
                for name in (each.removeprefix(DISTRIBUTION) for each in names)
                if name in files
            }
        return found - {path}

    def _of_fixtures(self, test: Path) -> set[Path]:
        text = test.read_text()
        found: set[Path] = set()
        folder = test.parent
        while folder != self.root:
            if (conftest := folder / "conftest.py").exists():
                fixtures = re.findall(r"fixture[^\n]*\ndef (\w+)", conftest.read_text())
                if any(re.search(rf"\b{name}\b", text) for name in fixtures):
                    found |= self._imported(conftest)
            folder = folder.parent
        return found

    def distances(self, module: Path) -> dict[Path, int]:
        """Steps of import from each file to the module; what an `__init__` passes on is no step."""
        importers: dict[Path, list[Path]] = {}
        for path, imported in self.imports.items():
            for each in imported:
                importers.setdefault(each, []).append(path)
        steps, reached = {module: 0}, [module]
        while reached:
            place = reached.pop(0)
            for path in importers.get(place, ()):
                length = steps[place] + (path.name != "__init__.py")
                if length < steps.get(path, 1_000):
                    steps[path] = length
                    reached.append(path)
        return steps


def mirrors(graph: Graph, module: Path) -> list[Path]:
    """Test files of the module's name, or of its folder's name, in the folder of its package."""
    place = module.relative_to(graph.root).with_suffix("")
    names = {place.name, place.parent.name if place.name == "__init__" else place.name}
    wanted = {f"test_{name}.py" for name in names}
    tops = graph.root / "tests" / place.parts[0]
    exact = graph.root / "tests" / place.parent
    found = [path for path in graph.tests() if path.name in wanted and path.is_relative_to(tops)]
    return sorted(found, key=lambda path: path.parent != exact)


@cache
def _same_folder(test: Path, module: Path, root: Path) -> bool:
    return test.parent == root / "tests" / module.parent.relative_to(root)


def related(
    graph: Graph, module: Path, seconds: dict[Path, float], most_seconds: float
) -> list[Path]:
    """Test files in the order in which they are run: near ones first, of these the quick ones.

    They are those of the module's own package and those of golden answers, or where there are none,
    of the others.

    Args:
        seconds: what each test file takes.
        most_seconds: of all; those of the module's name are taken whatever they take.
    """
    steps = graph.distances(module)
    chosen = mirrors(graph, module)
    tests = graph.root / "tests"
    own = (tests / module.relative_to(graph.root).parts[0], tests / "golden")
    others = [path for path in graph.tests() if path in steps and path not in chosen]
    near = [path for path in others if any(path.is_relative_to(each) for each in own)]
    others = near if chosen or near else others
    others.sort(
        key=lambda path: (
            steps[path],
            not _same_folder(path, module, graph.root),
            seconds.get(path, 0.0),
        )
    )
    total = sum(seconds.get(path, 0.0) for path in chosen)
    for path in others:
        if total + seconds.get(path, 0.0) <= most_seconds:
            chosen.append(path)
            total += seconds.get(path, 0.0)
    return chosen

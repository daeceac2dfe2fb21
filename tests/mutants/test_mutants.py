"""The mutation test itself: what it changes, what it leaves alone, which tests it runs."""

from pathlib import Path

import pytest

from tests.mutants.__main__ import EQUIVALENTS, PACKAGES, ROOT, draw, read_lines, same
from tests.mutants.changes import Change, changes, is_real
from tests.mutants.related import Graph, mirrors, related

SOURCE = '''"""Docstring with 5."""
import logging
log = logging.getLogger("name")
LIMIT: "Annotated[int, 7]" = 3


@cached(9)
def clip(x, y, least=2):
    """More than 5."""
    assert x > 1
    log.warning("above %d", 8)
    if not x:
        return draw(x, y)
    with self._lock:
        total = max(x, 0) if x < y and y else sorted(y)
    if total > 4:
        raise ValueError(f"expected {6}")
    self.total = total
    return total
'''


def found(tmp_path: Path, source: str = SOURCE) -> list[tuple[str, int, str]]:
    """Kind, line and the line after each change."""
    path = tmp_path / "module.py"
    path.write_text(source)
    return [
        (each.kind, each.line, each.apply(source.encode()).decode().splitlines()[each.line - 1])
        for each in changes(tmp_path, path)
        if is_real(tmp_path, each)
    ]


@pytest.mark.parametrize(
    ("kind", "line", "changed"),
    [
        ("constant", 4, 'LIMIT: "Annotated[int, 7]" = 4'),
        ("constant", 8, "def clip(x, y, least=3):"),
        ("not", 12, "    if x:"),
        ("return", 13, "        pass"),
        ("x/y", 13, "        return draw(y, x)"),
        ("lock", 14, "    if True:"),
        ("clamp", 15, "        total = x if x < y and y else sorted(y)"),
        ("clamp", 15, "        total = 0 if x < y and y else sorted(y)"),
        ("comparison", 15, "        total = max(x, 0) if x <= y and y else sorted(y)"),
        ("and/or", 15, "        total = max(x, 0) if (x < y or y) else sorted(y)"),
        ("half", 15, "        total = max(x, 0) if y else sorted(y)"),
        ("sort", 15, "        total = max(x, 0) if x < y and y else list(y)"),
        ("raise", 17, "        pass"),
        ("statement", 18, "    pass"),
    ],
)
def test_faults_that_somebody_could_make(
    tmp_path: Path, kind: str, line: int, changed: str
) -> None:
    assert (kind, line, changed) in found(tmp_path)


def test_texts_annotations_decorators_and_logs_are_left_alone(tmp_path: Path) -> None:
    lines = {line for _, line, _ in found(tmp_path)}
    assert lines == {4, 8, 12, 13, 14, 15, 16, 17, 18}


def test_arguments_change_places_only_where_that_makes_a_difference(tmp_path: Path) -> None:
    source = "far = math.hypot(a - x, b - y)\nnear = max(abs(x), abs(y)) + turn(x, y)\n"
    assert ("x/y", 2, "near = max(abs(x), abs(y)) + turn(y, x)") in found(tmp_path, source)
    assert [kind for kind, _, _ in found(tmp_path, source)].count("x/y") == 1


def test_a_draw_can_be_repeated_and_spreads_over_the_kinds() -> None:
    drawn = draw("detector_stub", 5, 24)
    assert drawn == draw("detector_stub", 5, 24)
    assert drawn[:12] == draw("detector_stub", 5, 12)
    assert drawn != draw("detector_stub", 6, 24)
    kinds = [each.kind for each in drawn]
    assert max(map(kinds.count, kinds)) <= 3
    assert all(is_real(ROOT, each) for each in drawn)
    assert len({(each.path, each.line) for each in drawn}) == 24


def test_tests_near_a_module_are_run_first() -> None:
    graph = Graph(ROOT, PACKAGES)
    for name, module in graph.modules.items():
        if name.startswith("detector_stub") and (tests := mirrors(graph, module)):
            assert related(graph, module, {}, 60.0)[: len(tests)] == tests
    config = graph.modules["pipeline.config"]
    chosen = [path.name for path in related(graph, config, {}, 60.0)]
    assert chosen[0] == "test_config.py"
    assert graph.root / "tests" / "pipeline" / "test_config.py" in mirrors(graph, config)
    assert config in graph.distances(graph.modules["pipeline.errors"])


def test_each_equivalent_is_of_code_that_is_there() -> None:
    """With a reason; else the list would excuse what nobody looked at."""
    known: set[tuple[str, ...]] = set()
    for entry in read_lines(EQUIVALENTS):
        assert len(entry["reason"]) > 20
        assert same(entry) not in known
        known.add(same(entry))
        package = entry["file"].partition("/")[0]
        lines = {
            line.strip()
            for path in (ROOT / package).rglob("*.py")
            for line in path.read_text().splitlines()
        }
        assert set(entry["old"]) <= lines


def test_a_change_goes_between_bytes() -> None:
    change = Change("a.py", "constant", "", 1, 5, 6, "12")
    assert change.apply("é = 3 + 1".encode()) == "é = 12 + 1".encode()

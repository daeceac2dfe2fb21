"""What the documentation shows runs, and prints what stands there."""

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("docs/api.md", "README.md")
MODULES = (
    "dscsnet",
    "dscsnet.detector_stub.in_process",
    "dscsnet.pipeline.sources.frames",
    "dscsnet.pipeline.unmix.unmixer",
)


def check(test: doctest.DocTest) -> int:
    """Run the examples, and tell how many there are."""
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)
    return runner.tries


@pytest.mark.parametrize("page", PAGES)
def test_examples_of_a_page(page: str) -> None:
    text = (ROOT / page).read_text()
    blocks = re.findall(r"^```python\n(>>> .*?)^```", text, re.MULTILINE | re.DOTALL)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page, page, 0)
    assert check(test) > 2


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_docstrings(module: str) -> None:
    tests = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module))
    assert sum(check(test) for test in tests if test.examples) > 2


@pytest.mark.parametrize("script", sorted((ROOT / "docs" / "examples").glob("*.py")))
def test_scripts_make_their_pictures(script: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    result = subprocess.run(
        [sys.executable, "-W", "error", script, picture],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "MPLCONFIGDIR": str(tmp_path)},
    )
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert script.with_suffix(".png").is_file()
    assert "TargetColumns: 6 rows" in result.stdout

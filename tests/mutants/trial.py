"""One changed copy of the project, and the tests that run in it."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.mutants.changes import Change
from tests.mutants.related import Graph, related

#: Not copied: what is made anew, and what no test reads.
LEFT_OUT = shutil.ignore_patterns(
    *(".git", ".venv*", "runs", ".hypothesis", ".*_cache", "__pycache__", "build", "dist"),
    *("*.egg-info", ".coverage", "demo-output", "gpu-report"),
)
#: A test of a changed program may wait for what never comes.
TEST_SECONDS = 120
SLOWNESS = 6  # of a run, against the unchanged program's, before it counts as a hang
#: Exit statuses of pytest.
NO_FAILURE, NO_TESTS = 0, 5
FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/.+?)(?: - .*)?$", re.MULTILINE)

LOOP_FOLDER = """
from numba.core.registry import cpu_target
from dscsnet.engines.compiled.folder import loop_folder
cpu_target.target_context.refresh()
print(loop_folder(cpu_target.target_context.codegen().magic_tuple()).name)
"""


@dataclass(frozen=True)
class Outcome:
    """What the tests said of a change: `caught` by a test, or `survived`."""

    outcome: str
    test: str
    seconds: float


def _run(
    tree: Path, arguments: list[str], most_seconds: float, loops: Path
) -> tuple[int | None, str]:
    """Exit status of pytest, None for a hang, and its output."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(tree), "NUMBA_CACHE_DIR": str(loops)}
    with subprocess.Popen(
        command,
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=most_seconds)
        except subprocess.TimeoutExpired:
            return None, ""
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what tests started may be left over
    return process.returncode, output


class Bench:
    """Copies of the project in a folder of their own; the project itself is only read.

    Args:
        folder: holds `base`, the unchanged copy.
        loops: folder of compiled loops; a changed copy begins with those of the unchanged one, of
            which it finds the loops that its change does not touch.
    """

    def __init__(self, project: Path, folder: Path, packages: tuple[str, ...], loops: Path) -> None:
        self.base, self.changed, self.packages = folder / "base", folder / "changed", packages
        shutil.copytree(project, self.base, symlinks=True, ignore=LEFT_OUT)
        self.graph = Graph(self.base, packages)
        self.seconds: dict[Path, float] = {}
        self.untrusted: set[str] = set()  # tests that fail without a change, or now and then
        self._loops = loops / "dscsnet"
        self._own_loops = self._loops / self._loop_folder(self.base)

    def measure(self, modules: list[Path], known: dict[str, float]) -> dict[str, float]:
        """Run the tests of these modules on the unchanged copy: which pass, and what they take.

        Args:
            known: seconds of each test file from an earlier run; only the others are run.

        Returns:
            Seconds of all of them.

        Raises:
            RuntimeError: tests do not run at all.
        """
        wanted = {test for path in modules for test in related(self.graph, path, {}, 1e9)}
        self.seconds = {self.base / name: seconds for name, seconds in known.items()}
        if tests := sorted(wanted - set(self.seconds)):
            self._time(tests)
        return {str(path.relative_to(self.base)): value for path, value in self.seconds.items()}

    def _time(self, tests: list[Path]) -> None:
        report = self.base.parent / "report.xml"
        arguments = ["-o", "junit_family=xunit1", f"--junitxml={report}", *map(str, tests)]
        status, output = self._run(self.base, arguments, 3600)
        if status not in (0, 1):
            raise RuntimeError(f"the unchanged project's tests do not run:\n{output[-3000:]}")
        self.untrusted.update(FAILED.findall(output))
        self.seconds |= dict.fromkeys(tests, 0.0)
        for case in ElementTree.parse(report).iter("testcase"):
            file, path = case.get("file"), self.base
            if file is not None and (path := self.base / file) in self.seconds:
                self.seconds[path] += float(case.get("time", 0))

    def try_change(self, change: Change, most_seconds: float) -> Outcome:
        """Run the tests that concern a change on a copy that has it, up to the first failure."""
        module = self.base / change.path
        tests = related(self.graph, module, self.seconds, most_seconds)
        shutil.rmtree(self.changed, ignore_errors=True)
        shutil.copytree(self.base, self.changed, symlinks=True)
        target = self.changed / change.path
        target.write_bytes(change.apply(module.read_bytes()))
        self._lend_loops()
        expected = sum(self.seconds.get(path, 0.0) for path in tests)
        names = [str(path.relative_to(self.base)) for path in tests]
        if not names:
            return Outcome("survived", "", 0.0)
        started = time.monotonic()
        most = 300 + SLOWNESS * expected
        while failed := self._failing(names, most):
            # Far from the module a test may fail by chance, say of a busy machine.
            if failed.startswith(("hang", names[0])) or self._failing([failed], most):
                break
            self.untrusted.add(failed)
        seconds = round(time.monotonic() - started, 1)
        return Outcome("caught" if failed else "survived", failed or "", seconds)

    def _failing(self, tests: list[str], most_seconds: float) -> str | None:
        """The first test that fails on the changed copy; `hang` where they did not end."""
        options = ["-x", f"--timeout={TEST_SECONDS}"]
        options += [f"--deselect={test}" for test in sorted(self.untrusted)]
        status, output = self._run(self.changed, [*options, *tests], most_seconds)
        if status is None:
            return "hang"
        if status in (NO_FAILURE, NO_TESTS):
            return None
        failed = FAILED.search(output)
        return failed[1] if failed else tests[0]

    def _run(self, tree: Path, arguments: list[str], most_seconds: float) -> tuple[int | None, str]:
        return _run(tree, arguments, most_seconds, self._loops.parent)

    def _lend_loops(self) -> None:
        """Give the changed copy the loops of the unchanged one; they are found by content."""
        name = self._loop_folder(self.changed)
        if not (self._loops / name).exists() and self._own_loops.is_dir():
            shutil.copytree(self._own_loops, self._loops / name)

    def _loop_folder(self, tree: Path) -> str:
        """Name of a copy's folder of compiled loops; "none" where its change stops even that."""
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        told = subprocess.run(
            [sys.executable, "-c", LOOP_FOLDER],
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return told.stdout.strip() or "none"

"""Coverage-guided fuzzing: `make fuzz`, or `python -m tests.fuzz.run --seconds 120 [TARGET ...]`.

Each target runs in a process of its own, one after the other, from the committed corpus. Found
inputs and what they raised are kept under `runs/fuzz/TARGET`. At the end a table: executions,
lines of the watched modules that the inputs reach, findings.
"""

import argparse
import importlib
import logging
import os
import random
import re
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import TARGETS, Target

ROOT = Path(__file__).parents[2]
PACKAGES = ("engines", "pipeline", "detector_stub", "tools")
RUNS = Path("runs/fuzz")
INPUT_SECONDS = 60  # longer is a hang, also on a machine that is busy
MEMORY_MIB = 4096
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Outcome:
    """What a run of one target gave."""

    target: str
    executions: int
    seconds: float
    lines: str
    findings: int


def fuzz(target: Target, seconds: float) -> Outcome:
    """Run one target for some time; a process that dies is a finding, and another takes over."""
    folder = RUNS / target.name
    for each in ("inputs", "findings"):
        (folder / each).mkdir(parents=True, exist_ok=True)
    started, executions = time.monotonic(), 0
    while (left := seconds - (time.monotonic() - started)) >= 1:
        command = [sys.executable, "-m", "tests.fuzz.run", "--child", target.name]
        command += [f"-max_total_time={round(left)}", f"-max_len={target.largest}"]
        command += [f"-timeout={INPUT_SECONDS}", f"-rss_limit_mb={MEMORY_MIB}", "-verbosity=1"]
        command += ["-print_final_stats=1", f"-artifact_prefix={folder}/findings/"]
        command += [str(folder / "inputs"), str(ROOT / "tests/fuzz/corpus" / target.name)]
        with (folder / "log").open("wb") as log:
            subprocess.run(command, env=ENVIRONMENT, stdout=log, stderr=log, check=False)
        told = (folder / "log").read_bytes().decode(errors="replace")
        if not (done := _executions(told)):
            raise SystemExit(f"{target.name}: nothing was executed:\n{told[-2000:]}")
        executions += done
    elapsed = time.monotonic() - started
    return Outcome(target.name, executions, elapsed, reached(target), len(found(folder)))


def found(folder: Path) -> list[Path]:
    """Inputs that failed; what libFuzzer calls a slow unit is none, a timeout is."""
    entries = sorted((folder / "findings").iterdir())
    return [
        each for each in entries if not each.name.startswith("slow-unit") and each.suffix != ".txt"
    ]


def _executions(log: str) -> int:
    final = re.findall(r"stat::number_of_executed_units: (\d+)", log)
    seen = final or re.findall(r"^#(\d+)\t", log, re.MULTILINE)
    return int(seen[-1]) if seen else 0


def reached(target: Target) -> str:
    """Lines of the watched modules that all inputs together reach, measured in a new process."""
    command = [sys.executable, "-m", "tests.fuzz.run", "--lines", target.name]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    lines = re.search(r"^lines: (.*)$", done.stdout, re.MULTILINE)
    return lines[1] if lines else f"failed: {done.stderr.strip().splitlines()[-1:]}"


def count_lines(target: Target) -> None:
    """Print the lines reached, of how many."""
    import coverage

    files = [ROOT / f"{module.replace('.', '/')}.py" for module in target.watched]
    measured = coverage.Coverage(data_file=None, include=[str(path) for path in files])
    measured.start()
    run = target.load()
    for path in [*target.corpus(), *sorted((RUNS / target.name / "inputs").glob("*"))]:
        try:
            run(path.read_bytes())
        except Exception:  # what is wrong with it is told elsewhere
            continue
    measured.stop()
    total = missing = 0
    for path in files:
        _, statements, _, missed, _ = measured.analysis2(str(path))
        total, missing = total + len(statements), missing + len(missed)
    print(f"lines: {total - missing} of {total} ({1 - missing / total:.0%})")


def child(target: Target, arguments: list[str]) -> None:
    """The fuzzing process."""
    import atheris

    # Atheris chooses by package only; and what numba compiles must stay as it is.
    others = sorted(_modules() - set(target.watched))
    with atheris.instrument_imports(include=["dscsnet"], exclude=others):
        for module in target.watched:
            importlib.import_module(module)
    run, findings = target.load(), RUNS / target.name / "findings"
    seen: set[str] = set()

    def one(data: bytes) -> None:
        try:
            run(data)
        except Exception as error:
            place = signature(error)
            if place not in seen:
                seen.add(place)
                (findings / place).write_bytes(data)
                (findings / f"{place}.txt").write_text(traceback.format_exc())

    def mutate(data: bytes, largest: int, seed: int) -> bytes:
        def flip(part: bytes) -> bytes:
            return bytes(atheris.Mutate(part, max(largest, len(part) + 64)))

        return target.mutate(data, random.Random(seed), flip)[:largest]

    logging.disable()  # what readers warn of
    for path in target.corpus():  # what is compiled at its first use is no slow input
        one(path.read_bytes())
    atheris.Setup([sys.argv[0], *arguments], one, custom_mutator=mutate)
    atheris.Fuzz()


def _modules() -> set[str]:
    """Names of all our modules."""
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)
    return {f"dscsnet.{name.removesuffix('.__init__')}" for name in names}


def signature(error: BaseException) -> str:
    """One name for all inputs that fail alike: the error and where our code called for it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [each for each in frames if each.filename.startswith(str(ROOT))] or frames
    return f"{type(error).__name__}-{Path(ours[-1].filename).stem}-{ours[-1].lineno}"


def main() -> None:
    """Fuzz the targets named, or all, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=120.0, help="for each target")
    options = parser.parse_args()
    unknown = sorted(set(options.targets) - set(TARGETS))
    if unknown:
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    print("| target | executions | s | lines of the watched modules | findings |", flush=True)
    print("|---|---:|---:|---|---:|", flush=True)
    failed = 0
    for name in options.targets or TARGETS:
        outcome = fuzz(TARGETS[name], options.seconds)
        failed += outcome.findings
        print(
            f"| {outcome.target} | {outcome.executions:,} | {outcome.seconds:.0f} "
            f"| {outcome.lines} | {outcome.findings} |",
            flush=True,
        )
    if failed:
        sys.exit(f"{failed} findings: see {RUNS}/*/findings")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(TARGETS[sys.argv[2]], sys.argv[3:])
    elif sys.argv[1:2] == ["--lines"]:
        count_lines(TARGETS[sys.argv[2]])
    else:
        main()

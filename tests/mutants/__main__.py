"""Mutation test: are faults noticed? `make mutants`, or `python -m tests.mutants --package NAME`.

Single changes are drawn with a seed, kind by kind in turn, each is made in a copy of the project,
and the tests that concern its module are run. Results are lines of JSON under `runs/mutants`; a run
that was broken off goes on where it was. What survives is a fault that no test notices, unless the
change is listed in `equivalents.jsonl` with the reason why the program does the same.
"""

import argparse
import difflib
import json
import random
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from tests.mutants.changes import Change, changes, is_real
from tests.mutants.trial import Bench

ROOT = Path(__file__).parents[2]
PACKAGES = ("engines", "pipeline", "detector_stub", "tools")
RUNS = Path("runs/mutants")
SECONDS = RUNS / "seconds.json"  # of each test file, from the first run that needed it
EQUIVALENTS = Path(__file__).with_name("equivalents.jsonl")


def draw(package: str, seed: int, number: int) -> list[Change]:
    """Changes of a package, one a line of code at most, each kind as often while it has any."""
    generator = random.Random(seed)
    kinds: dict[str, list[Change]] = defaultdict(list)
    for path in sorted((ROOT / package).rglob("*.py")):
        for change in changes(ROOT, path):
            kinds[change.kind].append(change)
    for each in kinds.values():
        generator.shuffle(each)
    drawn: list[Change] = []
    lines: set[tuple[str, int]] = set()
    while len(drawn) < number and any(kinds.values()):
        for kind in sorted(kinds):
            while kinds[kind]:
                change = kinds[kind].pop()
                if (change.path, change.line) not in lines and is_real(ROOT, change):
                    lines.add((change.path, change.line))
                    drawn.append(change)
                    break
    return drawn[:number]


def describe(change: Change) -> dict[str, Any]:
    """The change for the report; `old` and `new` are the lines that differ."""
    source = (ROOT / change.path).read_bytes()
    before, after = source.decode().splitlines(), change.apply(source).decode().splitlines()
    diff = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
    return {
        "file": change.path,
        "line": change.line,
        "where": change.where,
        "kind": change.kind,
        "old": [line[1:].strip() for line in diff if line.startswith("-")],
        "new": [line[1:].strip() for line in diff if line.startswith("+")],
    }


def same(described: dict[str, Any]) -> tuple[str, ...]:
    """What identifies a change, also after lines above it or its file were moved."""
    old, new = "\n".join(described["old"]), "\n".join(described["new"])
    return described["file"].partition("/")[0], described["where"], old, new


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Lines of JSON; none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Results of the drawn changes, those of an earlier run included."""
    drawn = [(change, describe(change)) for change in draw(*_drawing(options))]
    equivalent = {same(line) for line in read_lines(EQUIVALENTS)}
    results_path = RUNS / f"{options.package}-{options.seed}.jsonl"
    known = {same(line): line for line in read_lines(results_path)}
    if options.again:
        known = {key: line for key, line in known.items() if line["outcome"] != "survived"}
    results = [known[same(it)] for _, it in drawn if same(it) in known]
    left = [each for each in drawn if same(each[1]) not in known | dict.fromkeys(equivalent)]
    results += [
        {**it, "outcome": "equivalent"}
        for _, it in drawn
        if same(it) in equivalent and same(it) not in known
    ]
    if not left:
        return results
    RUNS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        bench = Bench(ROOT, Path(folder), PACKAGES, RUNS.absolute() / "loops")
        known = json.loads(SECONDS.read_text()) if SECONDS.exists() else {}
        modules = [bench.base / change.path for change, _ in left]
        SECONDS.write_text(json.dumps(bench.measure(modules, known), indent=1))
        for test in sorted(bench.untrusted):
            print("left out, it fails without a change:", test, flush=True)
        for number, (change, described) in enumerate(left, 1):
            outcome = bench.try_change(change, options.seconds)
            result = {**described, **vars(outcome)}
            results.append(result)
            with results_path.open("a") as file:
                file.write(json.dumps(result) + "\n")
            print(f"{number}/{len(left)} {outcome.seconds:.0f} s", line_of(result), flush=True)
    return results


def _drawing(options: argparse.Namespace) -> tuple[str, int, int]:
    return options.package, options.seed, options.number


def line_of(result: dict[str, Any]) -> str:
    """One result as a line, and the change below it where it was not noticed."""
    place = f"{result['file']}:{result['line']} {result['kind']}"
    if result["outcome"] != "survived":
        return f"{result['outcome']} {place} {result.get('test', '')}"
    diff = [f"    - {line}" for line in result["old"]] + [f"    + {line}" for line in result["new"]]
    return "\n".join([f"SURVIVED {place} in {result['where'] or 'the module'}", *diff])


def main() -> None:
    """Draw, try, and print what survived and the rate."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--package", choices=PACKAGES, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, default=40, help="changes to draw")
    parser.add_argument("--again", action="store_true", help="try again what survived")
    parser.add_argument("--list", action="store_true", help="only show what would be tried")
    parser.add_argument(
        "--seconds", type=float, default=90.0, help="of tests for one change, unchanged"
    )
    options = parser.parse_args()
    if options.list:
        for change in draw(*_drawing(options)):
            print(line_of({**describe(change), "outcome": "survived"})[9:])
        return
    results = run(options)
    print("\n".join(line_of(each) for each in results if each["outcome"] == "survived"))
    count = Counter(each["outcome"] for each in results)
    judged = count["caught"] + count["survived"]
    print(
        f"{options.package}, seed {options.seed}: {count['caught']} of {judged} caught "
        f"({count['caught'] / max(1, judged):.1%}), {count['equivalent']} equivalent"
    )
    if count["survived"]:
        sys.exit(1)


if __name__ == "__main__":
    main()

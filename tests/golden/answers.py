"""The golden answers: what the chain answered when they were written, and how to write them anew.

    python -m tests.golden.answers [CASE ...]

A GOLDEN ANSWER THAT CHANGES IS A CHANGE OF WHAT EVERY USER RECEIVES. Write them anew only with a
commit that means to change answers, and say in its message which ones, by how much and why: the
differences stand in the files' history. A test that fails after a refactoring has found a fault in
the refactoring.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np

from tests.golden.chain import CASES, Answer, run_case

FOLDER = Path(__file__).parent / "answers"

#: What the node measured of each candidate; the other columns of `Spots` repeat the detector.
MEASURED = ("count", "background", "noise", "chi2", "flags")
#: Columns whose values are exact.
EXACT = ("spot", "count", "flags")
#: Allowed difference: px for positions, else relative. Networks: runtimes and processors differ in
#: the last bits of float32, which the fit takes further; PyTorch in place of ONNX Runtime moves
#: these answers by up to 2.2e-5. Without a network only float32 outputs are rounded.
TOLERANCE, TOLERANCE_WITHOUT_NETWORK = 5e-5, 2e-6
#: Values are stored with so many digits.
DIGITS = 9


def load_answers(case: str) -> dict[str, Answer]:
    """Stored answers of a case by the names of its frames."""
    stored: dict[str, Answer] = json.loads((FOLDER / f"{case}.json").read_text())
    return {
        frame: {
            table: {
                name: [math.nan if v is None else v for v in column] for name, column in c.items()
            }
            for table, c in answer.items()
        }
        for frame, answer in stored.items()
    }


def differences(found: Answer, golden: Answer, tolerance: float) -> list[str]:
    """What of one frame's answer is not the golden one, a line for each column at fault."""
    lines = []
    for table, columns in golden.items():
        for name, wanted in columns.items():
            given = found[table][name]
            if len(given) != len(wanted):
                lines.append(f"{table}.{name}: {len(given)} values, golden {len(wanted)}")
                continue
            excess = _excess(name, np.array(given, float), np.array(wanted, float), tolerance)
            for k in np.flatnonzero(~(excess <= 1))[:1]:
                lines.append(
                    f"{table}.{name}[{k}]: {given[k]:.9g}, golden {wanted[k]:.9g}: "
                    f"{excess[k]:.3g} times what is allowed"
                )
    return lines


def _excess(name: str, given: np.ndarray, wanted: np.ndarray, tolerance: float) -> np.ndarray:
    """Difference over the allowed one; NaN belongs to NaN alone."""
    if name in EXACT:
        return np.where(given == wanted, 0.0, np.inf)
    allowed = tolerance * np.maximum(np.abs(wanted), 1e-3) if name not in ("x", "y") else tolerance
    both = np.isnan(given) & np.isnan(wanted)
    return np.where(both, 0.0, np.abs(given - wanted) / allowed)


def stored_form(answer: Answer) -> Answer:
    """Of an answer what is stored."""
    spots = {name: answer["spots"][name] for name in MEASURED}
    return {"spots": spots, "targets": dict(answer["targets"])}


def _text(answers: dict[str, Answer]) -> str:
    """JSON with one column a line."""
    frames = []
    for frame, answer in answers.items():
        tables = []
        for table, columns in stored_form(answer).items():
            lines = (f'   "{name}": {_numbers(column)}' for name, column in columns.items())
            tables.append(f'  "{table}": {{\n' + ",\n".join(lines) + "\n  }")
        frames.append(f' "{frame}": {{\n' + ",\n".join(tables) + "\n }")
    return "{\n" + ",\n".join(frames) + "\n}\n"


def _numbers(column: list[float]) -> str:
    parts = ("null" if math.isnan(value) else f"{value:.{DIGITS}g}" for value in column)
    return f"[{', '.join(parts)}]"


def main() -> None:
    """Write the answers of the named cases, or of all."""
    FOLDER.mkdir(exist_ok=True)
    for case in sys.argv[1:] or CASES:
        (FOLDER / f"{case}.json").write_text(_text(run_case(CASES[case])))


if __name__ == "__main__":
    main()

"""What every shipped model answers, through the whole chain; see `tests.golden.answers`."""

import copy

import numpy as np
import pytest

from dscsnet.engines.model import shipped_models
from tests.golden.answers import (
    FOLDER,
    TOLERANCE,
    TOLERANCE_WITHOUT_NETWORK,
    differences,
    load_answers,
)
from tests.golden.chain import CASES, run_case
from tests.golden.frames import load_frames


@pytest.mark.parametrize("case", CASES)
def test_answers_are_the_golden_ones(case: str) -> None:
    found, golden = run_case(CASES[case]), load_answers(case)
    tolerance = TOLERANCE_WITHOUT_NETWORK if CASES[case].model == "psf-fit" else TOLERANCE
    assert sorted(found) == sorted(golden) == sorted(CASES[case].frames)
    for name, answer in found.items():
        assert differences(answer, golden[name], tolerance) == []
        frame = load_frames()[name]
        assert answer["spots"]["x"] == frame.x.tolist()
        assert answer["spots"]["y"] == frame.y.tolist()
        assert answer["spots"]["id"] == list(range(len(frame.x)))


def test_every_shipped_model_has_golden_answers() -> None:
    assert {case.model for case in CASES.values()} == {*shipped_models(), "psf-fit"}
    assert {path.stem for path in FOLDER.glob("*.json")} == set(CASES)


def test_a_small_change_of_any_value_is_told() -> None:
    golden = load_answers("field-mlp")["field"]
    assert differences(golden, golden, TOLERANCE) == []
    for table, columns in golden.items():
        for name, column in columns.items():
            changed = copy.deepcopy(golden)
            row = int(np.flatnonzero(np.isfinite(column))[-1])
            changed[table][name][row] += (
                1 if name in ("spot", "count", "flags") else 1e-4 * max(1, column[row])
            )
            assert len(differences(changed, golden, TOLERANCE)) == 1
            changed[table][name][row] = np.nan
            assert len(differences(changed, golden, TOLERANCE)) == 1
            del changed[table][name][row]
            assert len(differences(changed, golden, TOLERANCE)) == 1


def test_the_frames_show_every_number_of_targets_and_every_doubt() -> None:
    """Golden answers hold what they show, no more."""
    field = load_answers("field-unfolded")
    counts = {count for answer in field.values() for count in answer["spots"]["count"]}
    assert counts == {0, 1, 2, 3, 4, 5}
    flags = [int(flag) for answer in field.values() for flag in answer["spots"]["flags"]]
    assert np.bitwise_or.reduce(flags) == 1 | 2 | 4 | 8 | 16 | 64 | 128 | 256

"""Two runs are the same but for timings, or what differs is named with its frame."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from dscsnet.pipeline.commands.compare import compare as command
from dscsnet.pipeline.listen import json_line
from dscsnet.pipeline.messages import Targets
from dscsnet.pipeline.recording.compare import (
    SPOT_COLUMNS,
    TARGET_COLUMNS,
    Answer,
    FrameName,
    Tolerance,
    compare,
    load_answers,
)
from dscsnet.pipeline.recording.names import RecordingError

Write = Callable[..., Path]


def run(*arguments: object) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def changed(message: Targets, table: str, **columns: Any) -> Targets:
    new = msgspec.structs.replace(getattr(message, table), **columns)
    return msgspec.structs.replace(message, **{table: new})


@pytest.fixture
def differ(tmp_path: Path, scene: Any, write_recording: Write) -> Callable[..., tuple[int, str]]:
    """Compares three frames with the same three, of which the second was changed."""

    def check(change: Callable[[Targets], Targets], *options: str) -> tuple[int, str]:
        a = [scene(epoch=b"a" * 16).targets(number) for number in range(3)]
        b = [scene(epoch=b"b" * 16).targets(number) for number in range(3)]
        b[1] = change(b[1])
        paths = [
            write_recording(tmp_path / f"{name}.mcap", [("targets", each) for each in messages])
            for name, messages in (("a", a), ("b", b))
        ]
        return run(*paths, *options)

    return check


def test_runs_that_differ_in_timings_and_epochs_are_identical(differ: Any) -> None:
    def later(message: Targets) -> Targets:
        timing = msgspec.structs.replace(message.timing, total=10**9)
        return msgspec.structs.replace(message, timing=timing, timestamp_ns=5)

    assert differ(later) == (0, "identical to the last bit: 3 frames, 3 targets\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: changed(m, "targets", x=[1.375]), "targets x, px"),
        (
            lambda m: changed(m, "targets", intensity=[505.0]),
            "targets intensity, relative",
        ),
        (
            lambda m: changed(m, "targets", sigma_y=[0.11]),
            "targets sigma_y, relative",
        ),
        (lambda m: changed(m, "spots", noise=[1.01]), "spots noise"),
    ],
)
def test_what_differs_is_named_and_may_be_tolerated(differ: Any, change: Any, words: str) -> None:
    code, output = differ(change)
    assert code == 1
    assert words in " ".join(output.split())
    assert "cam frame 1" in " ".join(output.split())
    assert "3 frames are in both" in output


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (lambda m: changed(m, "targets", x=[1.375]), ("--position", "0.125")),
        (lambda m: changed(m, "targets", intensity=[505.0]), ("--intensity", "0.01")),
        (lambda m: changed(m, "targets", sigma_y=[0.11]), ("--sigma", "0.1")),
    ],
)
def test_the_tolerance_is_heeded(differ: Any, change: Any, options: tuple[str, str]) -> None:
    assert differ(change, *options)[0] == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: msgspec.structs.replace(m, status="error", reason="why"), "ok / error why"),
        (lambda m: changed(m, "targets", sigma_intensity=[1.0]), "nan / 1"),
        (lambda m: changed(m, "spots", flags=[4]), "spots flags"),
        (lambda m: changed(m, "targets", **{c: [] for c in m.targets.__struct_fields__}), "1 / 0"),
        (lambda m: msgspec.structs.replace(m, frame_id=9), "only in"),
    ],
)
def test_some_differences_no_tolerance_covers(differ: Any, change: Any, words: str) -> None:
    options = ("--position", "9", "--intensity", "9", "--sigma", "9")
    code, output = differ(change, *options)
    assert code == 1
    assert words in " ".join(output.split())


def recorded(values: list[float], column: str = "intensity") -> dict[FrameName, Answer]:
    """Answers of a run with one target a frame, that has one of these values."""
    others = {name: [1.0] for name in TARGET_COLUMNS}
    spots = {name: [1.0] for name in SPOT_COLUMNS}
    return {
        FrameName("cam", 0, number): Answer("ok", "", "e", spots, {**others, column: [value]})
        for number, value in enumerate(values)
    }


def test_a_difference_counts_its_frames_and_shows_the_first_of_the_largest() -> None:
    a, b = recorded([1.0, 1.0, 1.0, 5.0], "x"), recorded([1.5, 3.0, 3.0, 5.0], "x")
    (difference,) = compare(a, b, Tolerance()).differences.values()
    assert difference.frames == 3
    assert difference.largest == 2.0
    assert difference.where == FrameName("cam", 0, 1)
    assert difference.detail == "1 / 3"


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        (100.0, 200.0, 0.5),
        (-100.0, 200.0, 1.5),
        (-100.0, -200.0, 0.5),
        (0.0, 1e-300, 1.0),
        (0.0, 0.0, None),
        (math.inf, math.inf, None),
        (math.inf, 1.0, math.inf),
        (math.inf, -math.inf, math.inf),
        (math.nan, 1.0, math.inf),
        (math.nan, math.nan, None),
    ],
)
def test_a_relative_difference_is_one_of_the_larger_value(
    one: float, other: float, share: float | None
) -> None:
    for first, second in ((one, other), (other, one)):
        found = compare(recorded([first]), recorded([second]), Tolerance()).differences
        if share is None:
            assert not found
        else:
            assert found["targets intensity, relative"].largest == pytest.approx(share)


@pytest.mark.parametrize("column", ["x", "y", "intensity", "score", "sigma_x", "sigma_y"])
def test_a_difference_of_just_the_tolerance_is_within_it(column: str) -> None:
    """2 and 4 differ by 2 px, or by half of the larger."""
    most = 2.0 if column in ("x", "y") else 0.5
    names = {"x": "position", "y": "position", "intensity": "intensity"}
    name = names.get(column, "sigma")
    a, b = recorded([2.0], column), recorded([4.0], column)
    assert compare(a, b, Tolerance(**{name: most})).is_equal
    assert not compare(a, b, Tolerance(**{name: math.nextafter(most, 0)})).is_equal
    others = {"position": 9.0, "intensity": 9.0, "sigma": 9.0} | {name: 0.0}
    assert not compare(a, b, Tolerance(**others)).is_equal


def test_another_engine_is_told(differ: Any) -> None:
    def other(message: Targets) -> Targets:
        engine = msgspec.structs.replace(message.engine, model="another")
        return msgspec.structs.replace(message, engine=engine)

    code, output = differ(other)
    assert code == 0
    assert "engines differ: model on runtime 00000000 / another on runtime" in output


def test_lines_of_the_listener_compare_with_recordings(
    tmp_path: Path, scene: Any, write_recording: Write
) -> None:
    messages = [scene().targets(number, x=1 / 3) for number in range(4)]
    path = write_recording(tmp_path / "a.mcap", [("targets", each) for each in messages])
    lines = tmp_path / "b.jsonl"
    lines.write_text("\n".join(map(json_line, [*messages, scene().end(3)])) + "\n")
    assert run(path, lines) == (0, "identical to the last bit: 4 frames, 4 targets\n")


def test_epochs_are_told_apart_by_their_order(
    tmp_path: Path, scene: Any, write_recording: Write
) -> None:
    messages = [scene(epoch=e * 16).targets(0, x) for e, x in ((b"1", 1.0), (b"2", 2.0))]
    path = write_recording(tmp_path / "a.mcap", [("targets", each) for each in messages])
    answers = load_answers(str(path))
    assert [(name.epoch, answer.targets["x"]) for name, answer in answers.items()] == [
        (0, [1.0]),
        (1, [2.0]),
    ]
    one = dict(list(answers.items())[:1])
    assert list(compare(answers, one, Tolerance()).differences) == ["only in A"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "there are no targets in it"),
        (b"[1]\n", "line 1: neither a recording"),
        (b'{"schema": "targets/1"}\n', "line 1: neither a recording"),
        (b"\xff\xfe", "neither a recording"),
        (b"not json\n", "line 1: neither a recording"),
    ],
)
def test_what_cannot_be_compared_says_so(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=complaint):
        load_answers(str(path))
    with pytest.raises(RecordingError, match=r"none\.jsonl: cannot be read"):
        load_answers(str(tmp_path / "none.jsonl"))


def test_a_frame_that_was_answered_twice_is_refused(
    tmp_path: Path, scene: Any, write_recording: Write
) -> None:
    path = write_recording(tmp_path / "a.mcap", [("targets", scene().targets(0))] * 2)
    with pytest.raises(RecordingError, match="cam frame 0 was answered twice"):
        load_answers(str(path))
    assert math.isnan(scene().targets(0).targets.sigma_intensity[0])


def test_differences_come_in_the_order_of_the_columns() -> None:
    def answer(value: float) -> Answer:
        return Answer(
            "ok",
            "",
            "e",
            {name: [value] for name in SPOT_COLUMNS},
            {name: [value] for name in TARGET_COLUMNS},
        )

    name = FrameName("cam", 0, 1)
    found = compare({name: answer(1.0)}, {name: answer(2.0)}, Tolerance())
    told = [what.split(",")[0] for what in found.differences]
    assert told == [
        *(f"spots {column}" for column in ("id", "x", "y", "count", "background", "noise")),
        *("spots chi2", "spots flags", "targets spot", "targets x", "targets y"),
        *("targets intensity", "targets score"),
        *("targets sigma_x", "targets sigma_y", "targets sigma_intensity"),
    ]

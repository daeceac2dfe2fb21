"""What the demo prints, with figures that were worked out by hand."""

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from dscsnet.detector_stub.scene_config import SceneConfig
from dscsnet.pipeline.messages import Targets, Timing
from dscsnet.tools.demo import report
from dscsnet.tools.demo.run import DemoRun, DemoSettings
from dscsnet.tools.demo.scene_truth import TrueFrame
from dscsnet.tools.demo.scoring import Delivery, Score, score_frame

Truth = Callable[..., TrueFrame]
Answer = Callable[..., Targets]
EXACT = Delivery(frames=2, missing=0, repeated=0, unexpected=0, disordered=0)


def rows_of(table: Table) -> list[list[str]]:
    """Texts of a printed table, its headings first."""
    file = io.StringIO()
    Console(file=file, width=400).print(table)
    return [re.split(r" {2,}", line.strip()) for line in file.getvalue().splitlines()]


@pytest.fixture
def score(true_frame: Truth, published: Answer) -> Score:
    """Clusters of 3, 1 and 2 targets; of the first two are found, of the others one."""
    three = [(20.0, 20.0, 100.0), (21.0, 20.0, 100.0), (20.0, 21.0, 100.0)]
    truth = true_frame([three, [(50.0, 50.0, 100.0)], [(80.0, 80.0, 100.0), (81.0, 80.0, 100.0)]])
    found = [
        *((20.3, 20.0, 110.0), (21.0, 20.4, 80.0), (50.1, 50.0, 101.0)),
        *((80.0, 80.2, 97.0), (82.0, 81.0, 50.0), (120.0, 20.0, 50.0)),
    ]
    return score_frame(truth, published([(20, 20), (50, 50), (80, 80), (120, 20)], found))


def test_figures_by_the_size_of_the_cluster(score: Score) -> None:
    heading, *rows = rows_of(report._by_size(score))
    assert heading == ["1", "2", "3", "none", "all"]
    assert [row[0] for row in rows] == list(report.LABELS)
    assert [row[1:] for row in rows] == [
        ["1", "1", "1", "0", "3"],
        ["100.0", "50.0", "66.7", "-", "66.7"],
        ["100.0", "50.0", "0.0", "-", "33.3"],
        ["100.0", "100.0", "0.0", "-", "66.7"],
        ["0", "1", "0", "1", "2"],
        ["0.100", "0.200", "0.350", "-", "0.250"],
        ["0.100", "0.200", f"{math.sqrt(0.125):.3f}", "-", f"{math.sqrt(0.075):.3f}"],
        ["1.0", "3.0", "15.0", "-", "6.5"],
        ["+1.0", "-3.0", "-5.0", "-", "-1.0"],
    ]


@pytest.mark.parametrize("size", [range(9, 0, -1), (8, 1, 0, 16), (0, 32, 8)])
def test_sizes_rise_and_none_comes_last(score: Score, size: Sequence[int]) -> None:
    numbers = np.array(size)
    heading = rows_of(report._by_size(replace(score, false_size=numbers)))[0]
    known = {1, 2, 3, *numbers.tolist()}
    assert heading == [
        *map(str, sorted(known - {0})),
        *(["none"] if 0 in known else []),
        "all",
    ]


def test_milliseconds_are_of_all_frames() -> None:
    # The name of the stage in nanoseconds; k of 101 evenly spaced times is their k-th percentile.
    scale = {"join": 1, "queue": 2, "infer": 3, "readout": 4, "total": 10}
    columns = Timing.__struct_fields__
    timings = [
        Timing(**{name: scale.get(name, 0) * k * 1_000_000 for name in columns})
        for k in reversed(range(101))
    ]
    heading, *rows = rows_of(report._latency(timings))
    assert heading == ["stage", "p50", "p90", "p99", "max"]
    assert rows == [
        [name, *(f"{scale[name] * k:.2f}" for k in (50, 90, 99, 100))] for name in report.STAGES
    ]
    assert rows_of(report._latency([]))[-1] == ["total", "-", "-", "-", "-"]


def run_of(frames: int, true_frame: Truth, published: Answer, seconds: float = 2.0) -> DemoRun:
    truth = [true_frame([[(20.0, 20.0, 100.0)]], 100 + k) for k in range(frames)]
    answers = [published([(20, 20)], [(20.1, 20.0, 100.0)], 100 + k) for k in range(frames)]
    return DemoRun(truth, answers, SceneConfig(), seconds)


def test_five_frames_from_the_first_to_the_last_are_shown(
    true_frame: Truth, published: Answer
) -> None:
    run = run_of(9, true_frame, published)
    answers: list[Targets | None] = [*run.answers]
    answers[2] = None
    scores = [score_frame(*each) for each in zip(run.truth, answers, strict=True)]
    rows = rows_of(report._samples(run, answers, scores))
    assert rows[0][-2:] == ["median px", "ms"]
    assert [row[0] for row in rows[1:]] == ["100", "102", "104", "106", "108"]
    assert rows[1][1:] == ["ok", "1", "1", "1", "1", "0", "0.100", "10.0"]
    assert rows[2][1:] == ["no answer"]
    few = rows_of(report._samples(run, answers[:2], scores[:2]))
    assert [row[0] for row in few[1:]] == ["100", "101"]


def test_the_rate_counts_the_gaps_between_answers(true_frame: Truth, published: Answer) -> None:
    settings = DemoSettings(Path(), frames=9, rate_hz=12.5, seed=0, model="m")
    for seconds, rate in ((2.0, "4.0"), (0.0, "-")):
        run = run_of(9, true_frame, published, seconds)
        score = Score.join(
            [score_frame(*each) for each in zip(run.truth, run.answers, strict=True)]
        )
        lines = dict(rows_of(report._summary(settings, run, EXACT, score)))
        assert lines["rate"] == f"{rate} Hz (asked for 12.5), over {seconds:.1f} s"
        assert lines["spots"] == "9 candidates, 0 of them at no true cluster"
        assert lines["targets"] == "9 true, 9 found, 0 missed, 0 not detected upstream; 0 false"
        assert lines["engine"] == f"fake model (sha256 {'0' * 12}) on fake runtime"


def test_answers_are_counted_by_status_most_first(published: Answer) -> None:
    answers = [published([], status=status) for status in ("empty", "ok", "ok")]
    expected = "2 published, each answered exactly once, in order"
    assert report.frames_line(EXACT, answers) == f"{expected} (ok 2, empty 1)"
    assert report.frames_line(EXACT, []) == expected
    wrong = Delivery(frames=9, missing=1, repeated=2, unexpected=3, disordered=4)
    assert report.frames_line(wrong, []) == (
        "9 published, NOT each answered exactly once: "
        "1 unanswered, 2 repeated, 3 unexpected, 4 out of order"
    )


def test_engines_are_named_in_order(published: Answer) -> None:
    names = ["d", "b", "e", "a", "c", "b"]
    answers = [
        msgspec.structs.replace(each, engine=msgspec.structs.replace(each.engine, model=name))
        for name, each in ((name, published([])) for name in names)
    ]
    assert [part[0] for part in report.engine_line(answers).split("; ")] == list("abcde")


def test_targets_of_frames_that_were_not_unmixed_are_named(
    true_frame: Truth, published: Answer
) -> None:
    truth = true_frame([[(20.0, 20.0, 100.0), (21.0, 20.0, 100.0)]])
    dropped = score_frame(truth, published([], status="dropped"))
    assert report.targets_line(dropped) == (
        "2 true, 0 found, 0 missed, 0 not detected upstream, "
        "2 in frames that were not unmixed; 0 false"
    )


def test_the_whole_report(true_frame: Truth, published: Answer) -> None:
    run = run_of(2, true_frame, published)
    answers = [run.answers[0], msgspec.structs.replace(run.answers[1], status="empty")]
    run = replace(run, answers=answers)
    scores = [score_frame(*each) for each in zip(run.truth, answers, strict=True)]
    console = Console(file=io.StringIO(), width=200)
    settings = DemoSettings(Path(), frames=2, rate_hz=10.0, seed=0, model="m")
    report.print_report(console, settings, run, EXACT, answers, scores)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    titles = [
        *("Some of the frames", "All frames", "By number of targets in the cluster"),
        "Milliseconds spent on a frame (1 with status ok)",
    ]
    places = [text.index(title) for title in titles]
    assert places == sorted(places)
    assert " ".join(text.split()).endswith(report.DEFINITIONS)

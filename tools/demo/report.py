"""What the demo prints: tables made of nothing but what was measured in this run."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from dscsnet.pipeline.messages import Targets, Timing
from dscsnet.tools.demo.run import DemoRun, DemoSettings
from dscsnet.tools.demo.scoring import (
    CLOSE_RADIUS,
    CLUSTER_REACH,
    FOUND_RADIUS,
    Delivery,
    Outcome,
    Score,
)

SAMPLES = 5
STAGES = ("join", "queue", "infer", "readout", "total")
PERCENTILES = (50, 90, 99, 100)
LABELS = (
    "clusters unmixed",
    f"targets found within {FOUND_RADIUS:g} px, %",
    f"targets found within {CLOSE_RADIUS:g} px, %",
    "clusters with the right number, %",
    "false targets",
    "position error, median, px",
    "position error, RMS, px",
    "intensity error, median, %",
    "intensity bias, median, %",
)
DEFINITIONS = (
    f"A target is found if a published one lies within {FOUND_RADIUS:g} px, one to one. Shares are"
    " of the targets whose cluster the detector reported, with a candidate within"
    f" {CLUSTER_REACH:g} px of one of its targets; errors are of the targets found. The bias is"
    " (published - true) / true."
)


def print_report(
    console: Console,
    settings: DemoSettings,
    run: DemoRun,
    delivery: Delivery,
    answers: Sequence[Targets | None],
    scores: Sequence[Score],
) -> None:
    """Print everything.

    Args:
        answers, scores: of each frame, in the order of publication.
    """
    score = Score.join(scores)
    unmixed = [answer.timing for answer in run.answers if answer.status == "ok"]
    for title, table in (
        ("Some of the frames", _samples(run, answers, scores)),
        ("All frames", _summary(settings, run, delivery, score)),
        ("By number of targets in the cluster", _by_size(score)),
        (f"Milliseconds spent on a frame ({len(unmixed)} with status ok)", _latency(unmixed)),
    ):
        console.print(f"\n[bold]{title}[/bold]")
        console.print(table)
    console.print(f"\n{DEFINITIONS}")


def _table(*columns: str) -> Table:
    """A table without lines; all columns but the first hold numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(columns[0])
    for column in columns[1:]:
        table.add_column(column, justify="right")
    return table


def _samples(run: DemoRun, answers: Sequence[Targets | None], scores: Sequence[Score]) -> Table:
    table = _table(
        "frame", "status", "spots", "true", "published", "found", "false", "median px", "ms"
    )
    rows = np.unique(np.linspace(0, len(answers) - 1, SAMPLES).round().astype(int))
    for row in rows.tolist():
        answer, score = answers[row], scores[row]
        frame_id = str(run.truth[row].frame_id)
        if answer is None:
            table.add_row(frame_id, "no answer")
            continue
        table.add_row(
            frame_id,
            answer.status,
            str(len(answer.spots)),
            str(len(score.size)),
            str(len(answer.targets)),
            str(score.count(Outcome.FOUND)),
            str(len(score.false_size)),
            _number(score.position_error()[0], "{:.3f}"),
            f"{answer.timing.total / 1e6:.1f}",
        )
    return table


def _summary(settings: DemoSettings, run: DemoRun, delivery: Delivery, score: Score) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("frames", frames_line(delivery, run.answers))
    rate = (len(run.answers) - 1) / run.seconds if run.seconds > 0 else math.nan
    asked = f"asked for {settings.rate_hz:g}"
    table.add_row("rate", f"{_number(rate, '{:.1f}')} Hz ({asked}), over {run.seconds:.1f} s")
    table.add_row("engine", engine_line(run.answers))
    stray = f"{score.stray_spots} of them at no true cluster"
    table.add_row("spots", f"{score.spots} candidates, {stray}")
    table.add_row("targets", targets_line(score))
    return table


def frames_line(delivery: Delivery, answers: Sequence[Targets]) -> str:
    """Say whether each frame was answered exactly once and in order, and count by status."""
    statuses = Counter(answer.status for answer in answers)
    listed = ", ".join(f"{status} {count}" for status, count in statuses.most_common())
    if delivery.exact:
        verdict = "each answered exactly once, in order"
    else:
        verdict = (
            f"NOT each answered exactly once: {delivery.missing} unanswered, "
            f"{delivery.repeated} repeated, {delivery.unexpected} unexpected, "
            f"{delivery.disordered} out of order"
        )
    return f"{delivery.frames} published, {verdict}" + (f" ({listed})" if listed else "")


def engine_line(answers: Sequence[Targets]) -> str:
    """Name the engine, or the engines should there be several."""
    engines = {answer.engine for answer in answers}
    return "; ".join(
        sorted(f"{each.model} (sha256 {each.sha256[:12]}) on {each.runtime}" for each in engines)
    )


def targets_line(score: Score) -> str:
    """Count the true targets by outcome, and the false ones."""
    parts = [
        f"{len(score.size)} true",
        f"{score.count(Outcome.FOUND)} found",
        f"{score.count(Outcome.MISSED)} missed",
        f"{score.count(Outcome.NOT_DETECTED)} not detected upstream",
    ]
    if not_unmixed := score.count(Outcome.NOT_UNMIXED):
        parts.append(f"{not_unmixed} in frames that were not unmixed")
    return ", ".join(parts) + f"; {len(score.false_size)} false"


def _by_size(score: Score) -> Table:
    """One column a cluster size; false targets that lie in no cluster have one of their own."""
    sizes = sorted(set(score.size.tolist()) | set(score.false_size.tolist()), key=_zero_last)
    parts = [score.of_size(size) for size in sizes]
    table = _table("", *(str(size) if size else "none" for size in sizes), "all")
    rows = [_cells(part) for part in (*parts, score)]
    for label, *values in zip(LABELS, *rows, strict=True):
        table.add_row(label, *values)
    return table


def _zero_last(size: int) -> tuple[bool, int]:
    return size == 0, size


def _cells(score: Score) -> tuple[str, ...]:
    """The numbers that belong to `LABELS`."""
    median, root_mean_square = score.position_error()
    spread, bias = score.intensity_errors()
    return (
        str(len(score.cluster_size)),
        _number(100 * score.recall(), "{:.1f}"),
        _number(100 * score.recall(close=True), "{:.1f}"),
        _number(100 * score.count_accuracy(), "{:.1f}"),
        str(len(score.false_size)),
        _number(median, "{:.3f}"),
        _number(root_mean_square, "{:.3f}"),
        _number(100 * spread, "{:.1f}"),
        _number(100 * bias, "{:+.1f}"),
    )


def _latency(timings: Sequence[Timing]) -> Table:
    table = _table("stage", *(f"p{p}" if p < 100 else "max" for p in PERCENTILES))
    for stage in STAGES:
        times = [getattr(timing, stage) / 1e6 for timing in timings]
        values = np.percentile(times, PERCENTILES) if times else [math.nan] * len(PERCENTILES)
        style = "bold" if stage == "total" else None
        table.add_row(stage, *(_number(float(value), "{:.2f}") for value in values), style=style)
    return table


def _number(value: float, form: str) -> str:
    return form.format(value) if math.isfinite(value) else "-"

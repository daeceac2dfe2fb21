"""Compares the targets of two runs, frame by frame: timings may differ, nothing else.

Frames are told by stream, by how many epochs of the stream came before, and by frame_id: a replay
draws a new epoch each time. Columns are compared in the order in which the node publishes them,
which follows the candidates.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from dscsnet.pipeline.messages import Targets
from dscsnet.pipeline.recording.names import RecordingError
from dscsnet.pipeline.recording.reader import RecordingReader, recording_files

SPOT_COLUMNS = ("id", "x", "y", "count", "background", "noise", "chi2", "flags")
TARGET_COLUMNS = (
    *("spot", "x", "y", "intensity", "score", "sigma_x", "sigma_y", "sigma_intensity"),
)


class FrameName(NamedTuple):
    """A frame's place: the epoch is counted from 0 within its stream."""

    stream: str
    epoch: int
    frame_id: int

    def __str__(self) -> str:
        """As people read it."""
        epoch = f" epoch {self.epoch}" if self.epoch else ""
        return f"{self.stream}{epoch} frame {self.frame_id}"


@dataclass(frozen=True)
class Answer:
    """What one run says of one frame."""

    status: str
    reason: str
    engine: str
    spots: dict[str, list[float]]
    targets: dict[str, list[float]]


Answers = dict[FrameName, Answer]


@dataclass(frozen=True)
class Tolerance:
    """What may differ; 0: not a bit.

    Attributes:
        position: of spots and targets, px.
        intensity: relative, of intensities, backgrounds and noises.
        sigma: relative, of the uncertainties, scores and chi-squares.
    """

    position: float = 0.0
    intensity: float = 0.0
    sigma: float = 0.0


@dataclass
class Difference:
    """One kind of difference.

    Attributes:
        frames: in how many frames it was seen.
        largest: by how much at most; NaN where that has no meaning.
        where: the frame with the largest, or the first.
        detail: what stood there in A and in B.
    """

    frames: int = 0
    largest: float = math.nan
    where: FrameName | None = None
    detail: str = ""

    def add(self, where: FrameName, size: float, detail: str) -> None:
        """Count a frame."""
        self.frames += 1
        if self.where is None or size > self.largest:
            self.where, self.largest, self.detail = where, size, detail


@dataclass
class Comparison:
    """The outcome.

    Attributes:
        frames: in both.
        differences: by what differs, in a fixed order.
        engines: of A and B, where they are not the same.
    """

    frames: int = 0
    targets: int = 0
    differences: dict[str, Difference] = field(default_factory=dict)
    engines: tuple[str, str] | None = None

    @property
    def is_equal(self) -> bool:
        """Nothing but timings differs, within the tolerance."""
        return not self.differences

    def note(self, what: str, where: FrameName, size: float = math.nan, detail: str = "") -> None:
        """Count a difference of one frame."""
        self.differences.setdefault(what, Difference()).add(where, size, detail)


def load_answers(spec: str) -> Answers:
    """Return the targets of a recording (file, folder, glob) or of JSON lines of `dscsnet listen`.

    Raises:
        RecordingError: it cannot be read, or no targets are in it.
    """
    files = recording_files([spec])
    messages = _recorded(files) if files else _listened(Path(spec))
    answers: Answers = {}
    epochs: dict[str, dict[str, int]] = {}
    for stream, epoch, frame_id, answer in messages:
        known = epochs.setdefault(stream, {})
        name = FrameName(stream, known.setdefault(epoch, len(known)), frame_id)
        if name in answers:
            raise RecordingError(f"{spec}: {name} was answered twice")
        answers[name] = answer
    if not answers:
        raise RecordingError(f"{spec}: there are no targets in it")
    return answers


def compare(a: Answers, b: Answers, tolerance: Tolerance) -> Comparison:
    """Compare two runs."""
    result = Comparison()
    for what, some, others in (("only in A", a, b), ("only in B", b, a)):
        for name in some:
            if name not in others:
                result.note(what, name, detail=some[name].status)
    for name, one in a.items():
        other = b.get(name)
        if other is None:
            continue
        result.frames += 1
        result.targets += len(one.targets["x"])
        if one.engine != other.engine and result.engines is None:
            result.engines = one.engine, other.engine
        _compare_answers(result, name, one, other, tolerance)
    return result


def _compare_answers(
    result: Comparison, name: FrameName, one: Answer, other: Answer, tolerance: Tolerance
) -> None:
    said, otherwise = (f"{each.status} {each.reason}".strip() for each in (one, other))
    if said != otherwise:
        result.note("status", name, detail=f"{said} / {otherwise}")
    for table in ("spots", "targets"):
        first, second = getattr(one, table), getattr(other, table)
        counts = len(first["x"]), len(second["x"])
        if counts[0] != counts[1]:
            gap = abs(counts[0] - counts[1])
            result.note(f"number of {table}", name, gap, f"{counts[0]} / {counts[1]}")
            continue
        for column in first:
            unit, most = _rule(column, tolerance)
            size, row = _largest(first[column], second[column], unit)
            if size > most:
                detail = f"{first[column][row]:.6g} / {second[column][row]:.6g}"
                label = f"{table} {column}" + (f", {unit}" if unit else "")
                result.note(label, name, size, detail)


def _rule(column: str, tolerance: Tolerance) -> tuple[str, float]:
    """Return the unit of a column's differences and what is tolerated."""
    if column in ("x", "y"):
        return "px", tolerance.position
    if column in ("intensity", "background", "noise"):
        return "relative", tolerance.intensity
    if column in ("sigma_x", "sigma_y", "sigma_intensity", "chi2", "score"):
        return "relative", tolerance.sigma
    return "", 0.0


def _largest(first: list[float], second: list[float], unit: str) -> tuple[float, int]:
    """Return the largest difference of two columns and its row; NaN differs from numbers only."""
    if not first:
        return 0.0, 0
    one, other = np.asarray(first, float), np.asarray(second, float)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        gap = np.abs(one - other)
        if unit == "relative":
            gap = gap / np.maximum(np.abs(one), np.abs(other))
    # What has no difference, such as a NaN or two infinities, is the same or differs by no measure.
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    gap = np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap))
    row = int(np.argmax(gap))
    return float(gap[row]), row


def _recorded(files: list[Path]) -> Iterator[tuple[str, str, int, Answer]]:
    for recorded in RecordingReader(files).messages(("targets",)):
        message = recorded.message
        if isinstance(message, Targets):
            engine = message.engine
            yield (
                message.stream,
                message.epoch.hex(),
                message.frame_id,
                Answer(
                    message.status,
                    message.reason,
                    f"{engine.model} on {engine.runtime} {engine.sha256[:8]}".strip(),
                    msgspec.structs.asdict(message.spots),
                    msgspec.structs.asdict(message.targets),
                ),
            )


def _listened(path: Path) -> Iterator[tuple[str, str, int, Answer]]:
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    answer = _from_json(json.loads(line)) if line.strip() else None
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    what = f"{type(error).__name__}: {error}"
                    raise RecordingError(
                        f"{path}, line {number}: neither a recording (.mcap) nor a line of "
                        f"'dscsnet listen --format jsonl' ({what})"
                    ) from None
                if answer is not None:
                    yield answer
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise RecordingError(f"{path}: neither a recording (.mcap) nor JSON lines") from None


def _from_json(entry: dict[str, Any]) -> tuple[str, str, int, Answer] | None:
    if not entry["schema"].startswith("targets/"):
        return None
    engine = entry["engine"]
    return (
        entry["stream"],
        entry["epoch"],
        int(entry["frame_id"]),
        Answer(
            entry["status"],
            entry.get("reason", ""),
            f"{engine['model']} on {engine['runtime']} {engine['sha256'][:8]}".strip(),
            _columns(entry["spots"], SPOT_COLUMNS),
            _columns(entry["targets"], TARGET_COLUMNS),
        ),
    )


def _columns(table: dict[str, Any], names: tuple[str, ...]) -> dict[str, list[float]]:
    """Return the columns as numbers; JSON has null for NaN."""
    columns = {
        name: [math.nan if value is None else float(value) for value in table[name]]
        for name in names
    }
    if len(set(map(len, columns.values()))) > 1:
        raise ValueError("columns of unequal lengths")
    return columns

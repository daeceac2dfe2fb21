"""What a node found in recorded frames, as a picture: no truth needed.

One row a frame: the whole frame with its candidates boxed, then some candidates enlarged with the
targets they were resolved into.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from dscsnet.pipeline.errors import MessageError, SourceError
from dscsnet.pipeline.messages import SpotFlag
from dscsnet.pipeline.messages.checks import check_columns, check_extent, check_positions
from dscsnet.tools.drawing.canvas import (
    BACKGROUND,
    BOX,
    QUIET,
    RESOLVED,
    Picture,
    cross,
    magnified,
    outline,
    stretch,
    write,
)

Pixels = NDArray[np.generic]

MARGIN, CAPTION = 16, 44
ROW_HEIGHT = 272  # of a frame or an enlarged candidate, picture px
ENLARGED = 3
CROP = 17  # side of an enlarged candidate, frame px
BOX_SIDE = 13.0


class AnswerSpots(msgspec.Struct, frozen=True):
    """Of `dscsnet.pipeline.messages.Spots` what is drawn; null where it is not known."""

    x: list[float]
    y: list[float]
    count: list[int]
    chi2: list[float | None]
    flags: list[Annotated[int, Meta(ge=0)]]

    def __post_init__(self) -> None:
        check_positions("spots.", self.x, self.y)
        check_columns("spots.", {"x": self.x, "y": self.y, "count": self.count}, ("count",))
        if not len(self.x) == len(self.chi2) == len(self.flags):
            raise ValueError("spots: columns must have equal lengths")


class AnswerTargets(msgspec.Struct, frozen=True):
    """Of `dscsnet.pipeline.messages.TargetTable` what is drawn."""

    spot: list[int]
    x: list[float]
    y: list[float]
    intensity: list[float | None]

    def __post_init__(self) -> None:
        check_positions("targets.", self.x, self.y)
        check_columns("targets.", {"spot": self.spot, "x": self.x, "y": self.y}, ("spot",))
        if len(self.intensity) != len(self.x):
            raise ValueError("targets: columns must have equal lengths")


class Answer(msgspec.Struct, frozen=True):
    """One line of `dscsnet listen --format jsonl`, a `targets` message."""

    frame_id: int
    status: str
    spots: AnswerSpots
    targets: AnswerTargets

    def __post_init__(self) -> None:
        check_extent("targets.spot", self.targets.spot, 0, len(self.spots.x) - 1)


class _AnyLine(msgspec.Struct, frozen=True):
    schema: str


def read_answers(path: Path) -> dict[int, Answer]:
    """`targets` messages of a JSON-lines file that `dscsnet listen` wrote, by frame_id.

    Raises:
        SourceError: the file cannot be read or is of another kind.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None
    found = {}
    for number, line in enumerate(lines, 1):
        try:
            if msgspec.json.decode(line, type=_AnyLine).schema.startswith("targets/"):
                answer = msgspec.json.decode(line, type=Answer)
                found[answer.frame_id] = answer
        except (msgspec.DecodeError, MessageError, UnicodeDecodeError, RecursionError) as error:
            raise SourceError(
                f"{path}:{number}: not what `dscsnet listen --format jsonl` writes, "
                f"one message a line: {error}"
            ) from None
    return found


def draw_answers(frames: Sequence[tuple[int, Pixels, Answer]]) -> Picture:
    """Draw frames with their answers, one row each.

    Args:
        frames: frame_id, (H, W) pixels and answer of each.
    """
    rows = [_draw_row(*frame) for frame in frames]
    width = max(row.shape[1] for row in rows)
    padded = [
        cv2.copyMakeBorder(
            row, 0, 0, 0, width - row.shape[1], cv2.BORDER_CONSTANT, value=BACKGROUND
        )
        for row in rows
    ]
    return np.vstack(padded)


def _draw_row(frame_id: int, pixels: Pixels, answer: Answer) -> Picture:
    shown = _strongest(answer, pixels.shape)
    frame_width = round(ROW_HEIGHT * pixels.shape[1] / pixels.shape[0])
    width = 2 * MARGIN + frame_width + len(shown) * (ROW_HEIGHT + MARGIN)
    row = np.full((ROW_HEIGHT + CAPTION + MARGIN, width, 3), BACKGROUND, np.uint8)
    view = row[MARGIN : MARGIN + ROW_HEIGHT, MARGIN : MARGIN + frame_width]
    _draw_frame(view, pixels, answer, shown)
    baseline = MARGIN + ROW_HEIGHT + 18
    spots, targets = len(answer.spots.x), len(answer.targets.x)
    text = f"frame {frame_id}: {answer.status}, {spots} spots, {targets} targets"
    write(row, text, MARGIN, baseline, height=14)
    for place, spot in enumerate(shown):
        left = 2 * MARGIN + frame_width + place * (ROW_HEIGHT + MARGIN)
        view = row[MARGIN : MARGIN + ROW_HEIGHT, left : left + ROW_HEIGHT]
        _draw_spot(view, pixels, answer, spot)
        write(row, _caption(answer, spot), left, baseline, height=14, width=ROW_HEIGHT)
        write(row, _quality(answer, spot), left, baseline + 18, height=12, colour=QUIET)
    return row


def _strongest(answer: Answer, shape: tuple[int, ...]) -> list[int]:
    """The candidates in the frame with the most light in targets; without any come last."""
    light = np.zeros(len(answer.spots.x))
    np.add.at(
        light, np.array(answer.targets.spot, int), [each or 0 for each in answer.targets.intensity]
    )
    inside = [spot for spot in np.argsort(-light, kind="stable") if _inside(answer, spot, shape)]
    return [int(spot) for spot in inside[:ENLARGED]]


def _inside(answer: Answer, spot: int, shape: tuple[int, ...]) -> bool:
    column, row = round(answer.spots.x[spot]), round(answer.spots.y[spot])
    return 0 <= row < shape[0] and 0 <= column < shape[1]


def _grey(pixels: Pixels) -> Picture:
    values = pixels.astype(float)
    low, high = np.nanpercentile(values, [1, 99.9])
    return stretch(np.nan_to_num(values, nan=low), float(low), float(high))


def _draw_frame(view: Picture, pixels: Pixels, answer: Answer, shown: Sequence[int]) -> None:
    height, width = view.shape[:2]
    view[:] = cv2.resize(_grey(pixels), (width, height), interpolation=cv2.INTER_AREA)
    zoom, half = width / pixels.shape[1], BOX_SIDE / 2
    for spot, (x, y) in enumerate(zip(answer.spots.x, answer.spots.y, strict=True)):
        if not _inside(answer, spot, pixels.shape):
            continue
        column, row = magnified(x, zoom), magnified(y, zoom)
        box = (column - half, row - half, column + half, row + half)
        outline(view, box, RESOLVED if spot in shown else BOX, 1)


def _draw_spot(view: Picture, pixels: Pixels, answer: Answer, spot: int) -> None:
    """One candidate, each pixel a square, with a cross at each of the frame's targets."""
    left, top = (round(axis[spot]) - CROP // 2 for axis in (answer.spots.x, answer.spots.y))
    # Cut from the counts and stretched on its own: nothing else in the frame sets its contrast.
    counts = np.nan_to_num(pixels.astype(float), posinf=0, neginf=0)
    padded = np.pad(counts, CROP, mode="edge")
    crop = padded[top + CROP : top + 2 * CROP, left + CROP : left + 2 * CROP]
    grey = stretch(crop, float(crop.min()), float(crop.max()))
    side = view.shape[0]
    view[:] = cv2.resize(grey, (side, side), interpolation=cv2.INTER_NEAREST)
    zoom = side / CROP
    for x, y in zip(answer.targets.x, answer.targets.y, strict=True):
        column, row = magnified(x, zoom, left), magnified(y, zoom, top)
        if 0 <= column < side and 0 <= row < side:
            cross(view, column, row, 5, RESOLVED)


def _caption(answer: Answer, spot: int) -> str:
    x, y = answer.spots.x[spot], answer.spots.y[spot]
    return f"({x:.1f}, {y:.1f}): {answer.spots.count[spot]} targets"


def _quality(answer: Answer, spot: int) -> str:
    chi2, flags = answer.spots.chi2[spot], SpotFlag(answer.spots.flags[spot])
    names = " ".join(flag.name.lower().replace("_", " ") for flag in flags if flag.name)
    return f"chi2 {'unknown' if chi2 is None else format(chi2, '.1f')}  {names}"

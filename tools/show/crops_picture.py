"""Crops as a picture, one a row: observed, reconstruction, residual, and the targets enlarged.

Pixels are squares; the numbers along the sides are pixel centres, frame px.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.tools.drawing.canvas import (
    BACKGROUND,
    BOX,
    QUIET,
    RESOLVED,
    TEXT,
    Box,
    Picture,
    stretch,
    text_width,
    write,
)
from dscsnet.tools.show.crop_panel import (
    PANEL,
    RESIDUAL_LIMIT,
    TEXT_HEIGHT,
    Mark,
    Window,
    draw_error,
    draw_marks,
    marks_of,
    residual_colours,
    squares,
    targets_window,
)
from dscsnet.tools.show.crops import HEADER, CropView, counts, doubts, quality_rows, target_rows

MARGIN, GAP, GUTTER = 24, 20, 42  # GUTTER: left of a panel whose rows are numbered
LEFT = tuple(MARGIN + GUTTER + place * (PANEL + GAP) + GUTTER * (place == 3) for place in range(4))
WIDTH = LEFT[3] + PANEL + MARGIN
HEAD = 100  # height of title and legend
ABOVE, BELOW = 52, 30  # of a panel: name and caption; ticks
LINE, SMALL = 21, 14
BETWEEN = 26  # rows
MOST_TARGETS = 12  # lines of a table

GAMMA = 0.7  # lifts the faint pixels
DIM = 0.6  # of the pixels beneath the targets' marks
LEAST_TICK = 48.0  # panel px from one tick to the next: room for a number like 1023.5

#: Right ends of the table's columns from its left, and left ends of the quality's two.
COLUMNS = (24, 118, 212, 306, 370, 450, 530, 610)
NAME_WIDTH = 110


def draw_views(views: Sequence[CropView], title: str) -> Picture:
    """Draw crops of one frame, one below the other.

    Args:
        views: at least one.
        title: one line above all.
    """
    heights = [_height(view) for view in views]
    total = HEAD + sum(heights) + BETWEEN * (len(views) - 1) + MARGIN // 2
    picture = np.full((total, WIDTH, 3), BACKGROUND, np.uint8)
    write(picture, title, MARGIN, 40, height=26, bold=True, width=WIDTH - 2 * MARGIN)
    _draw_legend(picture, 78)
    top = HEAD
    for view, height in zip(views, heights, strict=True):
        _draw_row(picture, top, view)
        top += height + BETWEEN
    return picture


def _height(view: CropView) -> int:
    lines = max(1 + len(_table(view)), len(quality_rows(view)))
    return ABOVE + PANEL + BELOW + LINE * lines


def _draw_legend(picture: Picture, y: int) -> None:
    """Above each column what its marks and colours mean."""
    _draw_field(picture, (LEFT[0] + 1, y - 13), (LEFT[0] + 15, y + 1))
    _small(picture, "searched for targets", LEFT[0] + 26, y)
    _draw_left_out(picture, (LEFT[1] + 1.0, y - 13.0, LEFT[1] + 15.0, y + 1.0))
    _small(picture, "pixel that does not count", LEFT[1] + 26, y)
    labels = f"-{RESIDUAL_LIMIT:g}", f"+{RESIDUAL_LIMIT:g} noise sigmas"
    wide = [text_width(label, TEXT_HEIGHT) for label in labels]
    first, last = LEFT[2] + wide[0] + 10, LEFT[2] + PANEL - wide[1] - 10
    scale = np.linspace(-RESIDUAL_LIMIT, RESIDUAL_LIMIT, last - first)
    picture[y - 12 : y, first:last] = residual_colours(scale[None])
    _small(picture, labels[0], LEFT[2], y)
    _small(picture, labels[1], last + 10, y)
    draw_error(picture[y - 20 : y + 9, LEFT[3] : LEFT[3] + 42], Mark(20, 14, 9, 6))
    _small(picture, "1- and 2-sigma errors", LEFT[3] + 50, y)


def _small(picture: Picture, text: str, x: float, y: float) -> None:
    write(picture, text, x, y, height=TEXT_HEIGHT, colour=QUIET)


def _draw_row(picture: Picture, top: int, view: CropView) -> None:
    write(picture, view.name, LEFT[0], top + 16, height=19, colour=RESOLVED, bold=True)
    upper = top + ABOVE
    size = len(view.observed)
    whole, window = (-0.5, -0.5, float(size)), targets_window(view)
    low, high = _range(view.observed, view.usable)
    grey = stretch(view.observed, low, high, GAMMA)
    panels = (
        (f"observed, {counts(low)} to {counts(high)} counts", grey, whole),
        ("reconstruction", stretch(view.reconstruction, low, high, GAMMA), whole),
        (_residual_title(view), residual_colours(view.residual), whole),
        (_targets_title(view), (DIM * grey).astype(np.uint8), window),
    )
    for x, (text, colours, part) in zip(LEFT, panels, strict=True):
        _small(picture, text, x, upper - 9)
        panel = picture[upper : upper + PANEL, x : x + PANEL]
        panel[:] = squares(colours, part)
        _draw_ticks(picture, x, upper, view, part, numbered=x in (LEFT[0], LEFT[3]))
    for x in (LEFT[0], LEFT[2]):
        _mark_left_out(picture[upper : upper + PANEL, x : x + PANEL], view)
    _mark_field(picture[upper : upper + PANEL, LEFT[0] : LEFT[0] + PANEL], view)
    draw_marks(picture[upper : upper + PANEL, LEFT[3] : LEFT[3] + PANEL], marks_of(view, window))
    _write_table(picture, upper + PANEL + BELOW + 16, view)
    _write_quality(picture, upper + PANEL + BELOW + 16, view)


def _range(values: Float, usable: NDArray[np.bool_]) -> tuple[float, float]:
    shown = values[usable] if usable.any() else values
    return float(shown.min()), float(shown.max())


def _residual_title(view: CropView) -> str:
    if not (view.usable.any() and math.isfinite(view.noise)):
        return "residual"
    low, high = _range(view.residual, view.usable)
    return f"residual, {low:+.1f} to {high:+.1f} sigmas"


def _targets_title(view: CropView) -> str:
    number = len(view.estimates.x)
    return ("no target", "1 target")[number] if number < 2 else f"{number} targets"


def _mark_field(panel: Picture, view: CropView) -> None:
    first, last = view.field
    if last - first < len(view.observed):
        zoom = PANEL / len(view.observed)
        start, end = round(first * zoom), round(last * zoom) - 1
        _draw_field(panel, (start, start), (end, end))


def _draw_field(picture: Picture, first: tuple[int, int], last: tuple[int, int]) -> None:
    """A square with a dark rim, drawn without smoothing: it lies on edges of whole pixels."""
    for shade, thickness in ((BACKGROUND, 3), (BOX, 1)):
        cv2.rectangle(picture, first, last, shade, thickness)


def _mark_left_out(panel: Picture, view: CropView) -> None:
    zoom = PANEL / len(view.observed)
    for row, column in np.argwhere(~view.usable).tolist():
        x, y = column * zoom, row * zoom
        _draw_left_out(panel, (x + 5, y + 5, x + zoom - 6, y + zoom - 6))


def _draw_left_out(picture: Picture, box: Box) -> None:
    left, top, right, bottom = map(round, box)
    cv2.line(picture, (left, top), (right, bottom), QUIET, 1, cv2.LINE_AA)
    cv2.line(picture, (left, bottom), (right, top), QUIET, 1, cv2.LINE_AA)


def _draw_ticks(
    picture: Picture, x: int, y: int, view: CropView, window: Window, *, numbered: bool
) -> None:
    """Ticks below a panel, and to its left where its rows are numbered."""
    zoom = PANEL / window[2]
    step = next(step for step in (0.5, 1, 2, 5, 10, 20, 50) if step * zoom >= LEAST_TICK)
    for place, tick in _ticks(window[0], window[2], view.left, step):
        column = round(x + place * zoom - 0.5)
        picture[y + PANEL + 2 : y + PANEL + 6, column] = QUIET
        start = column - text_width(tick, SMALL) / 2
        write(picture, tick, start, y + PANEL + 20, height=SMALL, colour=QUIET)
    if not numbered:
        return
    for place, tick in _ticks(window[1], window[2], view.top, step):
        row = round(y + place * zoom - 0.5)
        picture[row, x - 6 : x - 2] = QUIET
        start = x - 9 - text_width(tick, SMALL)
        write(picture, tick, start, row + 5, height=SMALL, colour=QUIET)


def _ticks(first: float, side: float, offset: int, step: float) -> list[tuple[float, str]]:
    """Ticks at multiples of `step`, frame px: how far into the window, crop px, and the label."""
    start = math.ceil((first + offset) / step)
    stop = math.floor((first + side + offset) / step)
    return [(k * step - offset - first, f"{k * step:g}") for k in range(start, stop + 1)]


def _table(view: CropView) -> list[tuple[str, ...]]:
    """The table's lines as there is room for them: the last says how many are left out."""
    rows = [(str(number), *row) for number, row in enumerate(target_rows(view), 1)]
    if len(rows) > MOST_TARGETS:
        left_out = len(rows) - MOST_TARGETS + 1
        return [*rows[: MOST_TARGETS - 1], ("", f"and {left_out} more")]
    return rows


def _write_table(picture: Picture, y: int, view: CropView) -> None:
    rows = _table(view)
    if not rows:
        return
    for line, row in enumerate([("", *HEADER), *rows]):
        for end, text in zip(COLUMNS, row, strict=False):
            start = LEFT[0] + end - text_width(text, TEXT_HEIGHT)
            colour = QUIET if line == 0 else TEXT
            write(picture, text, start, y + line * LINE, height=TEXT_HEIGHT, colour=colour)


def _write_quality(picture: Picture, y: int, view: CropView) -> None:
    left = LEFT[2] + PANEL // 3
    for line, (name, text) in enumerate(quality_rows(view)):
        _small(picture, name, left, y + line * LINE)
        colour = RESOLVED if name == "doubts" and doubts(view) else TEXT
        wide = WIDTH - MARGIN - left - NAME_WIDTH
        place = left + NAME_WIDTH, y + line * LINE
        write(picture, text, *place, height=TEXT_HEIGHT, colour=colour, width=wide)

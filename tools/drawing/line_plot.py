"""Small line plots of percentages for picture pages."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dscsnet.engines.array_types import Float
from dscsnet.tools.drawing.canvas import (
    FRACTION_BITS,
    QUIET,
    TEXT,
    Colour,
    Picture,
    text_width,
    write,
)

LEFT, RIGHT, TOP, BOTTOM = 52, 24, 70, 36  # margins of the axes, px
LABEL = 16
GRID: Colour = (70, 62, 56)


@dataclass(frozen=True, eq=False)
class Line:
    """One curve.

    Attributes:
        x: (n,) ascending; the axis reaches from the first to the last.
        values: (n,) percent; NaN is left out.
        labels: (n,) of the points on the horizontal axis.
    """

    name: str
    colour: Colour
    x: Float
    values: Float
    labels: tuple[str, ...]


def draw_plot(view: Picture, title: str, lines: Sequence[Line]) -> None:
    """Fill a view with curves over one horizontal axis; the vertical one is 0 to 100."""
    height, width = view.shape[:2]
    write(view, title, LEFT, 22, height=18, colour=TEXT, width=width - LEFT - RIGHT)
    axis = lines[0].x
    span = max(float(axis[-1] - axis[0]), 1e-12)

    def column(x: float) -> float:
        return LEFT + (x - float(axis[0])) / span * (width - LEFT - RIGHT)

    def row(value: float) -> float:
        return TOP + (1 - value / 100) * (height - TOP - BOTTOM)

    for percent in range(0, 101, 20):
        y = round(row(percent))
        cv2.line(view, (LEFT, y), (width - RIGHT, y), GRID, 1)
        label = str(percent)
        write(view, label, LEFT - 8 - text_width(label, LABEL), y + 5, height=LABEL, colour=QUIET)
    for x, label in zip(axis, lines[0].labels, strict=True):
        start = column(x) - text_width(label, LABEL) / 2
        write(view, label, start, height - 12, height=LABEL, colour=QUIET)
    start = float(LEFT)
    for line in lines:
        write(view, line.name, start, 48, height=LABEL, colour=line.colour)
        start += text_width(line.name, LABEL) + 24
        points = [(column(x), row(v)) for x, v in zip(line.x, line.values, strict=True)]
        _draw_line(view, points, line.colour)


def _draw_line(view: Picture, points: list[tuple[float, float]], colour: Colour) -> None:
    there = np.array([point for point in points if np.isfinite(point[1])]).reshape(-1, 1, 2)
    fixed = np.rint(there * 2**FRACTION_BITS).astype(np.int32)
    cv2.polylines(view, [fixed], False, colour, 2, cv2.LINE_AA, FRACTION_BITS)
    for x, y in fixed[:, 0]:
        center, radius = (int(x), int(y)), 4 * 2**FRACTION_BITS
        cv2.circle(view, center, radius, colour, -1, cv2.LINE_AA, FRACTION_BITS)

"""Small line plots of percentages for picture pages."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dscsnet.engines.array_types import Float
from dscsnet.tools.drawing.axes import Axes, curve, points
from dscsnet.tools.drawing.canvas import QUIET, TEXT, Colour, Picture, text_width, write

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
    place = (LEFT, TOP, width - LEFT - RIGHT, height - TOP - BOTTOM)
    first, last = float(lines[0].x[0]), float(lines[0].x[-1])
    axes = Axes(place, (first, max(last, first + 1e-12)), (0.0, 100.0))
    write(view, title, LEFT, 22, height=18, colour=TEXT, width=place[2])
    for percent in (0, 20, 40, 60, 80, 100):
        y, label = round(axes.row(percent)), str(percent)
        cv2.line(view, (LEFT, y), (width - RIGHT, y), GRID, 1)
        write(view, label, LEFT - 8 - text_width(label, LABEL), y + 5, height=LABEL, colour=QUIET)
    for x, label in zip(lines[0].x, lines[0].labels, strict=True):
        start = axes.column(x) - text_width(label, LABEL) / 2
        write(view, label, start, height - 12, height=LABEL, colour=QUIET)
    start = float(LEFT)
    for line in lines:
        write(view, line.name, start, 48, height=LABEL, colour=line.colour)
        start += text_width(line.name, LABEL) + 24
        there = np.isfinite(line.values)
        curve(view, axes, line.x[there], line.values[there], line.colour)
        points(view, axes, line.x[there], line.values[there], line.colour, 4)

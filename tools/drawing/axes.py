"""Small plots with OpenCV: bars, points, a curve, and the axes around them."""

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
    whole,
    write,
)

LABEL = 14
TICKS = 5


@dataclass(frozen=True)
class Axes:
    """Where a plot lies and what it shows.

    Attributes:
        place: left, top, width, height, px of the picture.
        x, y: ranges of the values shown.
    """

    place: tuple[int, int, int, int]
    x: tuple[float, float]
    y: tuple[float, float]

    def column(self, value: float) -> float:
        """Picture px of one value along x."""
        return float(self.columns(np.array(value)))

    def row(self, value: float) -> float:
        """Picture px of one value along y."""
        return float(self.rows(np.array(value)))

    def columns(self, values: Float) -> Float:
        """Picture px of values along x."""
        left, _, width, _ = self.place
        return left + (np.asarray(values, float) - self.x[0]) / (self.x[1] - self.x[0]) * width

    def rows(self, values: Float) -> Float:
        """Picture px of values along y, upwards."""
        _, top, _, height = self.place
        share = (np.asarray(values, float) - self.y[0]) / (self.y[1] - self.y[0])
        return top + height - share * height


def bars(picture: Picture, axes: Axes, edges: Float, values: Float, colour: Colour) -> None:
    """Draw a histogram: n + 1 edges, n values."""
    columns, base = np.rint(axes.columns(edges)).astype(int), axes.place[1] + axes.place[3]
    for left, right, top in zip(columns, columns[1:], np.rint(axes.rows(values)), strict=False):
        if top < base:
            picture[int(max(top, axes.place[1])) : base, left : max(right - 1, left + 1)] = colour


def points(picture: Picture, axes: Axes, x: Float, y: Float, colour: Colour, radius: int) -> None:
    """Draw dots; those beyond the axes are left out."""
    inside = (x >= axes.x[0]) & (x <= axes.x[1]) & (y >= axes.y[0]) & (y <= axes.y[1])
    for column, row in zip(axes.columns(x[inside]), axes.rows(y[inside]), strict=True):
        center = whole(column), whole(row)
        cv2.circle(picture, center, whole(radius), colour, -1, cv2.LINE_AA, FRACTION_BITS)


def curve(picture: Picture, axes: Axes, x: Float, y: Float, colour: Colour) -> None:
    """Draw a line through points; it ends where the axes do."""
    left, top, width, height = axes.place
    path = np.stack([axes.columns(x) - left, axes.rows(y) - top], axis=1)
    fixed = np.rint(path * 2**FRACTION_BITS).astype(np.int32)
    view = picture[top : top + height + 1, left : left + width + 1]
    cv2.polylines(view, [fixed], False, colour, 2, cv2.LINE_AA, FRACTION_BITS)


def frame_axes(picture: Picture, axes: Axes, below: str, above: str) -> None:
    """Draw the frame, ticks at round numbers, and what the axes are."""
    left, top, width, height = axes.place
    cv2.rectangle(picture, (left, top), (left + width, top + height), QUIET, 1)
    for value in ticks(*axes.x):
        column, text = axes.column(value), f"{value:.4g}"
        x = column - text_width(text, LABEL) / 2
        write(picture, text, x, top + height + 20, height=LABEL, colour=QUIET)
        cv2.line(picture, (round(column), top + height), (round(column), top + height + 4), QUIET)
    for value in ticks(*axes.y):
        row, text = axes.row(value), f"{value:.4g}"
        x = left - 8 - text_width(text, LABEL)
        write(picture, text, x, row + 5, height=LABEL, colour=QUIET)
        cv2.line(picture, (left - 4, round(row)), (left, round(row)), QUIET)
    write(picture, below, left, top + height + 44, height=16, colour=TEXT, width=width)
    write(picture, above, left, top - 8, height=16, colour=TEXT, width=width)


def ticks(low: float, high: float) -> Float:
    """Round numbers within a range, about five."""
    step = (high - low) / TICKS
    power = 10.0 ** np.floor(np.log10(step))
    nice = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= step)
    return np.arange(np.ceil(low / nice), np.floor(high / nice) + 0.5) * nice

"""What one panel of the picture shows: a part of a crop enlarged, and its targets' marks.

Pixels are squares; positions are panel px unless they are said to be the crop's.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dscsnet.engines.array_types import Float
from dscsnet.tools.drawing.canvas import (
    BACKGROUND,
    RESOLVED,
    TEXT,
    TRUTH,
    Box,
    Colour,
    Picture,
    ellipse,
    overlap,
    text_width,
    write,
)
from dscsnet.tools.show.crops import CropView

PANEL = 264  # side of an enlarged crop, picture px
TEXT_HEIGHT = 17
RESIDUAL_LIMIT = 5.0  # noise sigmas at full colour
NEUTRAL: Colour = (58, 52, 48)  # a residual of zero
LEAST_WINDOW = 2.0  # side of the targets' panel, px
AROUND = 0.6  # px about the outermost ellipse
WIDEST = 1.5  # px of an ellipse that the targets' panel makes room for
FILLED_SHARE = 0.6  # of the colour in a 1-sigma ellipse
CLEARANCE = 5.0  # of a number from a target, panel px

Window = tuple[float, float, float]  # left and top edge, side: crop px


def targets_window(view: CropView) -> Window:
    """The square that the targets' panel shows: all targets with their 2-sigma ellipses, if small.

    Without a target it is the whole crop.
    """
    found, size = view.estimates, len(view.observed)
    if not len(found.x):
        return (-0.5, -0.5, float(size))
    spans = []
    for place, sigma in ((found.x, found.sigma_x), (found.y, found.sigma_y)):
        reach = np.minimum(2 * np.nan_to_num(sigma), WIDEST) + AROUND
        spans.append((float((place - reach).min()), float((place + reach).max())))
    side = min(max(LEAST_WINDOW, *(high - low for low, high in spans)), float(size))
    left, top = (min(max((low + high - side) / 2, -0.5), size - 0.5 - side) for low, high in spans)
    return (left, top, side)


def squares(colours: Picture, window: Window) -> Picture:
    """Enlarge a part of a crop to (PANEL, PANEL, 3), every pixel a square."""
    left, top, side = window
    steps = (np.arange(PANEL) + 0.5) * side / PANEL
    last = len(colours) - 1
    column, row = (
        np.clip(np.floor(first + steps + 0.5).astype(int), 0, last) for first in (left, top)
    )
    enlarged: Picture = colours[row[:, None], column[None, :]]
    return enlarged


def residual_colours(residual: Float) -> Picture:
    """Blue where the observed is below the reconstruction, orange above, grey between or NaN."""
    share = np.clip(np.nan_to_num(residual) / RESIDUAL_LIMIT, -1, 1)[:, :, None]
    ends = np.where(share < 0, np.array(TRUTH), np.array(RESOLVED))
    mixed = np.array(NEUTRAL) + np.abs(share) * (ends - np.array(NEUTRAL))
    return np.rint(mixed).astype(np.uint8)


def place_in(window: Window, x: float, y: float) -> tuple[float, float]:
    """Where a position in crop px lies in a panel, panel px."""
    left, top, side = window
    zoom = PANEL / side
    return (x - left) * zoom - 0.5, (y - top) * zoom - 0.5


@dataclass(frozen=True)
class Mark:
    """Where a target lies in a panel, and half the axes of its 1-sigma ellipse; panel px."""

    x: float
    y: float
    wide: float
    high: float

    def touches(self, box: Box, sigmas: float) -> bool:
        """Whether a box reaches into the ellipse of so many sigmas, or to the target's dot."""
        near_x, near_y = min(max(self.x, box[0]), box[2]), min(max(self.y, box[1]), box[3])
        across = max(sigmas * self.wide, CLEARANCE)
        down = max(sigmas * self.high, CLEARANCE)
        return math.hypot((near_x - self.x) / across, (near_y - self.y) / down) < 1


def marks_of(view: CropView, window: Window) -> list[Mark]:
    """The targets of a view in its panel; no width where the sigmas are unknown."""
    found, zoom = view.estimates, PANEL / window[2]
    wide, high = (zoom * np.nan_to_num(sigma) for sigma in (found.sigma_x, found.sigma_y))
    columns = (found.x, found.y, wide, high)
    return [
        Mark(*place_in(window, x, y), float(across), float(down))
        for x, y, across, down in zip(*columns, strict=True)
    ]


def draw_marks(panel: Picture, marks: Sequence[Mark]) -> None:
    """1-sigma ellipses filled, 2-sigma ones as lines, a dot at each target, numbers beside it."""
    for mark in marks:
        draw_error(panel, mark)
    for mark in marks:
        ellipse(panel, mark.x, mark.y, 1.5, 1.5, TEXT, cv2.FILLED)
    labels: list[Box] = []
    for number, mark in enumerate(marks, 1):
        labels.append(place_number(mark, str(number), marks, labels))
        left, _, _, bottom = labels[-1]
        place = left + 1, bottom - 4
        write(panel, str(number), *place, height=TEXT_HEIGHT, colour=TEXT, bold=True, rim=True)


def draw_error(picture: Picture, mark: Mark) -> None:
    """The 1- and 2-sigma ellipses of one target."""
    if not (mark.wide > 0 and mark.high > 0):
        return
    filled = picture.copy()
    ellipse(filled, mark.x, mark.y, mark.wide, mark.high, RESOLVED, cv2.FILLED)
    picture[:] = cv2.addWeighted(filled, FILLED_SHARE, picture, 1 - FILLED_SHARE, 0)
    for shade, thickness in ((BACKGROUND, 3), (RESOLVED, 1)):
        ellipse(picture, mark.x, mark.y, 2 * mark.wide, 2 * mark.high, shade, thickness)


def place_number(mark: Mark, text: str, marks: Sequence[Mark], labels: Sequence[Box]) -> Box:
    """Where a target's number fits: near it, in the panel, clear of ellipses and other numbers."""
    wide, high = text_width(text, TEXT_HEIGHT, bold=True) + 2, TEXT_HEIGHT
    boxes = [
        (x - wide / 2, y - high / 2, x + wide / 2, y + high / 2)
        for x, y in _around(mark, wide / 2, high / 2)
    ]
    inside = [box for box in boxes if min(box[:2]) >= 0 and max(box[2:]) < PANEL] or boxes
    apart = [box for box in inside if not any(overlap(box, other) for other in labels)] or inside
    # Where it is too crowded to keep out of every ellipse, the inner ones are kept clear at least.
    for sigmas in (2.0, 1.0, 0.0):
        for box in apart:
            if not any(other.touches(box, sigmas) for other in marks):
                return box
    return apart[0]


def _around(mark: Mark, half_wide: float, half_high: float) -> Iterator[tuple[float, float]]:
    """Centres for a number, nearest first: outside the 2-sigma ellipse unless that is large."""
    across = min(max(2 * mark.wide, CLEARANCE), 50.0)
    down = min(max(2 * mark.high, CLEARANCE), 50.0)
    for further in (0, 6, 12, 20, 30, 44):
        for angle in np.deg2rad((-45, 45, -135, 135, 0, 180, -90, 90)):
            x = mark.x + math.cos(angle) * (across + further + half_wide + 2)
            y = mark.y + math.sin(angle) * (down + further + half_high)
            yield x, y

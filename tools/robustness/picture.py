"""The battery at a glance: a line for each situation, green to red, the models side by side."""

import cv2
import numpy as np

from dscsnet.tools.drawing.canvas import BACKGROUND, Colour, Picture, write
from dscsnet.tools.robustness.battery import Report
from dscsnet.tools.robustness.measure import Row

#: Sizes, px.
LINE, MARGIN, NAME, CELL = 20, 24, 430, 78
#: What is drawn of each model: title, and the share that is bad from 0 (green) to `WORST` (red).
WORST = 0.1
GOOD, BAD = np.array((96, 160, 60)), np.array((60, 60, 200))  # blue, green, red


def draw_report(report: Report) -> Picture:
    """One picture: spots with a wrong number, and those that are wrong without a flag, in %."""
    names = list(dict.fromkeys((row.group, row.name) for row in report.rows))
    by_place = {(row.group, row.name, row.model): row for row in report.rows}
    width = 2 * MARGIN + NAME + 2 * CELL * len(report.models)
    picture: Picture = np.full(
        (2 * MARGIN + LINE * (len(names) + 2), width, 3), BACKGROUND, np.uint8
    )
    write(
        picture, "wrong number, and wrong without a flag, %", MARGIN, MARGIN, height=15, bold=True
    )
    for place, model in enumerate(report.models):
        left = MARGIN + NAME + 2 * CELL * place
        write(picture, model, left, MARGIN + LINE, height=14, width=2 * CELL - 8)
    for line, (group, name) in enumerate(names, 2):
        top = MARGIN + LINE * line
        write(picture, f"{group}, {name}", MARGIN, top, height=14, width=NAME - 8)
        for place, model in enumerate(report.models):
            row = by_place.get((group, name, model))
            if row is not None:
                _draw_row(picture, row, MARGIN + NAME + 2 * CELL * place, top)
    return picture


def _draw_row(picture: Picture, row: Row, left: int, base: int) -> None:
    for place, share in enumerate((1 - row.right, row.silent)):
        corner = left + CELL * place
        box = (corner, base - LINE + 6), (corner + CELL - 6, base + 4)
        cv2.rectangle(picture, *box, colour_of(share), cv2.FILLED)
        write(picture, f"{100 * share:.1f}", corner + 6, base, height=14, width=CELL - 16)


def colour_of(share: float) -> Colour:
    """Green for none, red from `WORST` on."""
    part = min(share / WORST, 1.0)
    blue, green, red = (GOOD + part * (BAD - GOOD)).round().astype(int).tolist()
    return blue, green, red

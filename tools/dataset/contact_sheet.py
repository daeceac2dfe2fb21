"""A contact sheet of a data set: crops by number of targets, with their true positions."""

import math

import cv2
import numpy as np
import torch

from dscsnet.tools.drawing.canvas import (
    BACKGROUND,
    QUIET,
    TRUTH,
    Picture,
    magnified,
    ring,
    stretch,
    write,
)
from dscsnet.tools.simulation.scenes import Scenes

COLUMNS, ROWS = 8, 8
SIDE = 132  # of an enlarged crop, px of the sheet
GAP, HEAD, LABEL = 12, 56, 26
RADIUS = 5.0


def draw_sheet(scenes: Scenes, title: str) -> Picture:
    """One row for each number of targets, the fewest first: its first crops, rings at the truth.

    Of each crop the central square that holds all targets is shown, stretched from its faintest to
    its brightest pixel. At most `ROWS` rows of `COLUMNS` crops.
    """
    size, reach = scenes.crops.shape[-1], _reach(scenes)
    shown = 2 * reach + 1
    title = f"{title}, {size}x{size} px, central {shown}x{shown} shown; rings: true targets"
    counts = scenes.present.sum(1).numpy()
    numbers = np.unique(counts)[:ROWS].tolist()
    height = HEAD + len(numbers) * (LABEL + SIDE + GAP)
    width = GAP + COLUMNS * (SIDE + GAP)
    sheet = np.full((height, width, 3), BACKGROUND, np.uint8)
    write(sheet, title, GAP, 36, height=24, bold=True, width=width - 2 * GAP)
    for row, number in enumerate(numbers):
        chosen = np.flatnonzero(counts == number)
        top = HEAD + row * (LABEL + SIDE + GAP)
        label = f"{number} target{'' if number == 1 else 's'}: {len(chosen)} crops"
        write(sheet, label, GAP, top + 14, height=17, colour=QUIET)
        for column, index in enumerate(chosen[:COLUMNS].tolist()):
            left = GAP + column * (SIDE + GAP)
            view = sheet[top + LABEL : top + LABEL + SIDE, left : left + SIDE]
            _draw_crop(view, scenes, index, reach)
    return sheet


def _reach(scenes: Scenes) -> int:
    """Pixels to show on each side of the central one: those with targets, and one more."""
    center = scenes.crops.shape[-1] // 2
    off = torch.maximum((scenes.x - center).abs(), (scenes.y - center).abs()).max().item()
    return min(center, math.ceil(off) + 1)


def _draw_crop(view: Picture, scenes: Scenes, index: int, reach: int) -> None:
    first = scenes.crops.shape[-1] // 2 - reach
    inner = np.s_[first : first + 2 * reach + 1]
    crop = scenes.crops[index].double().numpy()[inner, inner]
    grey = stretch(crop, float(crop.min()), float(crop.max()), 0.8)
    view[:] = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    zoom = SIDE / len(crop)
    present = scenes.present[index]
    for x, y in zip(scenes.x[index][present], scenes.y[index][present], strict=True):
        column, row = (magnified(p.item(), zoom, first) for p in (x, y))
        ring(view, column, row, RADIUS, TRUTH)

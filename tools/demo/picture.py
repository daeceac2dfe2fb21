"""The demo's picture: a frame with its candidates, and some of them enlarged with the targets.

Nothing here knows which answers are good: frame and spots are chosen by what the detector reported
and by the number of true targets, not by how well these were resolved.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dscsnet.pipeline.messages import Targets
from dscsnet.tools.demo.enlarged_spot import (
    CROSS_REACH,
    RING_RADIUS,
    SIDE,
    Pixels,
    draw_crop,
    enlarge,
    write_caption,
)
from dscsnet.tools.demo.scene_truth import TrueFrame
from dscsnet.tools.demo.scoring import CLUSTER_REACH, FOUND_RADIUS, Outcome, score_frame
from dscsnet.tools.drawing.canvas import (
    BACKGROUND,
    BOX,
    QUIET,
    RESOLVED,
    TRUTH,
    Box,
    Picture,
    cross,
    magnified,
    outline,
    overlap,
    ring,
    stretch,
    text_width,
    write,
)
from dscsnet.tools.measures.matching import distances

MARGIN = 26
HEAD = 92  # height of title and subtitle above the panels
FRAME_WIDTH = 960
COLUMNS, SPOTS = 3, 6
CAPTION = 68  # height below a crop
LEGEND = 40
BOX_SIZE = 15.0  # side of a candidate's box, frame px
LABEL = 15  # height of its number


def choose_frame(truth: Sequence[TrueFrame], answers: Sequence[Targets | None]) -> int | None:
    """Return the frame to show: the most true clusters reported, then nearest to the middle.

    Args:
        truth, answers: of the same frames, in order.

    Returns:
        The index, or None where no frame was unmixed.
    """
    middle = len(truth) / 2
    ranked = [
        (-_reported_clusters(true, answer), abs(index - middle), index)
        for index, (true, answer) in enumerate(zip(truth, answers, strict=True))
        if answer is not None and answer.status == "ok"
    ]
    return min(ranked)[2] if ranked else None


def _reported_clusters(truth: TrueFrame, answer: Targets) -> int:
    near = _near_spot(truth, answer).any(axis=1)
    return len(set(np.array(truth.targets.cluster)[near].tolist()))


def _near_spot(truth: TrueFrame, answer: Targets) -> NDArray[np.bool_]:
    """Whether a true target belongs to a candidate: (targets, spots)."""
    true, spots = (truth.targets.x, truth.targets.y), (answer.spots.x, answer.spots.y)
    return distances(true, spots) <= CLUSTER_REACH


def choose_spots(truth: TrueFrame, answer: Targets, number: int = SPOTS) -> list[int]:
    """Return candidates with as many different numbers of true targets as can be, fewest first.

    Among candidates with the same number the choice goes by the number of their cluster in the
    scene, which says nothing of its brightness.
    """
    near = _near_spot(truth, answer)
    clusters = np.array(truth.targets.cluster, int)
    waiting = [
        (int(near[:, spot].sum()), int(clusters[near[:, spot]].min()), spot)
        for spot in np.flatnonzero(near.any(axis=0)).tolist()
    ]
    chosen: list[tuple[int, int, int]] = []
    while waiting and len(chosen) < number:
        # One of each number in turn, the larger ones first: they show more.
        numbers = sorted({entry[0] for entry in waiting}, reverse=True)
        turn = [min(entry for entry in waiting if entry[0] == each) for each in numbers]
        chosen += turn[: number - len(chosen)]
        waiting = [entry for entry in waiting if entry not in turn]
    return [spot for _, _, spot in sorted(chosen)]


def draw_picture(pixels: Pixels, truth: TrueFrame, answer: Targets, title: str) -> Picture:
    """Draw a frame beside some of its candidates enlarged.

    Args:
        pixels: (height, width) counts.
        truth, answer: of this frame.
        title: one line above.
    """
    frame_height = round(FRAME_WIDTH * pixels.shape[0] / pixels.shape[1])
    crops_height = LEGEND + -(-SPOTS // COLUMNS) * (SIDE + CAPTION)
    right = 2 * MARGIN + FRAME_WIDTH
    width = right + COLUMNS * (SIDE + MARGIN)
    height = HEAD + max(frame_height, crops_height) + MARGIN
    picture = np.full((height, width, 3), BACKGROUND, np.uint8)
    wide = width - 2 * MARGIN
    write(picture, title, MARGIN, 40, height=27, bold=True, width=wide)
    write(picture, subtitle(truth, answer), MARGIN, 72, height=18, colour=QUIET, width=wide)
    shown = choose_spots(truth, answer)
    view = picture[HEAD : HEAD + frame_height, MARGIN : MARGIN + FRAME_WIDTH]
    _draw_frame(view, pixels, answer, shown)
    _draw_legend(picture, right, HEAD + 16)
    for place, spot in enumerate(shown):
        row, column = divmod(place, COLUMNS)
        x, y = right + column * (SIDE + MARGIN), HEAD + LEGEND + row * (SIDE + CAPTION)
        enlarged = enlarge(pixels, truth, answer, spot)
        draw_crop(picture[y : y + SIDE, x : x + SIDE], enlarged)
        write_caption(picture, x, y + SIDE, enlarged)
    return picture


def subtitle(truth: TrueFrame, answer: Targets) -> str:
    """Return the frame's counts in one line."""
    score = score_frame(truth, answer)
    return (
        f"{len(answer.spots)} candidate spots (boxes; orange: enlarged on the right).  "
        f"{len(score.size)} true targets: {score.count(Outcome.FOUND)} found within "
        f"{FOUND_RADIUS:g} px, {score.count(Outcome.MISSED)} missed, "
        f"{score.count(Outcome.NOT_DETECTED)} not detected upstream;  "
        f"{len(score.false_size)} false."
    )


def _draw_frame(view: Picture, pixels: Pixels, answer: Targets, shown: Sequence[int]) -> None:
    """The stretched frame; every candidate boxed and numbered, those shown enlarged brighter."""
    low, high = np.percentile(pixels, [0.5, 99.98])
    grey = stretch(pixels.astype(float), float(low), float(high), 1.2)
    height, width = view.shape[:2]
    view[:] = cv2.resize(grey, (width, height), interpolation=cv2.INTER_CUBIC)
    zoom = width / pixels.shape[1]
    boxes = [
        _box(magnified(x, zoom), magnified(y, zoom), BOX_SIZE * zoom / 2)
        for x, y in zip(answer.spots.x, answer.spots.y, strict=True)
    ]
    # The enlarged ones come last with their boxes, which then lie on top, and first with their
    # numbers, which then have the best places.
    order = sorted(range(len(boxes)), key=lambda spot: (spot in shown, spot))
    style = {spot: (RESOLVED, True) if spot in shown else (BOX, False) for spot in order}
    for spot in order:
        colour, bold = style[spot]
        outline(view, boxes[spot], colour, 2 if bold else 1)
    taken = list(boxes)
    for spot in reversed(order):
        colour, bold = style[spot]
        label = place_label(boxes[spot], str(spot), bold, taken, (width, height))
        taken.append(label)
        place = (label[0], label[3] - 3)
        write(view, str(spot), *place, height=LABEL, colour=colour, bold=bold, rim=True)


def _box(x: float, y: float, half: float) -> Box:
    return (x - half, y - half, x + half, y + half)


def place_label(
    box: Box, text: str, bold: bool, taken: Sequence[Box], size: tuple[int, int]
) -> Box:
    """Where a number fits beside its box: free of other boxes and numbers if there is a place."""
    wide, high = text_width(text, LABEL, bold=bold) + 2, LABEL + 3
    left, top, right, bottom = box
    places = [
        (left, top - high - 2),
        (right - wide, top - high - 2),
        (left, bottom + 3),
        (right - wide, bottom + 3),
        (right + 4, top),
        (left - wide - 4, top),
    ]
    candidates = [(x, y, x + wide, y + high) for x, y in places]
    inside = [
        c for c in candidates if c[0] >= 0 and c[1] >= 0 and c[2] < size[0] and c[3] < size[1]
    ]
    free = [c for c in inside if not any(overlap(c, other) for other in taken)]
    return (free or inside or candidates)[0]


def _draw_legend(picture: Picture, x: int, y: int) -> None:
    ring(picture, x + RING_RADIUS + 2, y - 6, RING_RADIUS, TRUTH)
    write(picture, "true position", x + 32, y, height=18, colour=TRUTH)
    x += 32 + text_width("true position", 18) + 44
    cross(picture, x, y - 6, CROSS_REACH, RESOLVED)
    text = "resolved target: the longer its arms, the more of its crop's intensity"
    left = picture.shape[1] - MARGIN - x - 24
    write(picture, text, x + 24, y, height=18, colour=RESOLVED, width=left)

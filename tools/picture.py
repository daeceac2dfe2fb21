"""The demo's picture: a frame with its candidates, and some of them enlarged with the targets.

Nothing here knows which answers are good: frame and spots are chosen by what the detector reported
and by the number of true targets, not by how well these were resolved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.errors import DscsnetError
from pipeline.messages import Targets
from tools.drawing import (
    BACKGROUND,
    BOX,
    QUIET,
    RESOLVED,
    TRUTH,
    Box,
    Picture,
    cross,
    outline,
    ring,
    stretch,
    text_width,
    write,
)
from tools.matching import distances, match_points
from tools.scene_truth import TrueFrame
from tools.scoring import CLUSTER_REACH, FOUND_RADIUS, Outcome, score_frame

MARGIN = 26
HEAD = 92  # height of title and subtitle above the panels
FRAME_WIDTH = 960
COLUMNS, SPOTS = 3, 6
CROP, ZOOM = 9, 32  # side of an enlarged crop, frame px; picture px a frame px
SIDE = CROP * ZOOM
CAPTION = 68  # height below a crop
LEGEND = 40
RING_RADIUS, CROSS_REACH = 10.0, 10.0
LEAST_SHARE = 0.35  # of CROSS_REACH, so that the faintest can be seen
BOX_SIZE = 15.0  # side of a candidate's box, frame px
LABEL = 15  # height of its number

Pixels = NDArray[np.uint16]


@dataclass(frozen=True)
class Enlarged:
    """What is shown of one candidate.

    Attributes:
        spot: index of the candidate.
        true: (n,) indices of the true targets in the crop.
        resolved: (m,) indices of the published targets in the crop.
        left, top: frame px of the crop's first pixel.
    """

    spot: int
    true: NDArray[np.int64]
    resolved: NDArray[np.int64]
    left: int
    top: int


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
    order = [
        (int(near[:, spot].sum()), int(clusters[near[:, spot]].min()), spot)
        for spot in range(len(answer.spots))
        if near[:, spot].any()
    ]
    chosen: list[tuple[int, int, int]] = []
    while order and len(chosen) < number:
        sizes = {size for size, _, _ in order}
        round_ = [min(entry for entry in order if entry[0] == size) for size in sorted(sizes)]
        chosen += round_[: number - len(chosen)]
        order = [entry for entry in order if entry not in round_]
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
        enlarged = _enlarge(pixels.shape, truth, answer, spot)
        _draw_crop(picture[y : y + SIDE, x : x + SIDE], pixels, truth, answer, enlarged)
        _write_caption(picture, x, y + SIDE, truth, answer, enlarged)
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


def save_picture(path: Path, picture: Picture) -> None:
    """Write a PNG file.

    Raises:
        DscsnetError: it cannot be written.
    """
    _, encoded = cv2.imencode(".png", picture)
    try:
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise DscsnetError(f"{path}: cannot be written: {error.strerror}") from None


def _draw_frame(view: Picture, pixels: Pixels, answer: Targets, shown: Sequence[int]) -> None:
    """The stretched frame; every candidate boxed and numbered, those shown enlarged brighter."""
    low, high = np.percentile(pixels, [0.5, 99.98])
    grey = stretch(pixels.astype(float), float(low), float(high), 1.2)
    height, width = view.shape[:2]
    view[:] = cv2.resize(grey, (width, height), interpolation=cv2.INTER_CUBIC)
    zoom = width / pixels.shape[1]
    boxes = [
        _box((x + 0.5) * zoom - 0.5, (y + 0.5) * zoom - 0.5, BOX_SIZE * zoom / 2)
        for x, y in zip(answer.spots.x, answer.spots.y, strict=True)
    ]
    taken = list(boxes)
    # The enlarged ones first: they get the best places for their numbers.
    for spot in sorted(range(len(boxes)), key=lambda spot: (spot not in shown, spot)):
        bright = spot in shown
        colour = RESOLVED if bright else BOX
        outline(view, boxes[spot], colour, 2 if bright else 1)
        label = _place_label(boxes[spot], str(spot), bright, taken, (width, height))
        taken.append(label)
        place = (label[0], label[3] - 3)
        write(view, str(spot), *place, height=LABEL, colour=colour, bold=bright, rim=True)


def _box(x: float, y: float, half: float) -> Box:
    return (x - half, y - half, x + half, y + half)


def _place_label(
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
    free = [c for c in inside if not any(_overlap(c, other) for other in taken)]
    return (free or inside or candidates)[0]


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _enlarge(shape: tuple[int, ...], truth: TrueFrame, answer: Targets, spot: int) -> Enlarged:
    half = CROP // 2
    left = int(np.floor(answer.spots.x[spot] + 0.5)) - half
    top = int(np.floor(answer.spots.y[spot] + 0.5)) - half
    left = min(max(left, 0), max(0, shape[1] - CROP))
    top = min(max(top, 0), max(0, shape[0] - CROP))

    def inside(x: Sequence[float], y: Sequence[float]) -> NDArray[np.int64]:
        columns, rows = np.array(x) - left, np.array(y) - top
        edge = CROP - 0.5
        return np.flatnonzero((columns > -0.5) & (columns < edge) & (rows > -0.5) & (rows < edge))

    true = inside(truth.targets.x, truth.targets.y)
    resolved = inside(answer.targets.x, answer.targets.y)
    return Enlarged(spot, true, resolved, left, top)


def _draw_crop(
    view: Picture,
    pixels: Pixels,
    truth: TrueFrame,
    answer: Targets,
    enlarged: Enlarged,
) -> None:
    """One crop, its pixels as squares: circles where targets are, crosses where published."""
    crop = pixels[enlarged.top :, enlarged.left :][:CROP, :CROP].astype(float)
    grey = stretch(crop, float(np.percentile(crop, 30)), float(crop.max()), 0.8)
    grown = cv2.resize(grey, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST)
    view[: grown.shape[0], : grown.shape[1]] = grown

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            (x - enlarged.left + 0.5) * ZOOM - 0.5,
            (y - enlarged.top + 0.5) * ZOOM - 0.5,
        )

    for index in enlarged.true:
        ring(view, *place(truth.targets.x[index], truth.targets.y[index]), RING_RADIUS, TRUTH)
    table = answer.targets
    brightest = max((table.intensity[index] for index in enlarged.resolved), default=1.0)
    for index in enlarged.resolved:
        share = max(0.0, table.intensity[index]) / max(brightest, 1e-12)
        reach = CROSS_REACH * max(LEAST_SHARE, share)
        cross(view, *place(table.x[index], table.y[index]), reach, RESOLVED)


def _write_caption(
    picture: Picture,
    x: int,
    y: int,
    truth: TrueFrame,
    answer: Targets,
    enlarged: Enlarged,
) -> None:
    lines = caption(truth, answer, enlarged)
    number = str(enlarged.spot)
    write(picture, number, x, y + 24, height=18, colour=RESOLVED, bold=True)
    indent = text_width(number, 18, bold=True) + 12
    write(picture, lines[0], x + indent, y + 24, height=18, width=SIDE - indent)
    write(picture, lines[1], x, y + 47, height=16, colour=QUIET, width=SIDE)


def caption(truth: TrueFrame, answer: Targets, enlarged: Enlarged) -> tuple[str, str]:
    """Counts, and the median errors of the targets found, in two lines."""
    true, table, rows = truth.targets, answer.targets, enlarged.true
    partner, distance = match_points(
        (np.array(true.x)[rows], np.array(true.y)[rows]),
        (np.array(table.x)[enlarged.resolved], np.array(table.y)[enlarged.resolved]),
        FOUND_RADIUS,
    )
    found = partner >= 0
    first = f"true {len(rows)}, resolved {len(enlarged.resolved)}, found {found.sum()}"
    if not found.any():
        return first, f"none found within {FOUND_RADIUS:g} px"
    published = np.array(table.intensity)[enlarged.resolved][partner[found]]
    error = np.abs(published / np.array(true.intensity)[rows][found] - 1)
    off, percent = np.median(distance[found]), 100 * np.median(error)
    second = f"median errors: {off:.3f} px, intensity {percent:.1f} %"
    return first, second


def _draw_legend(picture: Picture, x: int, y: int) -> None:
    ring(picture, x + RING_RADIUS + 2, y - 6, RING_RADIUS, TRUTH)
    write(picture, "true position", x + 32, y, height=18, colour=TRUTH)
    x += 32 + text_width("true position", 18) + 44
    cross(picture, x, y - 6, CROSS_REACH, RESOLVED)
    text = "resolved target: the longer its arms, the more of its crop's intensity"
    left = picture.shape[1] - MARGIN - x - 24
    write(picture, text, x + 24, y, height=18, colour=RESOLVED, width=left)

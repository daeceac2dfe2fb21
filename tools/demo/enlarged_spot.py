"""One candidate enlarged: its pixels as squares, its true and its resolved targets, a caption."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.pipeline.messages import Targets
from dscsnet.tools.demo.scene_truth import TrueFrame
from dscsnet.tools.demo.scoring import FOUND_RADIUS
from dscsnet.tools.drawing.canvas import (
    QUIET,
    RESOLVED,
    TRUTH,
    Picture,
    cross,
    magnified,
    ring,
    stretch,
    text_width,
    write,
)
from dscsnet.tools.measures.matching import match_points

CROP, ZOOM = 9, 32  # side of an enlarged crop, frame px; picture px a frame px
SIDE = CROP * ZOOM
RING_RADIUS, CROSS_REACH = 10.0, 10.0
LEAST_SHARE = 0.35  # of CROSS_REACH, so that the faintest target can be seen

Pixels = NDArray[np.uint16]


@dataclass(frozen=True)
class Targeted:
    """Targets in a crop as columns: frame px, counts."""

    x: Float
    y: Float
    intensity: Float


@dataclass(frozen=True)
class EnlargedSpot:
    """What is shown of one candidate.

    Attributes:
        spot: index of the candidate.
        pixels: (CROP, CROP) counts, less where the frame is smaller.
        left, top: frame px of its first pixel.
        true, resolved: the targets within it.
    """

    spot: int
    pixels: Pixels
    left: int
    top: int
    true: Targeted
    resolved: Targeted


def enlarge(pixels: Pixels, truth: TrueFrame, answer: Targets, spot: int) -> EnlargedSpot:
    """Cut a candidate out of its frame, as near to the centre of the crop as the frame allows."""
    left = _first_pixel(answer.spots.x[spot], pixels.shape[1])
    top = _first_pixel(answer.spots.y[spot], pixels.shape[0])

    def inside(x: Sequence[float], y: Sequence[float], intensity: Sequence[float]) -> Targeted:
        table = np.array([x, y, intensity], float)
        columns, rows = table[0] - left + 0.5, table[1] - top + 0.5
        within = (columns > 0) & (columns < CROP) & (rows > 0) & (rows < CROP)
        return Targeted(*table[:, within])

    crop = pixels[top : top + CROP, left : left + CROP]
    true, found = truth.targets, answer.targets
    return EnlargedSpot(
        spot,
        crop,
        left,
        top,
        inside(true.x, true.y, true.intensity),
        inside(found.x, found.y, found.intensity),
    )


def _first_pixel(position: float, size: int) -> int:
    first = int(np.floor(position + 0.5)) - CROP // 2
    return min(max(first, 0), max(0, size - CROP))


def draw_crop(view: Picture, enlarged: EnlargedSpot) -> None:
    """Fill a view of SIDE x SIDE px: circles where targets are, crosses where they were found."""
    crop = enlarged.pixels.astype(float)
    grey = stretch(crop, float(np.percentile(crop, 30)), float(crop.max()), 0.8)
    grown = cv2.resize(grey, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST)
    view[: grown.shape[0], : grown.shape[1]] = grown
    for x, y in _places(enlarged, enlarged.true):
        ring(view, x, y, RING_RADIUS, TRUTH)
    share = enlarged.resolved.intensity / max(enlarged.resolved.intensity.max(initial=0), 1e-12)
    reach = CROSS_REACH * np.maximum(LEAST_SHARE, share)
    for (x, y), arm in zip(_places(enlarged, enlarged.resolved), reach, strict=True):
        cross(view, x, y, float(arm), RESOLVED)


def _places(enlarged: EnlargedSpot, targets: Targeted) -> list[tuple[float, float]]:
    """Where targets are in the view, px."""
    x = magnified(targets.x, ZOOM, enlarged.left)
    y = magnified(targets.y, ZOOM, enlarged.top)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def write_caption(picture: Picture, x: int, y: int, enlarged: EnlargedSpot) -> None:
    """Write the candidate's number and the caption's two lines below a crop that ends at y."""
    lines = caption(enlarged)
    number = str(enlarged.spot)
    write(picture, number, x, y + 24, height=18, colour=RESOLVED, bold=True)
    indent = text_width(number, 18, bold=True) + 12
    write(picture, lines[0], x + indent, y + 24, height=18, width=SIDE - indent)
    write(picture, lines[1], x, y + 47, height=16, colour=QUIET, width=SIDE)


def caption(enlarged: EnlargedSpot) -> tuple[str, str]:
    """Return the counts, and the median errors of the targets found."""
    true, resolved = enlarged.true, enlarged.resolved
    partner, distance = match_points((true.x, true.y), (resolved.x, resolved.y), FOUND_RADIUS)
    found = partner >= 0
    counts = f"true {len(true.x)}, resolved {len(resolved.x)}, found {found.sum()}"
    if not found.any():
        return counts, f"none found within {FOUND_RADIUS:g} px"
    error = np.abs(resolved.intensity[partner[found]] / true.intensity[found] - 1)
    off, percent = np.median(distance[found]), 100 * np.median(error)
    return counts, f"median errors: {off:.3f} px, intensity {percent:.1f} %"

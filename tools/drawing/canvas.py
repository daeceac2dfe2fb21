"""Anti-aliased text and marks on a picture, with OpenCV; positions are sub-pixel.

A picture is (height, width, 3) uint8, blue, green, red. Positions are px of the picture, x to the
right, y down; integers are pixel centres.
"""

from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.errors import DscsnetError

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]
Position = TypeVar("Position", float, Float)
Box = tuple[float, float, float, float]  # left, top, right, bottom

BACKGROUND: Colour = (26, 21, 18)
TEXT: Colour = (238, 234, 230)
QUIET: Colour = (172, 160, 150)
# Blue and orange are told apart with any kind of colour vision.
TRUTH: Colour = (255, 196, 92)
RESOLVED: Colour = (40, 150, 255)
BOX: Colour = (140, 222, 140)

FRACTION_BITS = 4  # OpenCV takes positions in 1/16 px


def write(
    picture: Picture,
    text: str,
    x: float,
    y: float,
    *,
    height: int = 16,
    colour: Colour = TEXT,
    bold: bool = False,
    rim: bool = False,
    width: float | None = None,
) -> None:
    """Write one line, its baseline at y, starting at x; smaller where it would exceed `width`.

    Args:
        height: of a capital letter with what is below the baseline, px.
        rim: make it legible on bright pixels, too.
    """
    font = _font(bold)
    scale = _font_scale(text, height, width, font)
    offsets = [(-1, -1), (1, -1), (-1, 1), (1, 1), (0, 0)] if rim else [(0, 0)]
    for dx, dy in offsets:
        start = (round(x) + dx, round(y) + dy)
        shade = BACKGROUND if dx else colour
        cv2.putText(picture, text, start, font, scale, shade, 1, cv2.LINE_AA)


def _font(bold: bool) -> int:
    return cv2.FONT_HERSHEY_DUPLEX if bold else cv2.FONT_HERSHEY_SIMPLEX


def _font_scale(text: str, height: int, width: float | None, font: int) -> float:
    """OpenCV's scale for a line of this height that is no wider than `width`, px."""
    (_, capital), below = cv2.getTextSize("H", font, 1.0, 1)
    scale = height / (capital + below)
    if width is not None:
        (needed, _), _ = cv2.getTextSize(text, font, scale, 1)
        scale *= min(1.0, width / max(1, needed))
    return scale


def text_width(text: str, height: int, *, bold: bool = False) -> int:
    """Return how wide `write` makes a line, px."""
    font = _font(bold)
    (width, _), _ = cv2.getTextSize(text, font, _font_scale(text, height, None, font), 1)
    return int(width)


def ring(picture: Picture, x: float, y: float, radius: float, colour: Colour) -> None:
    """Draw a circle with a dark rim, so that it shows on bright pixels too."""
    for shade, thickness in ((BACKGROUND, 4), (colour, 2)):
        cv2.circle(
            picture, _fixed(x, y), whole(radius), shade, thickness, cv2.LINE_AA, FRACTION_BITS
        )


def cross(picture: Picture, x: float, y: float, reach: float, colour: Colour) -> None:
    """Draw an upright cross whose arms are `reach` long, with a dark rim."""
    for shade, thickness in ((BACKGROUND, 4), (colour, 2)):
        for dx, dy in ((reach, 0), (0, reach)):
            ends = _fixed(x - dx, y - dy), _fixed(x + dx, y + dy)
            cv2.line(picture, *ends, shade, thickness, cv2.LINE_AA, FRACTION_BITS)


def ellipse(
    picture: Picture, x: float, y: float, wide: float, high: float, colour: Colour, thickness: int
) -> None:
    """Draw an upright ellipse with half-axes `wide` and `high`, px; filled where so told."""
    shape = (_fixed(x, y), _fixed(wide, high), 0, 0, 360)
    cv2.ellipse(picture, *shape, colour, thickness, cv2.LINE_AA, FRACTION_BITS)


def outline(picture: Picture, box: Box, colour: Colour, thickness: int) -> None:
    """Draw a box with a dark rim."""
    corners = _fixed(box[0], box[1]), _fixed(box[2], box[3])
    for shade, wide in ((BACKGROUND, thickness + 2), (colour, thickness)):
        cv2.rectangle(picture, *corners, shade, wide, cv2.LINE_AA, FRACTION_BITS)


def magnified(position: Position, zoom: float, first: float = 0.0) -> Position:
    """Where a position of an image lies in its picture, `zoom` times as large.

    Args:
        position: px of the image.
        first: px of the image that the picture begins with.
    """
    return (position - first + 0.5) * zoom - 0.5


def stretch(pixels: NDArray[np.float64], low: float, high: float, gamma: float = 1.0) -> Picture:
    """Turn counts into grey: black at `low`, white at `high`; a gamma below 1 lifts the faint."""
    share = np.clip((pixels - low) / max(high - low, 1e-12), 0, 1) ** gamma
    grey = np.rint(255 * share).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _fixed(x: float, y: float) -> tuple[int, int]:
    return whole(x), whole(y)


def whole(value: float) -> int:
    """A position or length in OpenCV's fixed-point px."""
    return round(value * 2**FRACTION_BITS)


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


def overlap(a: Box, b: Box) -> bool:
    """Tell whether two boxes share an area."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

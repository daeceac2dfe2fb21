"""Bright, isolated, unsaturated spots of a recording, each in a window of pixels."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.pipeline.cropping.robust import MAD_TO_SIGMA
from dscsnet.pipeline.sources import SourceFrame

#: Half side of the windows that are kept; fits use as much of them as the PSF needs.
MOST_HALF = 15
#: Widths of the band-pass's two Gaussians, px: from undersampled spots to a few px wide.
NARROW_BLUR, WIDE_BLUR = 1.0, 4.0
#: Peaks of the band-passed frame, in units of its noise: what is a spot, and what is a neighbour.
SPOT_THRESHOLD, NEIGHBOUR_THRESHOLD = 8.0, 5.0
#: A neighbour with less than this share of the spot's peak is left to the test of the fit.
NEIGHBOUR_SHARE = 0.03
PEAK_REACH = 2  # px; a peak is the greatest value within this
#: Fits over all frames, and at least in each frame.
MOST_SPOTS, LEAST_A_FRAME = 4000, 20
#: Spots are of one object where they move less than this a frame, and change no more in contrast.
LINK_DISTANCE, LINK_RATIO = 3.0, 1.5


@dataclass(frozen=True)
class Spots:
    """Spots of a recording: columns of one length.

    Attributes:
        windows: (n, side, side) float64 counts, NaN beyond the frame or where a pixel is bad.
        frame: (n,) int, index of the frame.
        x, y: (n,) int, the window's centre pixel.
        contrast: (n,) peak of the band-passed frame, counts.
        clearance: (n,) int, px to the nearest neighbour or edge (the larger of |dx| and |dy|).
        saturated: (n,) bool, whether a pixel of the spot is saturated.
        track: (n,) int, number of the object that the spot is an image of.
    """

    windows: Float
    frame: NDArray[np.int64]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    contrast: Float
    clearance: NDArray[np.int64]
    saturated: NDArray[np.bool_]
    track: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of spots."""
        return len(self.frame)

    def take(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> "Spots":
        """Return some of them, as NumPy indexes."""
        return Spots(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))

    def cut(self, half: int) -> Float:
        """Return the inner (n, 2 half + 1, 2 half + 1) of the windows."""
        inner = slice(MOST_HALF - half, MOST_HALF + half + 1)
        return self.windows[:, inner, inner]


def find_spots(
    frames: Iterable[SourceFrame], frame_count: int, saturation: float | None
) -> tuple[Spots, Counter[str]]:
    """Find the spots of all frames.

    Args:
        frames: of any size and type.
        frame_count: about how many there are.
        saturation: count from which a pixel is saturated.

    Returns:
        The spots, saturated ones and such with neighbours included; peaks found and left out
        because a frame has too many.
    """
    most = max(LEAST_A_FRAME, MOST_SPOTS // max(frame_count, 1))
    parts, left_out = [_no_spots()], Counter[str]()
    previous, next_track = _no_spots(), 0
    for frame in frames:
        found, over = _frame_spots(frame, most, saturation)
        if over:
            left_out["more in one frame than are needed"] += over
        follows = bool(len(previous)) and previous.frame[0] + 1 == frame.index
        number = _link(previous, found) if follows else np.full(len(found), -1)
        fresh = number < 0
        number[fresh] = next_track + np.arange(fresh.sum())
        next_track += int(fresh.sum())
        found.track[:] = number
        parts.append(found)
        previous = found
    names = Spots.__dataclass_fields__
    spots = Spots(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    return spots, left_out


def band_pass(pixels: NDArray[np.generic]) -> tuple[NDArray[np.float32], float]:
    """Filter a frame for compact spots; return that, and its noise (both counts)."""
    image = pixels.astype(np.float32)
    good = np.isfinite(image)
    image -= np.float32(np.median(image[good])) if good.any() else np.float32(0)
    image[~good] = 0
    narrow = cv2.GaussianBlur(image, (0, 0), NARROW_BLUR)
    band = narrow - cv2.GaussianBlur(image, (0, 0), WIDE_BLUR)
    return band, MAD_TO_SIGMA * float(np.median(np.abs(band)))


def _no_spots() -> Spots:
    side, none = 2 * MOST_HALF + 1, np.zeros(0, np.int64)
    windows = np.zeros((0, side, side))
    return Spots(windows, none, none, none, np.zeros(0), none, np.zeros(0, bool), none)


def _frame_spots(frame: SourceFrame, most: int, saturation: float | None) -> tuple[Spots, int]:
    """The brightest spots of one frame, and how many more there are."""
    band, noise = band_pass(frame.pixels)
    square = np.ones((2 * PEAK_REACH + 1, 2 * PEAK_REACH + 1), np.uint8)
    # a flat frame has no noise at all: rounding must not make peaks
    noise = max(noise, 1e-6 * float(np.abs(band).max()), 1e-30)
    is_peak = (band == cv2.dilate(band, square)) & (band > NEIGHBOUR_THRESHOLD * noise)
    y, x = np.nonzero(is_peak)
    contrast = band[y, x].astype(float)
    bright = np.flatnonzero(contrast > SPOT_THRESHOLD * noise)
    bright = bright[np.argsort(-contrast[bright], kind="stable")]
    chosen = bright[:most]
    clearance = _clearance(x, y, contrast, chosen, frame.pixels.shape)
    windows = _windows(frame.pixels, x[chosen], y[chosen])
    core = windows[:, MOST_HALF - 1 : MOST_HALF + 2, MOST_HALF - 1 : MOST_HALF + 2]
    limit = np.inf if saturation is None else saturation
    saturated = np.any(core >= limit, axis=(1, 2))
    found = Spots(
        windows,
        np.full(len(chosen), frame.index),
        x[chosen],
        y[chosen],
        contrast[chosen],
        clearance,
        saturated,
        np.zeros(len(chosen), np.int64),
    )
    return found, len(bright) - len(chosen)


def _clearance(
    x: NDArray[np.intp],
    y: NDArray[np.intp],
    contrast: Float,
    chosen: NDArray[np.intp],
    shape: tuple[int, ...],
) -> NDArray[np.int64]:
    """Pixels to the nearest other peak that matters, or to the edge."""
    height, width = shape
    nearest = np.empty(len(chosen), np.int64)
    for place, spot in enumerate(chosen):
        edge = min(x[spot], y[spot], width - 1 - x[spot], height - 1 - y[spot])
        apart = np.maximum(np.abs(x - x[spot]), np.abs(y - y[spot]))
        apart[contrast < NEIGHBOUR_SHARE * contrast[spot]] = width + height
        apart[spot] = width + height
        nearest[place] = min(edge, apart.min())
    return nearest


def _windows(pixels: NDArray[np.generic], x: NDArray[np.intp], y: NDArray[np.intp]) -> Float:
    side = 2 * MOST_HALF + 1
    padded = np.pad(pixels.astype(np.float64), MOST_HALF, constant_values=np.nan)
    windows = np.empty((len(x), side, side))
    for window, column, row in zip(windows, x, y, strict=True):
        window[:] = padded[row : row + side, column : column + side]
    windows[~np.isfinite(windows)] = np.nan
    return windows


def _link(previous: Spots, found: Spots) -> NDArray[np.int64]:
    """Object of each spot that is the nearest of one in the frame before, and it of it; else -1."""
    number = np.full(len(found), -1)
    if not len(found):
        return number
    apart = np.hypot(previous.x[:, None] - found.x, previous.y[:, None] - found.y)
    ratio = np.abs(np.log(previous.contrast[:, None] / found.contrast))
    apart[(apart > LINK_DISTANCE) | (ratio > np.log(LINK_RATIO))] = np.inf
    before = apart.argmin(axis=0)
    mutual = apart.argmin(axis=1)[before] == np.arange(len(found))
    mutual &= np.isfinite(apart.min(axis=0))
    number[mutual] = previous.track[before[mutual]]
    return number

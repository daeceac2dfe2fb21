"""A classical spot detector: filter, local constant-false-alarm threshold, grouping.

1. Bad pixels are filled from their neighbours, the frame is filtered (matched filter or top-hat).
2. The background of a pixel is the mean of a square ring around it; its noise is the median over
   5x5 tiles of the tiles' root mean square. Objects larger than the ring's hole would hide
   themselves and their neighbourhood: they are found first and left out of both.
3. Pixels above background by `threshold` times the noise are grouped, parts with a small gap too;
   of each group the centroid, the peak and the extent are kept.

Pixel convention: x is the column, y the row; integers are pixel centres.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dscsnet.detector_stub.background import (
    Image,
    large_objects,
    ring_mean,
    tile_means,
    tile_medians,
    weighted_ring_mean,
)
from dscsnet.detector_stub.config import SpotSettings
from dscsnet.engines.array_types import Mask
from dscsnet.engines.errors import DscsnetError
from dscsnet.engines.table import Table

FILL_SIZE = 7  # px; bad pixels take the mean of the good ones in a square of this side
QUANTISATION = 0.29  # standard deviation of rounding to whole counts
BEYOND = 1e12  # times the frame's typical count
LARGEST = 1e30  # counts; a float beyond this is no measurement
USUAL = (1e-3, 1e12)  # largest count of frames that are taken as they are; others are scaled
FLOAT_RESOLUTION = 2**-23 * QUANTISATION  # rounding of float32, as a fraction of the largest value
SMALLEST = 1e-18  # counts; float32 still holds its square
SHARE = np.float32(0.1)  # of a tile's pixels, for its noise to be trusted


class FrameError(DscsnetError):
    """A frame that the detector cannot work on; the message says what was expected."""


@dataclass(frozen=True, eq=False, repr=False)
class Candidates(Table):
    """Candidate spots, strongest first: columns of equal length, float64.

    Attributes:
        x, y: (n,) centroid, px.
        score: (n,) greatest contrast over local noise.
        width, height: (n,) extent of the pixels above threshold in the filtered frame, px.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    score: NDArray[np.float64]
    width: NDArray[np.float64]
    height: NDArray[np.float64]

    @classmethod
    def empty(cls) -> "Candidates":
        """Return no candidates."""
        return cls(*np.zeros((5, 0)))


class SpotDetector:
    """Finds candidate spots in single frames; keeps nothing from one frame to the next.

    Args:
        settings: filters and thresholds.

    Attributes:
        left_out: candidates of the last frame beyond `max_candidates`, the weakest.
    """

    def __init__(self, settings: SpotSettings) -> None:
        self._settings = settings
        self.left_out = 0

    def detect(
        self,
        pixels: NDArray[Any],
        bad_pixels: Mask | None = None,
        saturation: float | None = None,
    ) -> Candidates:
        """Find the candidates of one frame.

        Args:
            pixels: (height, width) uint8, uint16 or float32 counts; NaN and infinity are bad.
            bad_pixels: (height, width) bool, True where a pixel is not to be used.
            saturation: count from which a pixel is saturated.

        Raises:
            FrameError: the frame is not an image, or the mask has another shape.
        """
        self.left_out = 0
        good = _good_pixels(pixels, bad_pixels)
        if not good.any():
            return Candidates.empty()
        pixels, saturation = _scaled(pixels, good, saturation)
        image = _filled(pixels, good)
        response = self._filter(image)
        least = _least_noise(pixels, good)
        usable = None if good.all() else good
        contrast, tiles = self._contrast(response, usable, _saturated(pixels, saturation), least)
        floor = self._settings.noise_floor * float(np.median(tiles))
        tiles = np.maximum(tiles, max(floor, least))
        noise = tile_medians(tiles, self._settings.noise_tile, pixels.shape)
        above = (contrast >= self._settings.threshold * noise) & good
        return self._select(_group(contrast, noise, above, self._settings.link_gap), pixels.shape)

    def _filter(self, image: Image) -> Image:
        settings = self._settings
        smooth = cv2.GaussianBlur(image, (0, 0), settings.psf_sigma)
        if settings.method == "matched":
            return smooth
        white = settings.method == "white_tophat"
        operation = cv2.MORPH_TOPHAT if white else cv2.MORPH_BLACKHAT
        square = np.ones((settings.tophat_size, settings.tophat_size), np.uint8)
        return cv2.morphologyEx(smooth, operation, square)

    def _contrast(
        self, response: Image, usable: Mask | None, saturated: Mask | None, least: float
    ) -> tuple[Image, Image]:
        """Response above the local background, (height, width), and its noise in each tile."""
        ring, guard, tile = (
            self._settings.ring_size, self._settings.guard_size, self._settings.noise_tile
        )  # fmt: skip
        contrast = response - ring_mean(response, ring, guard)
        power = tile_means(np.square(contrast), tile)
        typical = max(least, math.sqrt(np.median(power)))
        bright = self._settings.object_contrast * typical
        objects = large_objects(response, bright, saturated, guard, self._settings.max_size)
        if objects is not None or usable is not None:
            weight = _weights(response.shape, objects, usable)
            contrast = response - weighted_ring_mean(response, weight, ring, guard)
            share = tile_means(weight, tile)
            power = cv2.divide(
                tile_means(np.square(contrast) * weight, tile), np.maximum(share, SHARE)
            )
            power[share < SHARE] = typical**2
        return contrast, np.sqrt(power)

    def _select(self, found: Candidates, shape: tuple[int, ...]) -> Candidates:
        settings = self._settings
        right, bottom = shape[1] - 1 - settings.border, shape[0] - 1 - settings.border
        keep = np.maximum(found.width, found.height) <= settings.max_size
        keep &= (found.x >= settings.border) & (found.x <= right)
        keep &= (found.y >= settings.border) & (found.y <= bottom)
        kept = found.take(keep)
        self.left_out = max(len(kept) - settings.max_candidates, 0)
        return kept.take(np.argsort(-kept.score, kind="stable")[: settings.max_candidates])


def _good_pixels(pixels: NDArray[Any], bad_pixels: Mask | None) -> Mask:
    """Check the frame; return (height, width) bool, True where it can be used."""
    if pixels.ndim != 2 or pixels.size == 0:
        raise FrameError(f"pixels: expected (height, width), got shape {pixels.shape}")
    if bad_pixels is not None and bad_pixels.shape != pixels.shape:
        got = f"the mask is {bad_pixels.shape} and the frame {pixels.shape}"
        raise FrameError(f"bad_pixels: expected the frame's (height, width), but {got}")
    good = np.ones(pixels.shape, bool)
    if pixels.dtype.kind == "f":
        size = np.abs(pixels)
        good = size < LARGEST  # which a NaN is not
        if size.max(where=good, initial=0) > USUAL[1]:
            # A pixel that is so far beyond all others, and no measurement, would scale them to 0.
            good &= size <= BEYOND * np.median(size[good])
    return good if bad_pixels is None else good & ~bad_pixels


def _saturated(pixels: NDArray[Any], saturation: float | None) -> Mask | None:
    return None if saturation is None else np.greater_equal(pixels, saturation)


def _scaled(
    pixels: NDArray[Any], good: Mask, saturation: float | None
) -> tuple[NDArray[Any], float | None]:
    """Counts near one where they are so large or small that squares would be lost: exact."""
    if pixels.dtype.kind != "f":
        return pixels, saturation
    largest = float(np.abs(pixels).max(where=good, initial=0))
    if largest == 0 or USUAL[0] <= largest <= USUAL[1]:
        return pixels, saturation
    exponent = math.frexp(largest)[1]
    scaled = np.ldexp(np.where(good, pixels, 0), -exponent)
    return scaled, None if saturation is None else math.ldexp(saturation, -exponent)


def _filled(pixels: NDArray[Any], good: Mask) -> Image:
    """Float32 frame about a typical value, bad pixels filled from the good ones."""
    image = pixels.astype(np.float32)
    if good.all():
        # near zero float32 resolves more; any one pixel will do, and keeps a flat frame flat
        image -= image[image.shape[0] // 2, image.shape[1] // 2]
        return image
    image -= np.median(image[good])
    image[~good] = 0
    size = (FILL_SIZE, FILL_SIZE)
    share = cv2.blur(good.astype(np.float32), size)
    mean = cv2.blur(image, size)
    image[~good] = (mean / np.maximum(share, 1e-6))[~good]
    return image


def _weights(shape: tuple[int, ...], objects: Mask | None, usable: Mask | None) -> Image:
    """1 where a pixel counts for background and noise, else 0."""
    weight = np.ones(shape, np.float32)
    if objects is not None:
        weight[objects] = 0
    if usable is not None:
        weight[~usable] = 0
    return weight


def _least_noise(pixels: NDArray[Any], good: Mask) -> float:
    """Noise that the number format alone brings, counts: keeps flat frames from dividing by 0."""
    if pixels.dtype.kind != "f":
        return QUANTISATION
    largest = max(pixels.max(where=good, initial=0), -pixels.min(where=good, initial=0))
    return float(largest) * FLOAT_RESOLUTION + SMALLEST


def _group(contrast: Image, noise: Image, above: Mask, gap: int) -> Candidates:
    """Join the pixels above threshold, and those no more than `gap` px apart, to candidates."""
    if not above.any():
        return Candidates.empty()
    # grown by half of the gap on each side, parts touch
    square = np.ones((gap + 1, gap + 1), np.uint8)
    count, labels = cv2.connectedComponents(cv2.dilate(above.astype(np.uint8), square))
    rows, columns = np.divmod(np.flatnonzero(above), above.shape[1])
    owner = labels[rows, columns] - 1
    light, x, y = _moments(contrast, rows, columns)
    total = np.bincount(owner, light, count - 1)
    score = np.zeros(count - 1)
    np.maximum.at(score, owner, contrast[rows, columns] / noise[rows, columns])
    return Candidates(
        np.bincount(owner, x, count - 1) / total,
        np.bincount(owner, y, count - 1) / total,
        score,
        _extent(columns, owner, count),
        _extent(rows, owner, count),
    )


def _moments(
    contrast: Image, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Light and its moments along x and y about each pixel: (n,) each.

    Each pixel counts with its eight neighbours: faint targets have but one or two above threshold.
    """
    light, x, y = np.zeros((3, len(rows)))
    for step in range(9):
        row = np.clip(rows + step // 3 - 1, 0, contrast.shape[0] - 1)
        column = np.clip(columns + step % 3 - 1, 0, contrast.shape[1] - 1)
        part = np.maximum(contrast[row, column], 0).astype(float)
        light += part
        x += part * column
        y += part * row
    return light, x, y


def _extent(index: NDArray[np.intp], owner: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    """Pixels from the first to the last of each group: (count - 1,)."""
    first = np.full(count - 1, np.iinfo(np.intp).max)
    last = np.full(count - 1, -1)
    np.minimum.at(first, owner, index)
    np.maximum.at(last, owner, index)
    return (last - first + 1).astype(float)

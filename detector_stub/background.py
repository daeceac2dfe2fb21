"""Local background of a filtered frame: ring means, tile medians, and objects to leave out."""

import cv2
import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Mask

Image = NDArray[np.float32]

TILES = 5  # side of the median over tiles; what OpenCV offers for float32
OBJECT_CELL = 3  # px; resolution at which objects larger than the ring's hole are looked for
OBJECT_TILE = 4  # cells; 5 tiles span more than the largest objects by default
LEAST_SHARE = np.float32(0.05)  # of a window's pixels, for its mean to be trusted


def ring_mean(image: Image, ring: int, guard: int) -> Image:
    """Mean over a square of side `ring` without the central square of side `guard`."""
    outer = cv2.boxFilter(image, -1, (ring, ring))
    inner = cv2.boxFilter(image, -1, (guard, guard))
    area, hole = ring * ring, guard * guard
    return cv2.addWeighted(outer, area / (area - hole), inner, -hole / (area - hole), 0)


def weighted_ring_mean(image: Image, weight: Image, ring: int, guard: int) -> Image:
    """Likewise over the pixels of weight 1; where there are almost none, over a wider square."""
    weighted = image * weight
    share = ring_mean(weight, ring, guard)
    mean = cv2.divide(ring_mean(weighted, ring, guard), np.maximum(share, LEAST_SHARE))
    scarce = share < LEAST_SHARE
    if scarce.any():
        size = (2 * ring - 1, 2 * ring - 1)
        share = np.maximum(cv2.boxFilter(weight, -1, size), np.float32(1e-3))
        mean[scarce] = cv2.divide(cv2.boxFilter(weighted, -1, size), share)[scarce]
    return mean


def tile_means(image: Image, tile: int) -> Image:
    """Means of tiles of side `tile`, the last ones completed by reflection."""
    height, width = image.shape
    below, right = -height % tile, -width % tile
    if below or right:
        image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT_101)
    size = (image.shape[1] // tile, image.shape[0] // tile)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def tile_medians(tiles: Image, tile: int, shape: tuple[int, ...]) -> Image:
    """Medians of 5x5 tiles, interpolated to the (height, width) of the frame."""
    medians = cv2.medianBlur(tiles, TILES)
    size = (tiles.shape[1] * tile, tiles.shape[0] * tile)
    return cv2.resize(medians, size, interpolation=cv2.INTER_LINEAR)[: shape[0], : shape[1]]


def large_objects(
    response: Image, contrast: float, saturated: Mask | None, least: int, most: int
) -> Mask | None:
    """Bright connected objects whose greater side is from `least` to `most` px.

    They are looked for in cells of a few pixels: that is fast and passes over point targets.
    """
    cells = tile_means(response, OBJECT_CELL)
    tiles = tile_means(cells, OBJECT_TILE)
    bright = cells - tile_medians(tiles, OBJECT_TILE, cells.shape) > contrast
    if saturated is not None:
        bright |= tile_means(saturated.astype(np.float32), OBJECT_CELL) > 0.5
    if not bright.any():
        return None
    _, labels, stats, _ = cv2.connectedComponentsWithStats(bright.astype(np.uint8))
    side = OBJECT_CELL * stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(1)
    large = (side >= least) & (side <= most)
    large[0] = False
    if not large.any():
        return None
    full = large[labels].repeat(OBJECT_CELL, 0).repeat(OBJECT_CELL, 1)
    return full[: response.shape[0], : response.shape[1]]

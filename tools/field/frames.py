"""Real frames for the field benchmark, and the places in them where targets can be implanted.

Positions are frame pixels: x is the column, y the row; integers are pixel centres.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float, Index
from dscsnet.engines.errors import DscsnetError
from dscsnet.pipeline.cropping.robust import MAD_TO_SIGMA
from dscsnet.pipeline.sources import IMAGE_SUFFIXES
from dscsnet.pipeline.sources.readers import ImageFiles
from dscsnet.tools.dataset.files import parse_xml

#: Side of the region that is cut out around a place, px; its noise is the place's.
REGION = 41
BORDER = 22  # px between a place and the frame's border, at least
ANNOTATED_DISTANCE = 16.0  # px from an annotated target, at least
NEIGHBOURHOOD = 21  # side of the square that must be neither saturated nor flat, px
SATURATED_SHARE = 250 / 255  # of the largest value of the frame's type
FLAT_SHARE, DARK_SHARE, DARK_COUNT = 0.5, 0.1, 1
PEAK_DRAWS, PEAK_CLIMBS = 400, 6
MOST_TRIES = 20_000  # places refused one after another

BLUR_SIZE, BLUR_SIGMA = 7, 1.2  # of the low-pass that is taken off to see the noise, px
BAND_SIGMAS = (0.8, 2.5)  # of the two low-passes whose difference shows peaks, px

Counts = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, eq=False)
class FieldFrame:
    """One real frame.

    Attributes:
        name: of its file.
        pixels: (H, W) uint8 or uint16 counts.
        target_x, target_y: (n,) annotated targets, px.
    """

    name: str
    pixels: Counts
    target_x: Float
    target_y: Float

    def near_target(self, x: int, y: int) -> bool:
        """Whether a place is too near to an annotated target."""
        gaps = np.hypot(self.target_x - x, self.target_y - y)
        return bool(gaps.min(initial=np.inf) < ANNOTATED_DISTANCE)

    def around(self, x: int, y: int, size: int) -> Counts:
        """The square of that odd size about a place, a view."""
        half = size // 2
        return self.pixels[y - half : y + half + 1, x - half : x + half + 1]


@dataclass(frozen=True, eq=False)
class Places:
    """Where to implant, as columns.

    Attributes:
        frame: (n,) index of the frame.
        x, y: (n,) px.
        noise: (n,) local noise sigma, counts, by the median absolute deviation.
    """

    frame: Index
    x: Index
    y: Index
    noise: Float


def read_frames(folder: Path) -> list[FieldFrame]:
    """Read `images/` and, where it is there, `centroids/` (SIRST's layout) of a folder.

    A centroids file counts pixels from 1. With a centroids folder, frames without a file in it
    are left out; so are frames too small to hold a place.

    Raises:
        DscsnetError: no usable frame, a frame that is not of whole counts, or a damaged file.
    """
    images, centroids = folder / "images", folder / "centroids"
    paths = sorted(p for p in images.glob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if centroids.is_dir():
        paths = [path for path in paths if (centroids / f"{path.stem}.xml").is_file()]
    reader = ImageFiles(paths, f"{len(paths)} frames in {images}")
    frames = []
    for path, pixels in zip(paths, reader.frames(0, None), strict=True):
        if pixels.dtype.kind != "u":
            raise DscsnetError(f"{path}: expected 8- or 16-bit counts, got {pixels.dtype.name}")
        if min(pixels.shape) > 2 * BORDER:
            x, y = _read_centroids(centroids / f"{path.stem}.xml")
            frames.append(FieldFrame(path.stem, cast(Counts, pixels), x, y))
    if not frames:
        raise DscsnetError(
            f"{folder}: no usable frame; expected images/*{'|'.join(IMAGE_SUFFIXES)} of more than "
            f"{2 * BORDER} px a side, and centroids/NAME.xml for them if there is such a folder"
        )
    return frames


def _read_centroids(path: Path) -> tuple[Float, Float]:
    """Annotated targets, px from 0; none where there is no file."""
    if not path.is_file():
        return np.empty(0), np.empty(0)
    try:
        found = [
            (float(entry.findtext("xc", "")) - 1, float(entry.findtext("yc", "")) - 1)
            for entry in parse_xml(path).iter("centroid")
        ]
        if not np.isfinite(found).all():
            raise ValueError("a position that is not finite")
    except ValueError as error:
        raise DscsnetError(
            f"{path}: expected XML with object/centroid/xc and yc in px, got: {error}"
        ) from None
    x, y = np.array(found, float).reshape(-1, 2).T
    return x, y


def choose_places(
    frames: list[FieldFrame], on_peak: NDArray[np.bool_], generator: np.random.Generator
) -> Places:
    """Draw one place for each entry of `on_peak`, each in a frame drawn anew.

    Args:
        on_peak: (n,) False: anywhere; True: on the brightest of many peaks of the band-passed
            frame, which is where a detector would raise a false alarm.

    Raises:
        DscsnetError: hardly any place of the frames is usable.
    """
    rows = [_draw_place(frames, bool(peak), generator) for peak in on_peak]
    frame, x, y = np.array([row[:3] for row in rows], np.int64).reshape(-1, 3).T
    return Places(frame, x, y, np.array([row[3] for row in rows]))


def _draw_place(
    frames: list[FieldFrame], on_peak: bool, generator: np.random.Generator
) -> tuple[int, int, int, float]:
    draw = _draw_peak if on_peak else _draw_anywhere
    for _ in range(MOST_TRIES):
        index = int(generator.integers(len(frames)))
        frame = frames[index]
        x, y = draw(frame, generator)
        if not frame.near_target(x, y) and _is_usable(frame, x, y):
            noise = local_noise(frame.around(x, y, REGION))
            if noise > 0:
                return index, x, y, noise
    raise DscsnetError(
        f"{MOST_TRIES} places in {len(frames)} frames were all flat, saturated or near an "
        "annotated target; use frames of an unsaturated, textured scene"
    )


def _draw_anywhere(frame: FieldFrame, generator: np.random.Generator) -> tuple[int, int]:
    height, width = frame.pixels.shape
    return (
        int(generator.integers(BORDER, width - BORDER)),
        int(generator.integers(BORDER, height - BORDER)),
    )


def _draw_peak(frame: FieldFrame, generator: np.random.Generator) -> tuple[int, int]:
    """The brightest of many random pixels of the band-passed frame, moved uphill to its peak."""
    pixels = frame.pixels.astype(np.float32)
    fine, coarse = (cv2.GaussianBlur(pixels, (0, 0), sigma) for sigma in BAND_SIGMAS)
    band = fine - coarse
    draws = [_draw_anywhere(frame, generator) for _ in range(PEAK_DRAWS)]
    x, y = max(
        draws, key=lambda place: -np.inf if frame.near_target(*place) else band[place[1], place[0]]
    )
    height, width = band.shape
    for _ in range(PEAK_CLIMBS):
        row, column = np.unravel_index(band[y - 1 : y + 2, x - 1 : x + 2].argmax(), (3, 3))
        x = int(np.clip(x + column - 1, BORDER, width - BORDER - 1))
        y = int(np.clip(y + row - 1, BORDER, height - BORDER - 1))
    return x, y


def _is_usable(frame: FieldFrame, x: int, y: int) -> bool:
    """Neither saturated nor flat nor black."""
    near = frame.around(x, y, NEIGHBOURHOOD)
    _, repeats = np.unique(near, return_counts=True)
    return bool(
        near.max() < SATURATED_SHARE * np.iinfo(near.dtype).max
        and repeats.max() <= FLAT_SHARE * near.size
        and (near <= DARK_COUNT).mean() <= DARK_SHARE
    )


def local_noise(region: Counts | Float) -> float:
    """Noise sigma of a region, counts: its median absolute deviation after a high-pass.

    Scaled so that white Gaussian noise gives its own sigma.
    """
    values = region.astype(np.float64)
    smooth = cv2.GaussianBlur(values, (BLUR_SIZE, BLUR_SIZE), BLUR_SIGMA)
    high = values - smooth
    profile = cv2.getGaussianKernel(BLUR_SIZE, BLUR_SIGMA)
    kernel = profile @ profile.T
    middle = BLUR_SIZE // 2
    passed = math.sqrt(1 - 2 * kernel[middle, middle] + np.square(kernel).sum())
    return float(MAD_TO_SIGMA * np.median(np.abs(high - np.median(high))) / passed)

"""Noise and gain by photon transfer: variance against level over patches of a recording.

Frames are high-passed, so that slopes and smooth structure drop out. Differences of consecutive
frames show the noise in time alone, without fixed pattern; where the scene moves too much for that,
or frames stand by themselves, the frames are used as they are.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.pipeline.cropping.robust import MAD_TO_SIGMA
from dscsnet.pipeline.sources import SourceFrame

PATCH = 16  # px; side of a patch
#: Second difference along x and y: unit noise stays unit noise.
KERNEL = np.outer([1.0, -2.0, 1.0], [1.0, -2.0, 1.0]) / 6
#: Pixels of high-passed noise that tell as much of its variance as one independent value.
CORRELATED = 3.78
CLIP = 3.5
#: E[x²; |x| < CLIP] / P(|x| < CLIP) of a standard normal.
CLIPPED_VARIANCE = 1 - 2 * CLIP * math.exp(-0.5 * CLIP**2) / (
    math.sqrt(2 * math.pi) * math.erf(CLIP / math.sqrt(2))
)
#: Relative standard error of a patch's variance, and its median over its mean.
RELATIVE = math.sqrt(2 * CORRELATED) / PATCH
MEDIAN_SHARE = (1 - 2 * CORRELATED / (9 * PATCH**2)) ** 3
ROUNDING = 1 / 12  # variance of whole counts
#: Differences are used where their noise is at most this over that of single frames.
MOST_MOTION = 1.2
#: Differences are of one scene where their patches' levels vary by less than this share of those
#: of two scenes.
MOST_CHANGE = 0.25
MOST_PATCHES = 200_000
#: The line is trusted where the slope is that many times its error, and the noise grows by that
#: share from the darkest to the brightest patches.
CERTAIN, LEAST_GROWTH = 5.0, 0.05
LEAST_PATCHES = 30
ITERATIONS, CUTOFF = 20, 4.0
MOST_CONDITION = 1e10


@dataclass(frozen=True)
class Patches:
    """Level and variance of patches: columns of one length, counts and counts².

    Attributes:
        place: (n,) int, which patch of the frame.
        level, variance: (n,).
    """

    place: NDArray[np.int64]
    level: Float
    variance: Float


@dataclass(frozen=True)
class Line:
    """Variance = offset + slope times level.

    Attributes:
        offset, slope: counts², counts.
        error: (2, 2) covariance of these.
    """

    offset: float
    slope: float
    error: Float


@dataclass(frozen=True)
class Noise:
    """Noise of a recording; NaN for what cannot be told.

    Attributes:
        sigma, sigma_error: standard deviation of a pixel at the typical level, counts.
        level, lowest, highest: typical level, and range of the levels of patches, counts.
        gain, gain_error: electrons per count.
        read, read_error: standard deviation of a pixel at level 0, counts.
        method: whether noise in time alone was seen, or fixed pattern and texture with it.
        reason: why the gain cannot be told; empty where it is.
        patches: what it comes from.
        line: the fitted line, if any.
    """

    sigma: float
    sigma_error: float
    level: float
    lowest: float
    highest: float
    gain: float
    gain_error: float
    read: float
    read_error: float
    method: Literal["in time", "in space"]
    reason: str
    patches: Patches
    line: Line | None


def _biweight_share() -> float:
    """Biweight location over mean of a patch's variance: that is skew, its weights are not."""
    steps = np.linspace(-6, 6, 2001)
    third = 2 * CORRELATED / (9 * PATCH**2)  # Wilson and Hilferty: the cube root is Gaussian
    values = (1 - third + steps * math.sqrt(third)) ** 3
    density = np.exp(-0.5 * steps**2)
    share = 1.0
    for _ in range(ITERATIONS):
        ratio = np.minimum(((values - share) / (CUTOFF * RELATIVE * share)) ** 2, 1)
        share = float(np.average(values, weights=density * (1 - ratio) ** 2))
    return share


def measure_noise(frames: Iterable[SourceFrame]) -> Noise | None:
    """Measure noise and gain; None where frames are too small or have no noise at all."""
    alone, pairs = _collect(frames)
    if not len(alone.level) or not np.median(alone.variance) > 0:
        return None
    quiet, noisy = (np.median(p.variance) if len(p.level) else math.inf for p in (pairs, alone))
    moving = quiet > MOST_MOTION**2 * noisy
    patches = alone if moving else pairs
    method: Literal["in time", "in space"] = "in space" if moving else "in time"
    lowest, level, highest = (float(v) for v in np.percentile(patches.level, [1, 50, 99]))
    sigma, sigma_error = _typical(patches)
    line = _fit_line(patches)
    reason = _doubt(patches, line, lowest, highest, sigma)
    nan = math.nan
    gain = gain_error = read = read_error = nan
    if line is not None and not reason:
        sigma, sigma_error = _on_line(line, level)
        gain, gain_error = 1 / line.slope, math.sqrt(line.error[1, 1]) / line.slope**2
        if line.offset > 0:
            read = math.sqrt(line.offset)
            read_error = 0.5 * math.sqrt(line.error[0, 0]) / read
    return Noise(
        *(sigma, sigma_error, level, lowest, highest, gain, gain_error, read, read_error),
        *(method, reason, patches, line),
    )


def _collect(frames: Iterable[SourceFrame]) -> tuple[Patches, Patches]:
    """Patches of single frames, and of differences of consecutive ones."""
    alone: list[Patches] = []
    pairs: list[Patches] = []
    before: tuple[int, NDArray[np.float32], Patches] | None = None
    total = 0
    for frame in frames:
        if total > MOST_PATCHES:
            break
        image = frame.pixels.astype(np.float32)
        rounded = frame.pixels.dtype.kind == "u"
        single = _patches(image, image, 1.0, rounded)
        alone.append(single)
        total += len(single.level)
        if before is None or before[0] + 1 != frame.index or before[1].shape != image.shape:
            before = (frame.index, image, single)
            continue
        middle = 0.5 * (image + before[1])
        pair = _patches(image - before[1], middle, math.sqrt(0.5), rounded)
        if _same_scene(before[2], single, pair):
            pairs.append(pair)
        before = None  # pairs do not overlap: their noise is independent
    return _joined(alone), _joined(pairs)


def _same_scene(first: Patches, second: Patches, pair: Patches) -> bool:
    """Whether the levels of two frames' patches agree, but for a common change of level."""
    if len(first.place) < 2 or not np.array_equal(first.place, second.place):
        return False
    change = float(np.var(second.level - first.level))
    by_noise = 2 * float(np.median(pair.variance)) / PATCH**2
    scene = float(np.var(first.level) + np.var(second.level))
    return change <= MOST_CHANGE * scene + 4 * by_noise


def _joined(parts: list[Patches]) -> Patches:
    none = Patches(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    names = Patches.__dataclass_fields__
    return Patches(*(np.concatenate([getattr(p, n) for p in [none, *parts]]) for n in names))


def _patches(
    image: NDArray[np.float32], levels: NDArray[np.float32], scale: float, rounded: bool
) -> Patches:
    """Clipped variance of each patch of a high-passed image times `scale`."""
    high = scale * cv2.filter2D(image, cv2.CV_32F, KERNEL.astype(np.float32))[1:-1, 1:-1]
    values, means = _tiles(high), _tiles(levels[1:-1, 1:-1]).mean(axis=1, dtype=np.float64)
    finite = np.isfinite(values).all(axis=1) & np.isfinite(means)
    place = np.flatnonzero(finite)
    values, means = values[finite], means[finite]
    deviation = MAD_TO_SIGMA * np.median(np.abs(values), axis=1, keepdims=True)
    if rounded:
        deviation = np.maximum(deviation, math.sqrt(ROUNDING))
    inside = np.abs(values) <= CLIP * deviation
    number = np.maximum(inside.sum(axis=1), 1)
    variance = np.where(inside, values, 0.0).astype(np.float64)
    return Patches(place, means, (variance**2).sum(axis=1) / number / CLIPPED_VARIANCE)


def _tiles(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Whole patches of an image, (patches, PATCH²)."""
    rows, columns = image.shape[0] // PATCH, image.shape[1] // PATCH
    cut = image[: rows * PATCH, : columns * PATCH].reshape(rows, PATCH, columns, PATCH)
    return cut.transpose(0, 2, 1, 3).reshape(rows * columns, PATCH * PATCH)


def _typical(patches: Patches) -> tuple[float, float]:
    """Median noise of the patches, and its standard error by the scatter of places."""
    order = np.argsort(patches.place, kind="stable")
    _, first = np.unique(patches.place[order], return_index=True)
    by_place = np.array([np.median(part) for part in np.split(patches.variance[order], first[1:])])
    sigma = math.sqrt(float(np.median(patches.variance)) / MEDIAN_SHARE)
    spread = MAD_TO_SIGMA * float(np.median(np.abs(by_place - np.median(by_place))))
    error = 1.2533 * spread / math.sqrt(len(by_place))
    return sigma, 0.5 * error / max(sigma, 1e-30)


def _on_line(line: Line, level: float) -> tuple[float, float]:
    """Noise at a level, and its standard error."""
    at = np.array([1.0, level])
    sigma = math.sqrt(line.offset + line.slope * level)
    return sigma, 0.5 * math.sqrt(float(at @ line.error @ at)) / sigma


def _fit_line(patches: Patches) -> Line | None:
    """Robust line; its errors take patches of one place as one measurement."""
    if len(patches.level) < LEAST_PATCHES or np.ptp(patches.level) == 0:
        return None
    center = float(np.median(patches.level))
    design = np.stack([np.ones_like(patches.level), patches.level - center], axis=1)
    typical = float(np.median(patches.variance))
    solution = np.array([typical, 0.0])
    weights = np.ones_like(patches.level)
    slopes = weights
    unit = np.array([1.0, 1 / np.ptp(patches.level)])
    norm = unit[:, None] * unit  # to tell a degenerate line whatever the units
    for _ in range(ITERATIONS):
        expected = np.maximum(design @ solution, 0.1 * typical + 1e-30)
        residual = (patches.variance - design @ solution) / expected
        scale = max(MAD_TO_SIGMA * float(np.median(np.abs(residual))), RELATIVE)
        # biweight: textured patches are left out, noisy ones kept
        ratio = np.minimum((residual / (CUTOFF * scale)) ** 2, 1)
        weights = (1 - ratio) ** 2 / expected**2
        slopes = (1 - ratio) * (1 - 5 * ratio) / expected**2  # of the biweight's influence
        normal = design.T @ (design * weights[:, None])
        if not np.linalg.cond(normal * norm) < MOST_CONDITION:
            return None
        solution = np.linalg.solve(normal, design.T @ (weights * patches.variance))
    scores = design * (weights * (patches.variance - design @ solution))[:, None]
    _, place = np.unique(patches.place, return_inverse=True)
    sums = np.stack([np.bincount(place, column) for column in scores.T], axis=1)
    bread = np.linalg.inv(design.T @ (design * slopes[:, None]))
    error = bread @ (sums.T @ sums) @ bread * len(sums) / max(len(sums) - 1, 1)
    shift = np.array([[1.0, -center], [0.0, 1.0]])  # from the middle to level 0
    offset, slope = shift @ solution
    share = _biweight_share()
    return Line(float(offset) / share, float(slope) / share, shift @ error @ shift.T)


def _doubt(patches: Patches, line: Line | None, lowest: float, highest: float, sigma: float) -> str:
    """Why the gain cannot be told; empty where it can."""
    if line is None:
        return f"only {len(patches.level)} patches of {PATCH} px"
    reach = f"levels from {lowest:.4g} to {highest:.4g}"
    growth = line.slope * (highest - lowest)
    if growth < LEAST_GROWTH * sigma**2 or line.slope < CERTAIN * math.sqrt(line.error[1, 1]):
        return f"noise does not grow surely with the level ({reach})"
    if line.offset < -3 * math.sqrt(line.error[0, 0]):
        return f"noise grows more steeply with the level than shot noise can ({reach})"
    middle = 0.5 * (lowest + highest)
    dark = _fit_line(_part(patches, patches.level < middle))
    bright = _fit_line(_part(patches, patches.level >= middle))
    if dark is None or bright is None:
        return ""
    apart = abs(dark.slope - bright.slope)
    if apart > 4 * math.sqrt(dark.error[1, 1] + bright.error[1, 1]) and apart > 0.3 * line.slope:
        return f"noise does not grow in proportion to the level ({reach})"
    return ""


def _part(patches: Patches, keep: NDArray[np.bool_]) -> Patches:
    return Patches(patches.place[keep], patches.level[keep], patches.variance[keep])

"""Clusters of field protocol v1, implanted into real frames.

A region is the square of `REGION` px about a place of a frame; positions are region px, and the
place, at which the candidate lies, is its centre pixel.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float, Index, Mask
from dscsnet.engines.imaging import central_fraction, render
from dscsnet.tools.field.frames import REGION, FieldFrame, Places

EMPTY_SHARE, MOST_TARGETS = 0.15, 5
PSF_RANGE = (0.45, 0.9)  # px
CENTER_REACH = 1.0  # of the cluster's centre from the candidate along each axis, px
RADIUS_RANGE, LEAST_SEPARATION = (0.3, 2.0), 0.5  # px
SNR_RANGE = (5.0, 200.0)
SNR_RATIO = math.sqrt(8)  # other members over the first, at most, either way
LEAST_NOISE = 1.0  # counts; below, rounding decides
CENTER = REGION // 2
DRAWN_AT_ONCE = 8192


@dataclass(frozen=True, eq=False)
class Clusters:
    """Clusters without a place, one a row; entries beyond a cluster's number are not `present`.

    Attributes:
        center_x, center_y: (n,) of the cluster from the candidate, px.
        x, y: (n, most) of each member from the cluster's centre, px.
        snr: (n, most) counts on the central pixel of a pixel-centred target over the noise.
        present: (n, most) bool.
        psf: (n,) PSF sigma, px.
    """

    center_x: Float
    center_y: Float
    x: Float
    y: Float
    snr: Float
    present: Mask
    psf: Float

    def __len__(self) -> int:
        return len(self.psf)


@dataclass(frozen=True, eq=False)
class Samples:
    """Regions with their truth.

    Attributes:
        regions: (n, REGION, REGION) float64, whole counts.
        x, y: (n, most) true targets, region px.
        intensity: (n, most) total counts.
        snr: (n, most) as in `Clusters`.
        present: (n, most) bool.
        psf: (n,) PSF sigma, px.
        noise: (n,) local noise sigma that the signal-to-noise ratio refers to, counts.
        on_peak: (n,) bool, whether the place is a bright peak of the frame.
    """

    regions: Float
    x: Float
    y: Float
    intensity: Float
    snr: Float
    present: Mask
    psf: Float
    noise: Float
    on_peak: Mask

    def __len__(self) -> int:
        return len(self.regions)

    @property
    def number(self) -> Index:
        """(n,) true number of targets."""
        return self.present.sum(1)

    def take(self, rows: "slice | Index") -> "Samples":
        """Some of the samples."""
        return replace(self, **{name: column[rows] for name, column in vars(self).items()})


def draw_numbers(count: int, generator: np.random.Generator) -> Index:
    """Numbers of targets as the protocol draws them: (count,)."""
    numbers = generator.integers(1, MOST_TARGETS + 1, count)
    numbers[generator.random(count) < EMPTY_SHARE] = 0
    return numbers


def draw_clusters(numbers: Index, generator: np.random.Generator) -> Clusters:
    """Draw one cluster of each number.

    The first member's signal-to-noise ratio is log-uniform in `SNR_RANGE`, the others' within a
    factor `SNR_RATIO` of it and in the same range.
    """
    count, most = len(numbers), int(numbers.max(initial=1))
    x, y = np.zeros((2, count, most))
    for number in np.unique(numbers[numbers > 0]).tolist():
        rows = np.flatnonzero(numbers == number)
        x[rows, :number], y[rows, :number] = _draw_shapes(number, len(rows), generator)
    low, high = np.log(SNR_RANGE)
    first = generator.uniform(low, high, (count, 1))
    least = np.maximum(first - math.log(SNR_RATIO), low)
    greatest = np.minimum(first + math.log(SNR_RATIO), high)
    snr = np.exp(least + (greatest - least) * generator.random((count, most)))
    snr[:, :1] = np.exp(first)
    center_x, center_y = generator.uniform(-CENTER_REACH, CENTER_REACH, (2, count))
    return Clusters(
        center_x,
        center_y,
        x,
        y,
        snr,
        np.arange(most) < numbers[:, None],
        generator.uniform(*PSF_RANGE, count),
    )


def _draw_shapes(number: int, count: int, generator: np.random.Generator) -> tuple[Float, Float]:
    """Members uniform in a disc of random radius, drawn anew until all are apart: (count, k)."""
    found: list[NDArray[np.float64]] = []
    pairs = np.triu_indices(number, 1)
    while sum(len(shapes) for shapes in found) < count:
        radius = generator.uniform(*RADIUS_RANGE, (DRAWN_AT_ONCE, 1))
        distance = radius * np.sqrt(generator.random((DRAWN_AT_ONCE, number)))
        angle = generator.uniform(0, 2 * np.pi, (DRAWN_AT_ONCE, number))
        shapes = distance * np.exp(1j * angle)
        gaps = np.abs(shapes[:, pairs[0]] - shapes[:, pairs[1]])
        found.append(shapes[gaps.min(1, initial=np.inf) >= LEAST_SEPARATION])
    shapes = np.concatenate(found)[:count]
    return shapes.real, shapes.imag


def implant_clusters(
    frames: list[FieldFrame],
    places: Places,
    on_peak: Mask,
    clusters: Clusters,
    *,
    center_scale: float = 1.0,
    dither: np.random.Generator | None = None,
) -> Samples:
    """Put each cluster at its place.

    Args:
        on_peak: (n,) what the places were drawn as.
        center_scale: factor on the clusters' offsets from the candidate.
        dither: makes 14-bit frames of 8-bit ones (`deepen`).
    """
    regions, noise = regions_of(frames, places, dither)
    x = CENTER + center_scale * clusters.center_x[:, None] + clusters.x
    y = CENTER + center_scale * clusters.center_y[:, None] + clusters.y
    fraction = np.array([central_fraction(sigma) for sigma in clusters.psf])
    intensity = np.where(clusters.present, clusters.snr * (noise / fraction)[:, None], 0.0)
    for row in np.flatnonzero(clusters.present.any(1)):
        there = clusters.present[row]
        targets = x[row, there], y[row, there], intensity[row, there]
        regions[row] += render(*targets, (REGION, REGION), clusters.psf[row])
    return Samples(
        regions=np.rint(regions),
        x=x,
        y=y,
        intensity=intensity,
        snr=clusters.snr,
        present=clusters.present,
        psf=clusters.psf,
        noise=noise,
        on_peak=on_peak,
    )


def implant_light(
    frames: list[FieldFrame], places: Places, light: Float, snr: Float, psf: Float
) -> Samples:
    """Put light that is no point target at each place.

    Args:
        light: (n, REGION, REGION), scaled here so that its brightest pixel has the
            signal-to-noise ratio `snr`, (n,).
        psf: (n,) PSF sigma, px.
    """
    regions, noise = regions_of(frames, places, None)
    regions += light * (snr * noise / light.max((1, 2)))[:, None, None]
    nothing = np.zeros((len(light), 1))
    return Samples(
        regions=np.rint(regions),
        x=nothing,
        y=nothing,
        intensity=nothing,
        snr=nothing,
        present=nothing > 0,
        psf=psf,
        noise=noise,
        on_peak=np.zeros(len(light), bool),
    )


def regions_of(
    frames: list[FieldFrame], places: Places, dither: np.random.Generator | None
) -> tuple[Float, Float]:
    """The regions, (n, REGION, REGION), as float64 counts, and the noise to refer to, (n,)."""
    columns = zip(places.frame, places.x, places.y, strict=True)
    regions = np.array([frames[f].around(x, y, REGION) for f, x, y in columns], float)
    noise = np.maximum(places.noise, LEAST_NOISE)
    return (regions, noise) if dither is None else deepen(regions, noise, dither)


def deepen(regions: Float, noise: Float, generator: np.random.Generator) -> tuple[Float, Float]:
    """14-bit counts of 8-bit ones: scaled by 64, with a uniform dither of the lower bits."""
    return regions * 64 + generator.integers(0, 64, regions.shape), noise * 64

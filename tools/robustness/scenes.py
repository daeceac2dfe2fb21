"""Scenes of the battery: one frame of spots far from each other, all of one kind."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.tools.robustness.render import Gaussian, Light, add, stamps

#: Spots along each side of a frame, and the distance between them, px.
SPOTS, SPACING = 19, 24
LEVEL = 1000.0
#: Noise of a pixel, counts, unless a situation says otherwise.
NOISE = 10.0
#: In place of a PSF: it is measured on single stars, as `dscsnet calibrate` does.
CALIBRATED = "calibrated"
#: Steps in which a trail is drawn.
TRAIL_STEPS = 33
ROUND = Gaussian(0.7, 0.7)


@dataclass(frozen=True)
class Situation:
    """What the spots of a scene are.

    Attributes:
        group: rows that belong together.
        name: of the row.
        light: the sensor's PSF.
        told: the PSF as the unmixer is told it; None: `light`, which is a Gaussian; `CALIBRATED`.
        targets, apart: targets of a spot, and the side of their pair or polygon, px.
        snr: brightest pixel of a target at a pixel's centre over the noise.
        electrons: a target's total counts, in place of `snr`: shot noise of one electron a count.
        noise: sigma of a pixel, counts.
        scale: by which all counts are multiplied at the end.
        whole: counts are rounded to uint16.
        edge: distance from the frame's first column, px, of a spot: least and greatest.
        box: side of the detector's box, px; None: points.
        clipped: share of a target's peak at which the sensor saturates.
        clip_told: whether the unmixer is told so.
        trail: length along x, px.
        resampled: the frame was shifted by half a pixel along both axes, bilinearly.
        settings: further arguments of the unmixer.
    """

    group: str
    name: str
    light: Light = ROUND
    told: Any = None
    targets: int = 1
    apart: float = 1.2
    snr: float = 50.0
    electrons: float | None = None
    noise: float = NOISE
    scale: float = 1.0
    whole: bool = False
    edge: tuple[float, float] | None = None
    box: float | None = None
    clipped: float | None = None
    clip_told: bool = True
    trail: float = 0.0
    resampled: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """A frame and what is in it.

    Attributes:
        pixels: (H, W) uint16 or float32 counts.
        x, y, flux: (n, targets) px and counts.
        spot_x, spot_y: (n,) candidates, px.
        sigma: (H, W) true noise of each pixel, counts; NaN where it tells nothing.
        saturation: as told, counts; None: not told.
    """

    pixels: NDArray[Any]
    x: Float
    y: Float
    flux: Float
    spot_x: Float
    spot_y: Float
    sigma: Float
    saturation: float | None


def peak_share(light: Light) -> float:
    """Share of a pixel-centred target's light on its central pixel."""
    _, _, shares = stamps(light, np.zeros(1), np.zeros(1))
    return float(shares.max())


def draw(situation: Situation, seed: int) -> Scene:
    """The situation's scene of a seed."""
    generator = np.random.default_rng(seed)
    spot_x, spot_y, shape = _places(situation, generator)
    x, y = _targets(situation, spot_x, spot_y, generator)
    share = peak_share(situation.light)
    one = situation.electrons or situation.snr * situation.noise / share
    flux = np.full(x.shape, one)
    clean = np.full(shape, LEVEL)
    _add_targets(clean, situation, x, y, flux)
    variance = np.full(shape, situation.noise**2)
    if situation.electrons:
        variance += clean - LEVEL
        counts = generator.poisson(clean - LEVEL) + LEVEL
    else:
        counts = clean.copy()
    counts = counts + situation.noise * generator.normal(size=shape)
    if situation.resampled:
        before = np.pad(counts, ((1, 0), (1, 0)), mode="edge")
        counts = 0.25 * (before[1:, 1:] + before[1:, :-1] + before[:-1, 1:] + before[:-1, :-1])
        x, y, spot_x, spot_y = (values + 0.5 for values in (x, y, spot_x, spot_y))
    saturation = None
    if situation.clipped is not None:
        saturation = LEVEL + situation.clipped * one * share
        counts = np.minimum(counts, saturation)
        variance = np.where(counts >= saturation, np.inf, variance)
    if situation.whole:
        pixels = np.clip(np.rint(counts), 0, 65535).astype(np.uint16)
        variance = variance + 1 / 12
    else:
        pixels = (situation.scale * counts).astype(np.float32)
    told = situation.clip_told and saturation is not None
    return Scene(
        pixels=pixels,
        x=x,
        y=y,
        flux=situation.scale * flux,
        spot_x=_seen(situation, spot_x, generator),
        spot_y=_seen(situation, spot_y, generator),
        sigma=situation.scale * np.sqrt(variance),
        saturation=saturation if told else None,
    )


def _places(
    situation: Situation, generator: np.random.Generator
) -> tuple[Float, Float, tuple[int, int]]:
    """Middles of the spots, off the pixels' centres, and the frame's shape."""
    # Nothing of a spot's neighbours may lie in its box.
    spacing = SPACING if situation.box is None else max(SPACING, round(situation.box) + 12)
    number = SPOTS if spacing == SPACING else SPOTS * SPACING // spacing
    grid = spacing * (1.0 + np.arange(number))
    x, y = (axis.ravel() for axis in np.meshgrid(grid, grid))
    x, y = (axis + generator.uniform(-0.5, 0.5, axis.shape) for axis in (x, y))
    side = spacing * (number + 1)
    if situation.edge is None:
        return x, y, (side, side)
    # One column of spots at the first column of a tall frame, in as many pieces as it takes.
    y = SPACING * (1.0 + np.arange(SPOTS**2)) + generator.uniform(-0.5, 0.5, SPOTS**2)
    x = generator.uniform(*situation.edge, SPOTS**2)
    return x, y, (SPACING * (SPOTS**2 + 1), 2 * SPACING)


def _targets(
    situation: Situation, spot_x: Float, spot_y: Float, generator: np.random.Generator
) -> tuple[Float, Float]:
    """(n, targets) corners of regular polygons turned at random; one target in the middle."""
    number = situation.targets
    if number == 1:
        return spot_x[:, None], spot_y[:, None]
    radius = situation.apart / (2 * math.sin(math.pi / number))
    turned = generator.uniform(0, 2 * math.pi, (len(spot_x), 1))
    angle = turned + 2 * math.pi * np.arange(number) / number
    return spot_x[:, None] + radius * np.cos(angle), spot_y[:, None] + radius * np.sin(angle)


def _add_targets(image: Float, situation: Situation, x: Float, y: Float, flux: Float) -> None:
    x, y, flux = x.ravel(), y.ravel(), flux.ravel()
    if not situation.trail:
        add(image, situation.light, x, y, flux)
        return
    for step in np.linspace(-0.5, 0.5, TRAIL_STEPS):
        add(image, situation.light, x + step * situation.trail, y, flux / TRAIL_STEPS)


def _seen(situation: Situation, spot: Float, generator: np.random.Generator) -> Float:
    """Where a detector says that the spots are, px: a third of a pixel off, or anywhere in its box.

    The targets of a box of side b lie at least 1.5 px from its rim.
    """
    if situation.edge is not None:
        return spot
    room = 0.6 if situation.box is None else max(situation.box / 2 - 1.5, 0.0)
    return spot + generator.uniform(-room, room, spot.shape)

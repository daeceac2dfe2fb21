"""Sets on which a model should say that it does not know: nothing on them is a fair cluster."""

import math
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np

from dscsnet.engines.array_types import Float
from dscsnet.engines.imaging import gaussian_profile
from dscsnet.tools.field.frames import REGION, FieldFrame, choose_places
from dscsnet.tools.field.implant import (
    CENTER,
    CENTER_REACH,
    PSF_RANGE,
    Samples,
    draw_clusters,
    implant_clusters,
    implant_light,
)

TOO_MANY = (6, 9)  # targets
WIDE_PSF = 1.4  # true PSF sigma over the told one
OBJECT_SIGMAS = (1.5, 3.0)  # standard deviation of an extended object along each axis, px
OBJECT_SNR = (10.0, 200.0)  # of its brightest pixel
HOT_PIXEL_SNR = (20.0, 200.0)
OVERSAMPLING = 5


def odd_sets(
    frames: list[FieldFrame], count: int, seed: int
) -> Iterator[tuple[str, Samples, float]]:
    """Yield each set's name, `count` samples at random places, and told over true PSF sigma."""
    generator = np.random.default_rng([seed, 1])
    anywhere = np.zeros(count, bool)
    places = choose_places(frames, anywhere, generator)
    psf = generator.uniform(*PSF_RANGE, count)
    extended = extended_light(psf, generator)
    snr = _log_uniform(OBJECT_SNR, count, generator)
    yield "extended objects", implant_light(frames, places, extended, snr, psf), 1.0
    crowd = draw_clusters(generator.integers(TOO_MANY[0], TOO_MANY[1] + 1, count), generator)
    yield "6 to 9 targets", implant_clusters(frames, places, anywhere, crowd), 1.0
    few = draw_clusters(generator.integers(1, 6, count), generator)
    few = replace(few, psf=WIDE_PSF * few.psf)
    wide = implant_clusters(frames, places, anywhere, few)
    yield f"PSF {WIDE_PSF:g} times as wide as told", wide, 1 / WIDE_PSF
    snr = _log_uniform(HOT_PIXEL_SNR, count, generator)
    hot = hot_pixel_light(count, generator)
    yield "hot pixels", implant_light(frames, places, hot, snr, psf), 1.0


def _log_uniform(limits: tuple[float, float], count: int, generator: np.random.Generator) -> Float:
    return np.exp(generator.uniform(math.log(limits[0]), math.log(limits[1]), count))


def extended_light(psf: Float, generator: np.random.Generator) -> Float:
    """A disc, an ellipse or a Gaussian about the middle of each region: (n, REGION, REGION)."""
    light = np.empty((len(psf), REGION, REGION))
    for row, sigma in enumerate(psf):
        x, y = CENTER + generator.uniform(-CENTER_REACH, CENTER_REACH, 2)
        along, across = generator.uniform(*OBJECT_SIGMAS, 2)
        shape = generator.integers(3)
        if shape == 0:
            wide = float(np.hypot(along, sigma))
            column, line = (gaussian_profile(at, REGION, wide) for at in (y, x))
            light[row] = column[:, None] * line
        else:
            across = along if shape == 1 else across
            light[row] = _ellipse(x, y, along, across, generator.uniform(0, np.pi), sigma)
    return light


def _ellipse(x: float, y: float, along: float, across: float, angle: float, psf: float) -> Float:
    """A uniform ellipse of those standard deviations (half its semi-axes), seen through a PSF."""
    fine = (np.arange(REGION * OVERSAMPLING) + 0.5) / OVERSAMPLING - 0.5
    right, down = fine - x, (fine - y)[:, None]
    cosine, sine = np.cos(angle), np.sin(angle)
    first, second = cosine * right + sine * down, cosine * down - sine * right
    inside = ((first / (2 * along)) ** 2 + (second / (2 * across)) ** 2 <= 1).astype(np.float64)
    blurred = cv2.GaussianBlur(inside, (0, 0), OVERSAMPLING * psf)
    return blurred.reshape(REGION, OVERSAMPLING, REGION, OVERSAMPLING).mean((1, 3))


def hot_pixel_light(count: int, generator: np.random.Generator) -> Float:
    """One bright pixel within a pixel of the middle of each region: (count, REGION, REGION)."""
    light = np.zeros((count, REGION, REGION))
    row, column = CENTER + generator.integers(-1, 2, (2, count))
    light[np.arange(count), row, column] = 1
    return light

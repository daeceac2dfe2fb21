"""A PSF that is no Gaussian, from many spots: positions, counts, backgrounds and form in one fit.

The idea is that of effective PSFs (Anderson & King 2000, PASP 112, 1360): spots at many places
within the pixel show what no single one does. Here the form is that of the light before the pixels
integrate it, a sum of `forms`, and each spot's own numbers are eliminated from the equations of the
form, so that few rounds are enough.
"""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from dscsnet.engines.array_types import Float
from dscsnet.tools.calibration.forms import (
    HARMONICS,
    KNOT,
    TAIL,
    Forms,
    fill_forms,
    fill_image,
    make_forms,
    normal_matrix,
    sample,
)
from dscsnet.tools.calibration.result import SampledFit, SampledPsf, Windows

#: Radius of the PSF in sigmas of its core, and in px at least; the window bounds it.
REACH_SIGMAS, LEAST_REACH = 20.0, 6.0
SAMPLES_PER_SIGMA = 5
ROUNDS = 4
#: Share of a pixel's light that the forms may miss; sigmas from which a pixel counts less.
MISSED, FAR = 0.003, 4.0
#: What is believed before any pixel is seen: a profile's splines, and harmonics, are some times
#: a Moffat profile of this exponent.
MOFFAT, PROFILE, SIDES = 2.0, 3.0, 0.3
TAIL_LIGHT = 0.2  # in the tail, likewise
STEP = 0.02  # px; of the derivatives by position
MOST_STEP = 0.3  # px a round
GROUND = 3  # numbers of a background: level and slopes


@dataclass
class _Equations:
    """Normal equations of a change of the functions' shares."""

    matrix: Float
    right: Float

    def solved(self, shares: Float, prior: Float, held: Float) -> Float:
        """The changed shares.

        Args:
            prior: precision of each share.
            held: (m, functions) sums of shares that stay as they are.
        """
        matrix, right = self.matrix + np.diag(prior), self.right - prior * shares
        if len(held):
            free = np.linalg.svd(held)[2][len(held) :].T
            return shares + free @ np.linalg.solve(free.T @ matrix @ free, free.T @ right)
        return shares + np.linalg.solve(matrix, right)


@dataclass(frozen=True)
class _Own:
    """A spot's own equations: its numbers are `inverse @ (right - cross @ change)`."""

    inverse: Float
    right: Float
    cross: Float


def fit_sampled(spots: Windows, covariance: Float, gain: float | None) -> SampledFit:
    """Fit the PSF of spots.

    Args:
        covariance: (3,) xx, yy, xy of the core, px².
        gain: electrons per count; None: no shot noise is reckoned with.
    """
    forms = make_forms(covariance, _reach(covariance, spots.values.shape[-1]))
    areas, prior = _areas(forms), _prior(forms)
    shares, held = np.zeros(forms.number), np.zeros((0, forms.number))
    ground = np.zeros((len(spots.x), GROUND))
    sides = [shares, shares]
    for _ in range(ROUNDS):
        halves = [_Equations(np.zeros((forms.number,) * 2), np.zeros(forms.number)) for _ in "ab"]
        own = [
            _add_spot(spots, ground, i, forms, shares, gain, halves[i % 2])
            for i in range(len(spots.x))
        ]
        both = _Equations(halves[0].matrix + halves[1].matrix, halves[0].right + halves[1].right)
        found = both.solved(shares, prior, held)
        sides = [half.solved(shares, prior, held) for half in halves]
        spots, ground = _moved(spots, ground, own, found - shares)
        if not len(held):
            # From here on a spot's counts and place are its own numbers.
            total = float(areas @ found)
            found, spots = found / total, replace(spots, intensity=spots.intensity * total)
            held = np.stack([areas, *_moments(forms)])
        shares = found
    return _answer(spots, ground, forms, shares, sides)


def _reach(covariance: Float, size: int) -> float:
    """Radius of the PSF, px."""
    sigma = float(covariance[0] * covariance[1] - covariance[2] ** 2) ** 0.25
    return min(size / 2, max(REACH_SIGMAS * sigma, LEAST_REACH))


def _areas(forms: Forms) -> Float:
    """Integral of each function as far as the splines reach, px²: harmonics have none."""
    radius = np.linspace(0, KNOT * (forms.radial + 1), 64 * (forms.radial + 1))
    whole = np.zeros(forms.number)
    away = np.linalg.inv(forms.round) @ np.stack([radius, np.zeros_like(radius)])
    for k in range(forms.radial + 1):
        one = np.zeros(forms.number)
        one[k] = 1.0
        ring = 2 * math.pi * radius * sample(away[0], away[1], forms, one)
        whole[k] = forms.sigma**2 * np.trapezoid(ring, radius)
    return whole


def _prior(forms: Forms) -> Float:
    """Precision of each function's share, of a PSF of unit light."""

    def expected(number: int) -> Float:
        radius = KNOT * np.arange(number)
        return (1 + radius**2 / 2) ** -MOFFAT / (2 * math.pi * forms.sigma**2)

    sides = np.tile(SIDES * expected(forms.angular), 2 * HARMONICS)
    tail = TAIL_LIGHT / (2 * math.pi * (TAIL * forms.sigma) ** 2)
    return np.concatenate([PROFILE * expected(forms.radial), [tail], sides]) ** -2.0


def _add_spot(
    spots: Windows,
    ground: Float,
    i: int,
    forms: Forms,
    shares: Float,
    gain: float | None,
    equations: _Equations,
) -> _Own:
    """Add a spot to the equations, its own numbers eliminated; returns what these follow from."""
    x, y, counts, size = spots.x[i], spots.y[i], spots.intensity[i], spots.values.shape[-1]
    design = np.empty((size * size, forms.number))
    fill_forms(x, y, forms, design)
    values, plane = spots.values[i].ravel(), _plane(size)
    columns, rest = plane, values - plane @ ground[i]
    if shares.any():
        image = design @ shares
        slopes = counts * _slopes(x, y, size, forms, shares)
        columns, rest = np.hstack([plane, slopes, image[:, None]]), rest - counts * image
        weight = _weights(rest, counts * image, spots.noise[i], gain)
    else:
        # Nothing is known of the light yet, so that no pixel can be far off.
        weight = _weights(np.zeros_like(rest), values, spots.noise[i], gain)
    middle = plane[:, 1:] + size // 2
    weight[np.hypot(middle[:, 0] - x, middle[:, 1] - y) > size / 2] = 0
    weight[~np.isfinite(values)] = 0
    rest = np.where(weight > 0, rest, 0.0)
    everything = np.hstack([counts * design, columns, rest[:, None]])
    sums, number = normal_matrix(everything, weight), forms.number
    cross, right = sums[number:-1, :number], sums[number:-1, -1]
    inverse = np.linalg.inv(sums[number:-1, number:-1])
    equations.matrix += sums[:number, :number] - cross.T @ inverse @ cross
    equations.right += sums[:number, -1] - cross.T @ inverse @ right
    return _Own(inverse, right, cross)


def _plane(size: int) -> Float:
    """(pixels, 3) level and slopes from the window's middle."""
    y, x = np.indices((size, size)).reshape(2, -1) - size // 2
    return np.stack([np.ones(size * size), x, y], axis=1)


def _slopes(x: float, y: float, size: int, forms: Forms, shares: Float) -> Float:
    """(pixels, 2) derivatives of a unit spot's light by its place."""
    result = np.empty((size * size, 2))
    images = np.empty((2, size, size))
    for axis, (dx, dy) in enumerate(((STEP, 0.0), (0.0, STEP))):
        fill_image(x + dx, y + dy, forms, shares, images[0])
        fill_image(x - dx, y - dy, forms, shares, images[1])
        result[:, axis] = (images[0] - images[1]).ravel() / (2 * STEP)
    return result


def _weights(rest: Float, light: Float, noise: float, gain: float | None) -> Float:
    """(pixels,) one over the variance; less where the fit is far off."""
    bright = np.maximum(light, 0)
    variance = noise**2 + (MISSED * bright) ** 2 + (0 if gain is None else bright / gain)
    off = np.abs(rest) / np.sqrt(variance)
    weight: Float = FAR / np.maximum(off, FAR) / variance
    return weight


def _moved(spots: Windows, ground: Float, own: list[_Own], change: Float) -> tuple[Windows, Float]:
    """Spots and their backgrounds after a round."""
    numbers = np.array([each.inverse @ (each.right - each.cross @ change) for each in own])
    ground = ground + numbers[:, :GROUND]
    if numbers.shape[1] == GROUND:
        return spots, ground
    dx, dy = np.clip(numbers[:, GROUND : GROUND + 2], -MOST_STEP, MOST_STEP).T
    counts = np.maximum(spots.intensity + numbers[:, -1], 0.5 * spots.intensity)
    return replace(spots, x=spots.x + dx, y=spots.y + dy, intensity=counts), ground


def _moments(forms: Forms) -> Float:
    """(2, functions) first moments of each function under a Gaussian of the core's width."""
    grid = forms.sigma * np.linspace(-4, 4, 65)
    x, y = (axis.ravel() for axis in np.meshgrid(grid, grid))
    near = np.exp(-0.5 * (x**2 + y**2) / forms.sigma**2)
    ones = np.eye(forms.number)
    each = np.stack([sample(x, y, forms, one) for one in ones], axis=1)
    result: Float = np.stack([(near * x) @ each, (near * y) @ each])
    return result / np.abs(result).max()


def _answer(
    spots: Windows, ground: Float, forms: Forms, shares: Float, sides: list[Float]
) -> SampledFit:
    shift = _core(forms, shares)
    size = spots.values.shape[-1]
    light = np.empty_like(spots.values)
    for i in range(len(light)):
        fill_image(spots.x[i], spots.y[i], forms, shares, light[i])
    light *= spots.intensity[:, None, None]
    above = spots.values - (ground @ _plane(size).T).reshape(light.shape)
    moved = replace(spots, values=above, x=spots.x + shift[0], y=spots.y + shift[1])
    return SampledFit(_psf(forms, shares, sides, shift), moved, light)


def _psf(forms: Forms, shares: Float, sides: list[Float], shift: tuple[float, float]) -> SampledPsf:
    """Samples about the core's centre; the error is that of the light on pixels."""
    oversampling = math.ceil(SAMPLES_PER_SIGMA / forms.sigma)
    half = round(KNOT * forms.radial * forms.sigma * oversampling)
    place = np.arange(-half, half + 1) / oversampling
    x, y = (axis.ravel() for axis in np.meshgrid(place + shift[0], place + shift[1]))

    def samples(of: Float) -> Float:
        return sample(x, y, forms, of).reshape(2 * half + 1, 2 * half + 1)

    found, pixel = samples(shares), (oversampling, oversampling)
    apart = cv2.blur(samples(sides[0] - sides[1]), pixel)
    error = 0.5 * float(np.linalg.norm(apart) / np.linalg.norm(cv2.blur(found, pixel)))
    return SampledPsf(found, oversampling, error)


def _core(forms: Forms, shares: Float) -> tuple[float, float]:
    """Where the core's centre lies, px: the mean under a Gaussian of its width."""
    grid = forms.sigma * np.linspace(-4, 4, 65)
    x, y = (axis.ravel() for axis in np.meshgrid(grid, grid))
    light = sample(x, y, forms, shares)
    at_x = at_y = 0.0
    for _ in range(20):
        near = light * np.exp(-0.5 * ((x - at_x) ** 2 + (y - at_y) ** 2) / forms.sigma**2)
        # Of a Gaussian the weight halves the way.
        at_x += 2 * float(near @ (x - at_x) / near.sum())
        at_y += 2 * float(near @ (y - at_y) / near.sum())
    return at_x, at_y

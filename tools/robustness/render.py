"""Point targets drawn by quadrature of their light over the pixels.

Nothing here is shared with the engines: the light is any function of the distance from the target,
and each pixel's share is a sum over Gauss-Legendre nodes. An error of the engines' own imaging
model therefore shows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from dscsnet.engines.array_types import Float

#: Nodes a pixel along each axis: exact to 1e-8 of the light of a Gaussian of sigma 0.35 px.
NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)
NODES, WEIGHTS = 0.5 * NODES, 0.5 * WEIGHTS
#: Nodes around the circle: the sum over them converges as soon as they are more than the argument.
BESSEL_NODES = 160
#: How far the Airy pattern is tabled, in units of its argument, and entries per unit.
AIRY_REACH, AIRY_DENSITY = 90, 1000
#: Pixels drawn to each side of a target; an Airy pattern's rings hold light far out.
REACH, AIRY_DRAWN = 12, 24
#: Zero of the Airy pattern's first dark ring, in units of pi.
FIRST_ZERO = 1.2196698912665045

#: Light per square px at offsets (px) from a target of unit light.
Light = Callable[[Float, Float], Float]


@dataclass(frozen=True)
class Gaussian:
    """An elliptical Gaussian; its major axis is turned from x towards y by an angle, degrees."""

    major: float
    minor: float
    angle: float = 0.0

    def __call__(self, dx: Float, dy: Float) -> Float:
        cosine, sine = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        along, across = cosine * dx + sine * dy, cosine * dy - sine * dx
        radius = (along / self.major) ** 2 + (across / self.minor) ** 2
        return np.asarray(np.exp(-0.5 * radius) / (2 * math.pi * self.major * self.minor))

    def scaled(self, factor: float) -> "Gaussian":
        """The same, wider by a factor."""
        return Gaussian(factor * self.major, factor * self.minor, self.angle)


@dataclass(frozen=True)
class Moffat:
    """A Moffat profile of a full width at half maximum, px."""

    fwhm: float
    beta: float

    def __call__(self, dx: Float, dy: Float) -> Float:
        alpha = self.fwhm / 2 / math.sqrt(2 ** (1 / self.beta) - 1)
        norm = (self.beta - 1) / (math.pi * alpha**2)
        return np.asarray(norm * (1 + (dx**2 + dy**2) / alpha**2) ** -self.beta)


@dataclass(frozen=True)
class Airy:
    """The pattern of a clear circular aperture with its first dark ring at a radius, px."""

    radius: float

    def __call__(self, dx: Float, dy: Float) -> Float:
        scale = math.pi * FIRST_ZERO / self.radius
        return scale**2 / math.pi * np.interp(scale * np.hypot(dx, dy), *_airy_table())


@cache
def _airy_table() -> tuple[Float, Float]:
    """The pattern over its argument, near enough for linear interpolation to 1e-7 of its peak."""
    place = np.linspace(0, AIRY_REACH, round(AIRY_REACH * AIRY_DENSITY) + 1)
    place[0] = 1e-9
    return place, (bessel(place) / place) ** 2


def bessel(x: Float) -> Float:
    """Bessel's function J1 of values up to 100, by his integral: exact to rounding."""
    angle = 2 * math.pi * np.arange(BESSEL_NODES) / BESSEL_NODES
    total = np.zeros_like(np.asarray(x, float))
    for each in angle:
        total += np.cos(each - x * math.sin(each))
    return total / BESSEL_NODES


def stamps(light: Light, x: Float, y: Float, reach: int = REACH) -> tuple[Float, Float, Float]:
    """Unit targets on the pixels around them.

    Args:
        x, y: (n,) px.
        reach: pixels to each side.

    Returns:
        (n,) first column and row, and (n, side, side) shares of the light.
    """
    side = 2 * reach + 1
    left, top = np.rint(x) - reach, np.rint(y) - reach
    places = (np.arange(side)[:, None] + NODES).ravel()
    result = np.empty((len(x), side, side))
    for i in range(len(x)):
        values = light((left[i] + places - x[i])[None], (top[i] + places - y[i])[:, None])
        summed = values.reshape(side, len(NODES), side, len(NODES)) @ WEIGHTS
        result[i] = np.einsum("ikj,k->ij", summed, WEIGHTS)
    return left.astype(int), top.astype(int), result


def add(image: Float, light: Light, x: Float, y: Float, flux: Float) -> None:
    """Add targets of total counts `flux` to an image, as far as they lie in it."""
    height, width = image.shape
    reach = AIRY_DRAWN if isinstance(light, Airy) else REACH
    left, top, shares = stamps(light, x, y, reach)
    for i, j, counts in zip(left, top, flux[:, None, None] * shares, strict=True):
        rows, columns = np.arange(j, j + len(counts)), np.arange(i, i + len(counts))
        inside_y, inside_x = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
        image[np.ix_(rows[inside_y], columns[inside_x])] += counts[np.ix_(inside_y, inside_x)]

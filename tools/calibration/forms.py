"""A PSF of any form as a sum of cubic splines of the radius times harmonics of the angle; compiled.

A tail reaches beyond the splines. Radius and angle are those of the plane in which the core is a
circle: an ellipse of any profile needs the splines of the radius alone. Pixels are integrals by
Gauss-Legendre quadrature.
"""

import math
from typing import NamedTuple

import numpy as np

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import kernel

#: Nodes a pixel along each axis: near the core, up to so many sigmas, and beyond.
FINE, FINE_WEIGHTS = 0.5 * np.array(np.polynomial.legendre.leggauss(4))
COARSE, COARSE_WEIGHTS = 0.5 * np.array(np.polynomial.legendre.leggauss(2))
FINE_SIGMAS = 5.0
#: Distance of the splines' knots, in sigmas of the core: fine enough for the rings of an aperture.
KNOT = 0.55
#: Harmonics of the angle: 1 is coma, 2 astigmatism, 3 a trefoil, 4 a cross; and how far they reach.
HARMONICS, HARMONIC_SIGMAS = 4, 6.0
#: The tail falls with the third power of the radius, as that of every aperture, from so many sigmas
#: on; without it a background would take what light there is beyond the splines.
TAIL = 4.0


class Forms(NamedTuple):
    """What the plane is described by.

    Attributes:
        sigma: of the core, px: the unit of the radius.
        round: (2, 2) turns offsets, px, to the plane in which the core is a circle of unit sigma.
        radial, angular: splines without an angle, and of each harmonic's cosine and sine.
    """

    sigma: float
    round: Float
    radial: int
    angular: int

    @property
    def number(self) -> int:
        """How many functions there are: those of the radius, the tail, the harmonics."""
        return self.radial + 2 * HARMONICS * self.angular + 1


def make_forms(covariance: Float, reach: float) -> Forms:
    """The functions about a core.

    Args:
        covariance: (3,) xx, yy, xy of the core, px².
        reach: radius, px, from which on there is no light.
    """
    xx, yy, xy = covariance
    matrix = np.array([[xx, xy], [xy, yy]])
    values, vectors = np.linalg.eigh(matrix)
    whiten = np.ascontiguousarray(vectors @ np.diag(values**-0.5) @ vectors.T)
    sigma = float(np.linalg.det(matrix) ** 0.25)
    radial = max(int(reach / (KNOT * sigma)) - 1, 4)
    angular = min(radial, int(HARMONIC_SIGMAS / KNOT))
    return Forms(sigma, whiten, radial, angular)


@kernel
def fill_forms(x: float, y: float, forms: Forms, out: Float) -> None:
    """Fill `out`, (size * size, functions), with each function's integral over each pixel.

    Args:
        x, y: place of the target; the first pixel's centre is (0, 0), px.
    """
    size = int(math.sqrt(out.shape[0]))
    values = np.empty(4)
    for row in range(size):
        for column in range(size):
            _integrate(column - x, row - y, forms, values, out[row * size + column])


@kernel
def fill_image(x: float, y: float, forms: Forms, weights: Float, out: Float) -> None:
    """Fill `out`, (size, size), with the pixels of the weighted sum of the functions."""
    values, sums = np.empty(4), np.empty(weights.size)
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            _integrate(column - x, row - y, forms, values, sums)
            out[row, column] = _sum(sums, weights)


@kernel
def _integrate(dx: float, dy: float, forms: Forms, values: Float, sums: Float) -> None:
    """Each function's integral over the pixel at an offset, px."""
    sums[:] = 0
    fine = dx * dx + dy * dy < (FINE_SIGMAS * forms.sigma + 1) ** 2
    nodes, weights = (FINE, FINE_WEIGHTS) if fine else (COARSE, COARSE_WEIGHTS)
    for i in range(nodes.size):
        for j in range(nodes.size):
            _add(dx + nodes[j], dy + nodes[i], weights[i] * weights[j], forms, values, sums)


@kernel
def sample(x: Float, y: Float, forms: Forms, weights: Float) -> Float:
    """Light per square px of the weighted sum at offsets (n,) from the target, px."""
    result, values, sums = np.empty(x.size), np.empty(4), np.empty(weights.size)
    for k in range(x.size):
        sums[:] = 0
        _add(x[k], y[k], 1.0, forms, values, sums)
        result[k] = _sum(sums, weights)
    return result


@kernel
def _sum(sums: Float, weights: Float) -> float:
    total = 0.0
    for k in range(sums.size):
        total += weights[k] * sums[k]
    return total


@kernel
def normal_matrix(columns: Float, weight: Float) -> Float:
    """`columns.T @ (weight * columns)` of (pixels, n) columns that are 0 in most places."""
    pixels, number = columns.shape
    result, there = np.zeros((number, number)), np.empty(number, np.int64)
    for p in range(pixels):
        if weight[p] == 0:
            continue
        found = 0
        for k in range(number):
            if columns[p, k] != 0:
                there[found] = k
                found += 1
        for a in range(found):
            value = weight[p] * columns[p, there[a]]
            for b in range(a + 1):
                result[there[a], there[b]] += value * columns[p, there[b]]
    for i in range(number):
        for j in range(i):
            result[j, i] = result[i, j]
    return result


@kernel
def _add(dx: float, dy: float, light: float, forms: Forms, values: Float, sums: Float) -> None:
    """Add the functions at an offset, px, times `light`."""
    along = forms.round[0, 0] * dx + forms.round[0, 1] * dy
    across = forms.round[1, 0] * dx + forms.round[1, 1] * dy
    radius = math.sqrt(along * along + across * across)
    sums[forms.radial] += light * (1 + (radius / TAIL) ** 2) ** -1.5
    place = radius / KNOT
    first = int(place)
    if first - 1 >= forms.radial:
        return
    t = place - first
    s = 1 - t
    values[0], values[3] = light * s * s * s / 6, light * t * t * t / 6
    values[1] = light * (4 - 6 * t * t + 3 * t * t * t) / 6
    values[2] = light * (4 - 6 * s * s + 3 * s * s * s) / 6
    for k in range(4):
        knot = abs(first - 1 + k)  # even about the middle
        if knot < forms.radial:
            sums[knot] += values[k]
    if first - 1 >= forms.angular:
        return
    unit = max(radius, 1e-12)
    cosine, sine = along / unit, across / unit
    real, imaginary, rise = 1.0, 0.0, 1.0
    for m in range(HARMONICS):
        real, imaginary = real * cosine - imaginary * sine, real * sine + imaginary * cosine
        rise *= radius
        share = rise / (1 + rise)  # a harmonic vanishes in the middle
        start = forms.radial + 1 + 2 * m * forms.angular
        for k in range(4):
            knot = abs(first - 1 + k)
            if knot < forms.angular:
                sums[start + knot] += values[k] * share * real
                sums[start + forms.angular + knot] += values[k] * share * imaginary

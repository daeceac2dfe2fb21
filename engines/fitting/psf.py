"""Point spread functions that no product of two Gaussian profiles describes, as tables."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.errors import ModelError
from dscsnet.engines.files.arrays import ArrayFileError, map_array
from dscsnet.engines.files.images import ImageFileError, read_image
from dscsnet.engines.fitting.spline import WIDTH_STEP, WIDTHS, PsfTable

#: Stands for the Gaussian along the axes.
NO_TABLE = PsfTable(np.zeros((0, 0, 0)), 1, 0.0)
#: A Gaussian is sampled this densely and this far, in its sigmas.
SAMPLES_PER_SIGMA, EXTENT_SIGMAS = 8, 6.0
#: Entries of a table per sigma of the PSF, and the least per px.
ENTRIES_PER_SIGMA, LEAST_DENSITY = 6, 8
#: Bounds of a file's samples and of a table, a side: memory goes with the square of these.
MOST_SAMPLES, MOST_ENTRIES = 1024, 4096
#: Entries a side up to which a table is made for every width; the width of a larger one is held.
MOST_ENTRIES_OF_WIDTHS = 1024
SMALLEST = float(np.finfo(np.float64).tiny)


def has_widths(table: PsfTable) -> bool:
    """Whether a table knows how light changes with the PSF's width."""
    return bool(table.coefficients.shape[2] > 1)


def elliptical_table(sigma_x: float, sigma_y: float, angle: float) -> PsfTable:
    """An elliptical Gaussian.

    Args:
        sigma_x, sigma_y: standard deviations along its own axes, px.
        angle: from the image's x axis to the ellipse's, towards y, degrees.

    Raises:
        ModelError: one sigma is too many times the other.
    """
    oversampling = math.ceil(SAMPLES_PER_SIGMA / min(sigma_x, sigma_y))
    half = math.ceil(EXTENT_SIGMAS * max(sigma_x, sigma_y) * oversampling)
    _check_table(2 * half)
    y, x = np.mgrid[-half : half + 1, -half : half + 1] / oversampling
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    along, across = cosine * x + sine * y, cosine * y - sine * x
    samples = np.exp(-0.5 * ((along / sigma_x) ** 2 + (across / sigma_y) ** 2))
    return sampled_table(samples, oversampling)


def sampled_table(samples: Float, oversampling: int) -> PsfTable:
    """A PSF given by samples: interpolated, normalised and integrated over pixels.

    Args:
        samples: (height, width) values of the optical PSF, before any integration over pixels, in
            any unit. A target's position is the middle of the array.
        oversampling: samples per px along each axis.

    Raises:
        ModelError: the samples are not a PSF.
    """
    samples = np.asarray(samples, np.float64)
    if samples.ndim != 2 or min(samples.shape) < 3:
        raise ModelError(f"a PSF needs at least 3 x 3 samples, got shape {samples.shape}")
    if not np.isfinite(samples).all():
        raise ModelError("a PSF's samples must be finite; some are NaN or infinite")
    # In units of the largest, so that no sum overflows.
    samples = samples / max(float(np.abs(samples).max()), SMALLEST)
    if not samples.sum() > 0:
        raise ModelError("a PSF's samples must sum to more than 0")
    if oversampling < 1:
        raise ModelError(f"a PSF's oversampling must be at least 1, got {oversampling}")
    # Beyond its last sample the PSF is 0; one more sample lets the spline get there.
    padded = np.pad(samples * oversampling**2 / samples.sum(), 2)
    xx, yy, xy = moments(samples, oversampling)
    smallest = 0.5 * (xx + yy) - math.hypot(0.5 * (xx - yy), xy)
    density = max(LEAST_DENSITY, math.ceil(ENTRIES_PER_SIGMA / math.sqrt(smallest)))
    factors, places = _factors(padded, oversampling, density)
    _check_table(2 * places)
    offsets = np.arange(-places, places + 1) / density
    source = _spline_coefficients(padded)
    layers = []
    for factor in factors:
        down, along = (_box_integrals(offsets, n, oversampling, factor) for n in padded.shape)
        layers.append(_spline_coefficients(down @ source @ along.T))
    return PsfTable(np.ascontiguousarray(np.stack(layers, -1)), density, places / density)


def _factors(padded: Float, oversampling: int, density: int) -> tuple[Float, int]:
    """Widths over the told one that a table is made for, and how many entries reach to its end."""

    def places(widest: float) -> int:
        extent = widest * (max(padded.shape) / 2 + 1) / oversampling + 0.5 + 4 / density
        return math.ceil(extent * density)

    factors = np.exp(WIDTH_STEP * (np.arange(WIDTHS) - WIDTHS // 2))
    if 2 * places(factors[-1]) <= MOST_ENTRIES_OF_WIDTHS:
        return factors, places(factors[-1])
    return np.ones(1), places(1.0)


def moments(samples: Float, oversampling: int) -> tuple[float, float, float]:
    """Variance along x and y and covariance, px squared, of the Gaussian whose core is like this.

    Moments under a Gaussian weight of the same shape, so that neither the wings nor the noise in
    them matter: of a Gaussian, the weight halves the covariance matrix.
    """
    light = np.maximum(samples, 0.0)
    y, x = (axis - (light * axis).sum() / light.sum() for axis in np.indices(light.shape))
    shape = np.diag(np.array(light.shape[::-1], float) ** 2)
    for _ in range(60):  # each halves what is wrong
        inverse = np.linalg.inv(shape)
        radius = inverse[0, 0] * x**2 + 2 * inverse[0, 1] * x * y + inverse[1, 1] * y**2
        weighted = light * np.exp(-0.5 * radius)
        xx, yy, xy = ((weighted * part).sum() / weighted.sum() for part in (x * x, y * y, x * y))
        least = 0.04  # a fifth of a sample, squared
        xx, yy = max(2 * xx, least), max(2 * yy, least)
        most = 0.99 * math.sqrt(xx * yy)
        xy = min(max(2 * xy, -most), most)
        shape = np.array([[xx, xy], [xy, yy]])
    xx, xy, _, yy = (shape / oversampling**2).ravel().tolist()
    return xx, yy, xy


def read_samples(path: str | Path) -> Float:
    """Samples of a PSF from an `.npy` file or an 8- or 16-bit grey image.

    Raises:
        ModelError: there is no such file, or it holds no such array.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"PSF file {path} does not exist")
    try:
        samples = map_array(path) if path.suffix == ".npy" else read_image(path)
    except (ArrayFileError, ImageFileError) as error:
        raise ModelError(
            f"PSF file {path} is no readable .npy, PNG, TIFF or BMP file: {error}"
        ) from None
    if not (samples.ndim == 2 and samples.dtype.kind in "fiu"):
        raise ModelError(
            f"PSF file {path} must hold a 2-D array of numbers or a grey image, "
            f"got {samples.dtype} of shape {samples.shape}"
        )
    check_number(samples, f"PSF file {path}")
    with np.errstate(invalid="ignore"):  # of NaNs, which are refused with the samples
        return samples.astype(np.float64)


def check_number(samples: NDArray[Any], what: str) -> None:
    """Refuse more samples than a table is made of.

    Raises:
        ModelError: one side is too long.
    """
    if max(samples.shape, default=0) > MOST_SAMPLES:
        raise ModelError(
            f"{what} must have at most {MOST_SAMPLES} samples a side, got {samples.shape}"
        )


def _check_table(entries: int) -> None:
    if entries > MOST_ENTRIES:
        raise ModelError(
            f"a PSF's table would need {entries} entries a side, at most {MOST_ENTRIES} are "
            "allowed: the PSF extends too far for its width"
        )


def _spline_coefficients(values: Float) -> Float:
    """Coefficients of the cubic B-spline through a grid of values that is 0 beyond its edge."""
    return _solve_rows(np.ascontiguousarray(_solve_rows(values).T)).T


def _solve_rows(values: Float) -> Float:
    """Coefficients along the first axis, whose neighbours have the shares 1, 4, 1 of six.

    Elimination from the first row to the last and back. A dense solution costs the third power of
    the size, and linear algebra in threads waits for cores that others have.
    """
    result, share = 6.0 * values, np.full(len(values), 0.25)
    result[0] *= share[0]
    for i in range(1, len(values)):
        share[i] = 1 / (4 - share[i - 1])
        result[i] = share[i] * (result[i] - result[i - 1])
    for i in range(len(values) - 2, -1, -1):
        result[i] -= share[i] * result[i + 1]
    return result


def _box_integrals(offsets: Float, size: int, oversampling: int, factor: float) -> Float:
    """(offsets, size) integral of each sample's B-spline over a pixel centred at each offset.

    The splines are those of a PSF that is wider by a factor, of the same light.
    """
    sample, scale = np.arange(size) - (size - 1) / 2, oversampling / factor
    upper, lower = (
        _spline_integral((offsets[:, None] + edge) * scale - sample) for edge in (0.5, -0.5)
    )
    return (upper - lower) / oversampling


def _spline_integral(x: Float) -> Float:
    """Integral of the cubic B-spline from minus infinity to x: a sum of cut-off fourth powers."""
    x = np.clip(x, -2, 2)
    powers = [np.maximum(x + 2 - k, 0) ** 4 for k in range(4)]
    return (powers[0] - 4 * powers[1] + 6 * powers[2] - 4 * powers[3]) / 24

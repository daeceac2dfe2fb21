"""From the shapes of many spots to one PSF: spots to tracks, tracks to their narrow mode."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.pipeline.cropping.robust import MAD_TO_SIGMA
from dscsnet.tools.calibration.mixture import narrow_mode

#: Chi-square of three degrees of freedom that noise exceeds in 1 of 1000.
OUTLIER = 16.3
#: A track of so many spots whose width varies by more than this, relative, is no point target.
LEAST_TO_VARY, MOST_VARIATION = 5, 0.1
#: Spots whose shapes can be compared, at least. Median of the square of a standard normal, the
#: standard error of the median of n of them over it, times the root of n; and how many of these
#: are no chance.
LEAST_SHAPES = 5
MEDIAN_SQUARE, MEDIAN_ERROR, CERTAIN = 0.4549, 2.33, 5.0
BISECTIONS = 50


@dataclass(frozen=True)
class Tracks:
    """Mean shapes of objects: columns of one length.

    Attributes:
        number: (m,) int, the track's number.
        covariance: (m, 3) xx, yy, xy, px².
        error: (m, 3, 3) their covariance, px⁴.
        spots: (m,) int, spots of each.
        varies: (m,) bool, whether the width changes from spot to spot by more than noise.
    """

    number: NDArray[np.int64]
    covariance: Float
    error: Float
    spots: NDArray[np.int64]
    varies: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of tracks."""
        return len(self.number)


@dataclass(frozen=True)
class Consensus:
    """The PSF that the narrow mode of tracks agrees on.

    Attributes:
        covariance: (3,) xx, yy, xy, px².
        error: (3, 3) covariance of these, px⁴.
        scatter: relative scatter of the widths of tracks beyond their errors.
        member: (m,) probability of each track to be of the mode.
        alike: (m,) whether each has the mode's width, whatever its shape.
    """

    covariance: Float
    error: Float
    scatter: float
    member: Float
    alike: NDArray[np.bool_]


def log_widths(covariance: Float, error: Float) -> tuple[Float, Float]:
    """Log of the round width, sqrt((xx + yy) / 2), and its standard error: (n,) each."""
    trace = np.maximum(covariance[:, 0] + covariance[:, 1], 1e-6)
    variance = error[:, 0, 0] + error[:, 1, 1] + 2 * error[:, 0, 1]
    return 0.5 * np.log(0.5 * trace), 0.5 * np.sqrt(variance) / trace


def mean_tracks(covariance: Float, error: Float, track: NDArray[np.int64]) -> Tracks:
    """Average the spots of each track, outliers left out.

    Args:
        covariance: (n, 3) of each spot.
        error: (n, 3, 3).
        track: (n,) numbers.
    """
    numbers, counts = np.unique(track, return_counts=True)
    means, errors = np.zeros((len(numbers), 3)), np.zeros((len(numbers), 3, 3))
    varies = np.zeros(len(numbers), bool)
    for place, number in enumerate(numbers):
        mine = track == number
        means[place], errors[place], varies[place] = _mean_track(covariance[mine], error[mine])
    return Tracks(numbers, means, errors, counts, varies)


def _mean_track(covariance: Float, error: Float) -> tuple[Float, Float, bool]:
    weights = np.linalg.inv(error).astype(np.float64)
    typical = np.median(covariance, axis=0)
    keep = _distances(covariance - typical, weights) < 2 * OUTLIER
    if 2 * keep.sum() < len(keep):
        keep[:] = True
    total = np.linalg.inv(weights[keep].sum(axis=0))
    mean = total @ np.einsum("nij,nj->i", weights[keep], covariance[keep])
    number = int(keep.sum())
    if number > 1:
        chi2 = _distances(covariance[keep] - mean, weights[keep]).sum() / (3 * (number - 1))
        total = total * max(1.0, chi2)
    return mean, total, _varies(*log_widths(covariance, error))


def _varies(widths: Float, errors: Float) -> bool:
    if len(widths) < LEAST_TO_VARY:
        return False
    deviation = MAD_TO_SIGMA * np.median(np.abs(widths - np.median(widths)))
    noise = np.median(errors)
    return bool(deviation > 2 * noise and deviation**2 - noise**2 > MOST_VARIATION**2)


def agree(tracks: Tracks) -> Consensus:
    """Find the narrow mode of the tracks and average it.

    Args:
        tracks: at least one.
    """
    mode = narrow_mode(*log_widths(tracks.covariance, tracks.error))
    width = np.exp(2 * mode.center)  # px²
    # relative scatter of the width, as scatter of trace and of both kinds of stretch alike
    spread = (2 * mode.scatter * width) ** 2 * np.diag([1.0, 1.0, 0.5])
    weights = np.linalg.inv(tracks.error + spread)
    member = mode.member * ~tracks.varies
    if not member.max() > 0.1:
        member = np.where(tracks.varies.all(), mode.member, member)
    mean, error = _weighted(tracks.covariance, weights, member)
    for _ in range(3):
        near = _distances(tracks.covariance - mean, weights) < OUTLIER
        kept = np.where(near, member, 0.0)
        if not kept.max() > 0.1:
            break
        mean, error = _weighted(tracks.covariance, weights, kept)
    else:
        member = kept
    alike = (mode.member > 0.5) & ~tracks.varies
    return Consensus(mean, error, mode.scatter, member, alike)


def shape_scatter(covariance: Float, error: Float) -> float:
    """Scatter of what makes circles ellipses, over the mean variance, beyond the errors.

    Point targets share one shape; unresolved pairs have as many as they have orientations. It is
    the scatter with which half of the deviations are below the median of their distribution.

    Args:
        covariance: (n, 3) of spots of about one width.
        error: (n, 3, 3).
    """
    if len(covariance) < LEAST_SHAPES:
        return 0.0
    turn = np.array([[0.5, -0.5, 0.0], [0.0, 0.0, 1.0]])
    shapes = covariance @ turn.T
    square = (shapes - np.median(shapes, axis=0)) ** 2
    variance = np.einsum("ai,nij,aj->na", turn, error, turn)
    # The median's own error, of so many independent deviations.
    most = MEDIAN_SQUARE * (1 + CERTAIN * MEDIAN_ERROR / np.sqrt(square.size))
    if np.median(square / variance) < most:
        return 0.0
    low, high = 0.0, float(square.max())
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        above = np.median(square / (variance + middle)) > MEDIAN_SQUARE
        low, high = (middle, high) if above else (low, middle)
    return float(np.sqrt(high) / (0.5 * np.median(covariance[:, 0] + covariance[:, 1])))


def _weighted(covariance: Float, weights: Float, member: Float) -> tuple[Float, Float]:
    parts = weights * member[:, None, None]
    error = np.linalg.inv(parts.sum(axis=0))
    mean = error @ np.einsum("nij,nj->i", parts, covariance)
    number = float(member.sum())
    if number > 3:
        chi2 = (member * _distances(covariance - mean, weights)).sum() / (3 * (number - 1))
        error = error * max(1.0, chi2)
    return mean, error


def _distances(away: Float, weights: Float) -> Float:
    """Squared Mahalanobis distances, (n,)."""
    return np.einsum("ni,nij,nj->n", away, weights, away)

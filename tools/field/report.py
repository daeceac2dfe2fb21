"""What the field benchmark measures on one set of samples.

Published and true targets are paired one to one, optimally (`tools.measures.matching`). All shares
are percentages; what cannot be said (no crop of that kind, no sigma given) is NaN.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dscsnet.engines.array_types import Float, Index, Mask
from dscsnet.engines.estimates import Estimates
from dscsnet.engines.imaging import central_fraction
from dscsnet.tools.field.implant import MOST_TARGETS, Samples
from dscsnet.tools.measures.average_precision import Points, average_precision
from dscsnet.tools.measures.matching import match_points

CLOSE, NEAR = 0.25, 0.5  # distances within which a target counts as found, px
SNR_EDGES = (5.0, 10.0, 30.0, 100.0, 200.0)
#: Farther than any two points of a region are apart, px: so every target gets a partner.
ANY_DISTANCE = 100.0
TRIMMED_SHARE = 0.99
CHI2_QUANTILES = (0.1, 0.5, 0.9, 0.99)


@dataclass(frozen=True)
class Found:
    """Recall and precision of some targets.

    Attributes:
        true, published: number of targets.
        recall_close, precision_close: within 0.25 px.
        recall_near, precision_near: within 0.5 px.
    """

    true: int
    published: int
    recall_close: float
    precision_close: float
    recall_near: float
    precision_near: float


@dataclass(frozen=True)
class Coverage:
    """How far the stated sigmas of one quantity are true; nominal: 68.3, 95.4, 1, 0.92.

    Attributes:
        one_sigma, two_sigma: share of errors within so many sigmas.
        squared: mean squared error over variance.
        trimmed: the same without the largest hundredth.
    """

    one_sigma: float
    two_sigma: float
    squared: float
    trimmed: float


@dataclass(frozen=True)
class Empties:
    """Candidates without a target.

    Attributes:
        false_targets: published, a crop.
        answered: share with any published target.
        doubted: share flagged as not to be trusted.
    """

    crops: int
    false_targets: float
    answered: float
    doubted: float


@dataclass(frozen=True)
class FieldReport:
    """Figures of one set of samples.

    Attributes:
        cso_map: of all published targets, ranked by score.
        ap_near: average precision at 0.5 px, ranked likewise.
        by_snr: by signal-to-noise ratio: recall by the true, precision by the published one; the
            outermost bins hold published ones beyond them, too.
        count_accuracy: share of crops, empty ones included, with the right number of targets.
        kept: share of crops with targets for which any was published.
        doubted: share of crops with targets that are flagged as not to be trusted.
        random_places, bright_peaks: of the crops without targets.
        position_rms: px, of all pairs in crops with the right count, as is all below.
        intensity_median, intensity_rms: relative error; the root mean square of at most 3.
        x, y, intensity: coverage.
        chi2: quantiles over the crops with targets, by `CHI2_QUANTILES`.
    """

    crops: int
    cso_map: float
    ap_near: float
    overall: Found
    by_snr: dict[str, Found]
    by_number: dict[int, Found]
    count_accuracy: float
    count_by_number: dict[int, float]
    kept: float
    doubted: float
    random_places: Empties
    bright_peaks: Empties
    position_rms: float
    intensity_median: float
    intensity_rms: float
    x: Coverage
    y: Coverage
    intensity: Coverage
    chi2: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Pairing:
    """True and published targets as columns, and whether each has a partner.

    Attributes:
        true, published: with their crop as `image`.
        true_snr, published_snr: peak over the local noise.
        hit, right: by distance, which true ones are found and which published ones are true.
    """

    true: Points
    published: Points
    true_snr: Float
    published_snr: Float
    hit: dict[float, Mask]
    right: dict[float, Mask]

    def found(self, true: Mask, published: Mask) -> Found:
        """Figures of some of the targets."""
        shares = [
            share(found[distance][rows])
            for distance in (CLOSE, NEAR)
            for found, rows in ((self.hit, true), (self.right, published))
        ]
        return Found(int(true.sum()), int(published.sum()), *shares)


def measure(estimates: Estimates, samples: Samples) -> FieldReport:
    """Compare what was published for samples with their truth.

    Args:
        estimates: positions in region px; crop i is sample i.
    """
    paired = pair(estimates, samples)
    number, published = samples.number, np.bincount(estimates.crop, minlength=len(samples))
    right, with_targets = estimates.number == number, number > 0
    precision = average_precision(paired.published, paired.true)
    near = average_precision(paired.published, paired.true, (NEAR,))
    error = _errors(estimates.likeliest(), samples, np.flatnonzero(right & with_targets))
    relative = np.abs(error[:, 4] / error[:, 6])
    doubted = ~estimates.converged
    chi2 = estimates.chi2[with_targets & np.isfinite(estimates.chi2)]
    return FieldReport(
        crops=len(samples),
        cso_map=precision.cso_map,
        ap_near=near.cso_map,
        overall=paired.found(paired.true.x == paired.true.x, paired.published.image >= 0),
        by_snr=_by_snr(paired),
        by_number={k: _of_crops(paired, number == k) for k in range(1, MOST_TARGETS + 1)},
        count_accuracy=share(right),
        count_by_number={k: share(right[number == k]) for k in range(MOST_TARGETS + 1)},
        kept=share(published[with_targets] > 0),
        doubted=share(doubted[with_targets]),
        random_places=_empties(published, doubted, ~with_targets & ~samples.on_peak),
        bright_peaks=_empties(published, doubted, ~with_targets & samples.on_peak),
        position_rms=math.sqrt(mean(error[:, 0] ** 2 + error[:, 2] ** 2)),
        intensity_median=100 * float(np.median(relative)) if len(relative) else math.nan,
        intensity_rms=100 * math.sqrt(mean(np.minimum(relative, 3) ** 2)),
        x=coverage(error[:, 0], error[:, 1]),
        y=coverage(error[:, 2], error[:, 3]),
        intensity=coverage(error[:, 4], error[:, 5]),
        chi2=tuple(np.quantile(chi2, CHI2_QUANTILES).tolist()) if len(chi2) else (math.nan,) * 4,
    )


def pair(estimates: Estimates, samples: Samples) -> Pairing:
    """Pair published with true targets within each of the two distances."""
    true = Points.from_padded(samples.x, samples.y, samples.intensity, samples.present)
    published = Points(estimates.crop, estimates.x, estimates.y, estimates.score)
    fraction = np.array([central_fraction(sigma) for sigma in samples.psf])
    snr = estimates.intensity * (fraction / samples.noise)[estimates.crop]
    hit = {distance: np.zeros(len(true.x), bool) for distance in (CLOSE, NEAR)}
    right = {distance: np.zeros(len(published.x), bool) for distance in (CLOSE, NEAR)}
    for crop in np.intersect1d(true.image, published.image):
        real, mine = _rows(true.image, crop), _rows(published.image, crop)
        first = true.x[real], true.y[real]
        second = published.x[mine], published.y[mine]
        for distance in (CLOSE, NEAR):
            partner, _ = match_points(first, second, distance)
            hit[distance][real] = partner >= 0
            right[distance][mine.start + partner[partner >= 0]] = True
    return Pairing(true, published, samples.snr[samples.present], snr, hit, right)


def _rows(image: Index, crop: int) -> slice:
    """The rows of one crop in an ascending column."""
    first, last = np.searchsorted(image, (crop, crop + 1)).tolist()
    return slice(first, last)


def _by_snr(paired: Pairing) -> dict[str, Found]:
    inner = SNR_EDGES[1:-1]
    true, published = (np.digitize(snr, inner) for snr in (paired.true_snr, paired.published_snr))
    return {
        f"{low:g}-{high:g}": paired.found(true == place, published == place)
        for place, (low, high) in enumerate(pairwise(SNR_EDGES))
    }


def _of_crops(paired: Pairing, chosen: Mask) -> Found:
    return paired.found(chosen[paired.true.image], chosen[paired.published.image])


def _empties(published: Index, doubted: Mask, chosen: Mask) -> Empties:
    return Empties(
        crops=int(chosen.sum()),
        false_targets=mean(published[chosen]),
        answered=share(published[chosen] > 0),
        doubted=share(doubted[chosen]),
    )


def _errors(estimates: Estimates, samples: Samples, crops: Index) -> Float:
    """Pairs in some crops: (pairs, 7) error and sigma of x, y and intensity; true intensity."""
    rows = []
    for crop in crops:
        mine, there = _rows(estimates.crop, crop), samples.present[crop]
        true = samples.x[crop, there], samples.y[crop, there], samples.intensity[crop, there]
        found = estimates.x[mine], estimates.y[mine], estimates.intensity[mine]
        sigma = estimates.sigma_x[mine], estimates.sigma_y[mine], estimates.sigma_intensity[mine]
        partner, _ = match_points(true[:2], found[:2], ANY_DISTANCE)
        columns = [
            column
            for truth, value, width in zip(true, found, sigma, strict=True)
            for column in (value[partner] - truth, width[partner])
        ]
        rows.append(np.stack([*columns, true[2]], axis=1))
    return np.concatenate([*rows, np.empty((0, 7))])


def coverage(error: Float, sigma: Float) -> Coverage:
    """Figures of errors whose sigma is given."""
    given = np.isfinite(sigma)
    ratio = np.sort(np.square(error[given] / sigma[given]))
    kept = ratio[: math.ceil(TRIMMED_SHARE * len(ratio))]
    return Coverage(share(ratio <= 1), share(ratio <= 4), mean(ratio), mean(kept))


def mean(values: "Float | Index") -> float:
    """Mean; NaN of nothing."""
    return float(values.mean()) if len(values) else math.nan


def share(chosen: Mask) -> float:
    """Percentage that is true; NaN of nothing."""
    return 100 * float(chosen.mean()) if len(chosen) else math.nan


def card_figures(report: FieldReport) -> dict[str, float]:
    """The main figures as they stand in a model card; percentages, and targets a crop."""
    figures = {
        "field_cso_map": report.cso_map,
        "field_ap50": report.ap_near,
        "field_recall_quarter_pixel": report.overall.recall_close,
        "field_precision_quarter_pixel": report.overall.precision_close,
        "field_count_accuracy": report.count_accuracy,
        "field_false_targets_random": report.random_places.false_targets,
        "field_false_targets_peaks": report.bright_peaks.false_targets,
        "field_x_within_1_sigma": report.x.one_sigma,
        "field_y_within_1_sigma": report.y.one_sigma,
    }
    return {name: round(value, 3) for name, value in figures.items()}

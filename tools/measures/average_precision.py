"""CSO-mAP and its companions, after `Evaluation` of the paper.

Per image, in score order, each prediction is matched to its nearest true target (nearest even if
that one is taken); within the distance threshold and not taken it is a true positive, else a false
positive. Over the whole set the predictions are sorted by score; AP is the area under the
interpolated precision-recall curve, and CSO-mAP the mean AP over five distance thresholds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.geometry import Grid

#: Distance thresholds of CSO-mAP, px.
DISTANCES = (0.05, 0.10, 0.15, 0.20, 0.25)


@dataclass(frozen=True)
class Points:
    """Targets of many images as columns.

    Attributes:
        image: (n,) index of the image that each belongs to.
        x, y: (n,) px.
        score: (n,) rank of a prediction, higher first; unused for the truth.
    """

    image: NDArray[np.int64]
    x: Float
    y: Float
    score: Float

    def take(self, rows: NDArray[np.int64]) -> "Points":
        """Those of the given indices."""
        return Points(self.image[rows], self.x[rows], self.y[rows], self.score[rows])

    @staticmethod
    def from_padded(x: Float, y: Float, score: Float, present: NDArray[np.bool_]) -> "Points":
        """From (images, K) arrays and the mask of the entries that are there."""
        image = np.broadcast_to(np.arange(len(x))[:, None], present.shape)
        return Points(image[present], x[present], y[present], score[present])

    @staticmethod
    def from_grids(grids: NDArray[np.float32], limit: ArrayLike, grid: Grid) -> "Points":
        """The centre of each cell above a limit, in crop px, ranked by the cell's counts.

        Args:
            grids: (n, c s, c s) counts per cell.
            limit: counts; one for all crops, or (n,).
        """
        limit = np.broadcast_to(np.asarray(limit, float), len(grids))
        image, row, column = np.nonzero(grids > limit[:, None, None])
        score = grids[image, row, column].astype(float)
        return Points(image, grid.cell_to_crop(column), grid.cell_to_crop(row), score)


@dataclass(frozen=True)
class AveragePrecision:
    """Percentages.

    Attributes:
        cso_map: mean of `by_distance`.
        by_distance: AP at each of the distance thresholds.
    """

    cso_map: float
    by_distance: tuple[float, ...]


def average_precision(
    predicted: Points, true: Points, distances: tuple[float, ...] = DISTANCES
) -> AveragePrecision:
    """CSO-mAP and AP per distance threshold.

    Ties in score keep the order in which the predictions are given. With no true target AP is 0.
    """
    order = np.argsort(-predicted.score, kind="stable")
    distance, nearest = _nearest(predicted, true)
    distance, nearest = distance[order], nearest[order]
    values = [_area(_first_claims(distance, nearest, limit), len(true.x)) for limit in distances]
    return AveragePrecision(float(np.mean(values)), tuple(values))


def _nearest(predicted: Points, true: Points) -> tuple[Float, NDArray[np.int64]]:
    """Distance to, and index of, each prediction's nearest true target of its image."""
    distance = np.full(len(predicted.x), np.inf)
    nearest = np.full(len(predicted.x), -1)
    by_image = np.argsort(true.image, kind="stable")
    sorted_image = true.image[by_image]
    first = np.searchsorted(sorted_image, predicted.image, "left")
    count = np.searchsorted(sorted_image, predicted.image, "right") - first
    for k in range(int(count.max(initial=0))):
        rows = np.flatnonzero(count > k)
        candidate = by_image[first[rows] + k]
        gap = np.hypot(predicted.x[rows] - true.x[candidate], predicted.y[rows] - true.y[candidate])
        closer = gap < distance[rows]
        distance[rows[closer]] = gap[closer]
        nearest[rows[closer]] = candidate[closer]
    return distance, nearest


def _first_claims(distance: Float, nearest: NDArray[np.int64], limit: float) -> NDArray[np.bool_]:
    """True positives: the best-scoring prediction within `limit` of each true target."""
    positive = np.zeros(len(distance), bool)
    within = np.flatnonzero(distance <= limit)
    _, first = np.unique(nearest[within], return_index=True)
    positive[within[first]] = True
    return positive


def _area(positive: NDArray[np.bool_], true_count: int) -> float:
    """Area under the interpolated precision-recall curve, percent."""
    if true_count == 0 or len(positive) == 0:
        return 0.0
    hits = np.cumsum(positive)
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    # Recall rises by 1 / true_count at each true positive, and only there.
    return float(100 * envelope[positive].sum() / true_count)

"""Plans which crops to cut for a frame's candidates.

Lengths and positions are frame pixels: x is the column, y the row, integers are pixel centres.
The field is the central square of a crop in which the model reports targets.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dscsnet.engines.array_types import Float, Index
from dscsnet.pipeline.cropping.allotment import OUTSIDE, absorb, allot, boxes_of
from dscsnet.pipeline.cropping.grouping import group_points
from dscsnet.pipeline.cropping.seeking import Peaks
from dscsnet.pipeline.cropping.sorting import ranks, strength_order_of
from dscsnet.pipeline.messages import SpotFlag

LEAST_MERGE_RADIUS = 1e-3  # px; candidates this close are the same whatever the radius


#: Takes (n, 4) boxes, NaN for candidates outside of the frame.
Seek = Callable[[Float], Peaks]

_OUTSIDE_FLAGS = int(SpotFlag.EDGE | SpotFlag.NOT_CONVERGED)
_NO_PEAKS = Peaks(np.empty(0), np.empty(0), np.empty(0, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class CropPlan:
    """The crops of one frame, strongest candidate first.

    Attributes:
        center_x, center_y: (n_crops,) int32, centre pixels, all inside the frame.
        spot: (n_crops,) int32, index of the candidate that the crop serves; a blob has several.
        spot_flags: (n_candidates,) uint32, bits of `SpotFlag` known before any crop is cut.
        field_size: side of the model's field, px; by default fields have no end.
    """

    center_x: NDArray[np.int32]
    center_y: NDArray[np.int32]
    spot: NDArray[np.int32]
    spot_flags: NDArray[np.uint32]
    field_size: float = math.inf

    def __post_init__(self) -> None:
        if not self.center_x.shape == self.center_y.shape == self.spot.shape == (self.spot.size,):
            raise ValueError(
                "crop plan: expected center_x, center_y and spot of one length, got shapes "
                f"{self.center_x.shape}, {self.center_y.shape} and {self.spot.shape}"
            )


def plan_crops(
    x: ArrayLike,
    y: ArrayLike,
    *,
    score: ArrayLike | None = None,
    width: ArrayLike | None = None,
    height: ArrayLike | None = None,
    frame_shape: tuple[int, int],
    crop_size: int,
    field_size: float,
    merge_radius: float,
    max_crops: int,
    seek: Seek | None = None,
) -> CropPlan:
    """Merge the candidates whose crops would find the same target, and place the crops.

    - Candidates linked by steps of at most `merge_radius` (single linkage) share one crop if the
      field of that crop holds them all; a larger group is parted at its widest gaps until every
      part fits. A part's crop is centred on the middle of its extent: no other centre keeps its
      outermost members farther from the field's edge, and it does not hang on the scores. Parts
      with the same centre pixel share the crop. The spot of a crop is its best candidate (ties:
      the first); the others are flagged `MERGED`.
    - A candidate with a box of more than 4 px has its crops where the box has peaks (`seek`), or
      one in its middle where there is none. One with a box larger than the field is a blob:
      candidates inside the box are merged into it, and looked at where they are.
    - Candidates whose nearest pixel is not in the frame (or NaN) get no crop and are flagged
      `EDGE | NOT_CONVERGED`.
    - Crops beyond `max_crops` are left out, weakest first (without scores: last first); the
      candidates that lose any crop, and those merged into them, are flagged `TRUNCATED`.

    Args:
        x, y: (n,) candidate positions, px.
        score: (n,) higher is stronger, NaN is weakest.
        width, height: (n,) boxes centred on the candidates, px; NaN where unknown.
        frame_shape: (rows, columns).
        crop_size: side of a crop, px, odd.
        field_size: side of the model's field, px, from 1 to `crop_size`.
        merge_radius: px, at least 0.
        max_crops: at least 1.
        seek: finds the peaks of boxes; None: they are taken for points.

    Raises:
        ValueError: an argument is out of range, or the columns differ in length.
    """
    _check_geometry(frame_shape, crop_size, field_size, merge_radius, max_crops)
    column_x, column_y = column_of("x", x, None), column_of("y", y, np.size(x))
    count, (rows, columns), field = column_x.size, frame_shape, float(field_size)
    unknown = np.full(count, np.nan)
    widths = unknown if width is None else column_of("width", width, count)
    heights = unknown if height is None else column_of("height", height, count)
    strengths = unknown if score is None else column_of("score", score, count)
    # A pixel reaches from -0.5 up to but not including 0.5; comparisons with NaN are false.
    inside = (column_x >= -0.5) & (column_x < columns - 0.5)
    inside &= (column_y >= -0.5) & (column_y < rows - 0.5)
    owner = np.where(inside, np.arange(count), OUTSIDE)
    boxes, blob = boxes_of(column_x, column_y, widths, heights, int(rows), int(columns), field)
    peaks = _NO_PEAKS
    if seek is not None and not (width is None and height is None):
        peaks = seek(np.where(inside[:, None], boxes, np.nan))
    if blob.any():
        absorb(boxes, blob, strength_order_of(strengths), owner)
    searched = np.zeros(count, bool)
    searched[peaks.owner] = True
    # A searched candidate's peaks stand for it, after all candidates.
    x, y = np.concatenate([column_x, peaks.x]), np.concatenate([column_y, peaks.y])
    owner = np.concatenate([owner, owner[peaks.owner]])
    strength = np.concatenate([strengths, strengths[peaks.owner]])
    order = strength_order_of(strength)
    served = np.concatenate([searched, np.zeros(peaks.x.size, bool)])
    points = np.flatnonzero((owner != OUTSIDE) & ~served)
    group, centers = np.full(x.size, OUTSIDE), np.zeros((x.size, 4))
    radius = max(float(merge_radius), LEAST_MERGE_RADIUS)
    group_points(x, y, points, ranks(order), field, radius, group, centers)
    chosen, lost = allot(order, group, owner, int(max_crops))
    flags = _flags(owner, group, chosen, np.flatnonzero(~inside), count)
    lost = np.where(inside, lost[owner[:count]], 0) > 0
    flags[lost | _lost(peaks, count)] |= int(SpotFlag.TRUNCATED)
    center_x, center_y = (centers[chosen, axis].astype(np.int32) for axis in (0, 2))
    return CropPlan(center_x, center_y, owner[chosen].astype(np.int32), flags, field)


def _flags(
    owner: Index, group: Index, chosen: Index, outside: Index, count: int
) -> NDArray[np.uint32]:
    """(count,) flags: outside of the frame, or merged into another candidate."""
    stands = np.zeros(count, bool)
    kept = group[group != OUTSIDE]
    stands[owner[kept]] = True
    stands[owner[chosen]] = True
    flags = np.where(stands, 0, int(SpotFlag.MERGED)).astype(np.uint32)
    flags[outside] = _OUTSIDE_FLAGS
    return flags


def _lost(peaks: Peaks, count: int) -> NDArray[np.bool_]:
    """(count,) boxes not all of whose peaks were taken."""
    return peaks.lost > 0 if peaks.lost.size else np.zeros(count, bool)


def _check_geometry(
    frame_shape: tuple[int, int],
    crop_size: int,
    field_size: float,
    merge_radius: float,
    max_crops: int,
) -> None:
    if len(frame_shape) != 2 or min(frame_shape) < 1:
        raise ValueError(f"frame_shape: expected (rows, columns) of at least 1, got {frame_shape}")
    if crop_size < 1 or crop_size % 2 == 0:
        raise ValueError(f"crop_size: expected an odd number of pixels, got {crop_size!r}")
    if not 1 <= field_size <= crop_size:
        raise ValueError(
            f"field_size: expected 1 to crop_size = {crop_size} px, got {field_size!r}"
        )
    if not merge_radius >= 0:
        raise ValueError(f"merge_radius: expected at least 0 px, got {merge_radius!r}")
    if max_crops < 1:
        raise ValueError(f"max_crops: expected at least 1, got {max_crops!r}")


def column_of(name: str, values: ArrayLike, count: int | None) -> Float:
    """A fresh float64 column: the kernels are compiled for this one type only."""
    column = np.array(values, dtype=np.float64)
    if column.ndim != 1 or (count is not None and column.size != count):
        expected = "one dimension" if count is None else f"shape ({count},) like x"
        raise ValueError(f"{name}: expected {expected}, got shape {column.shape}")
    return column

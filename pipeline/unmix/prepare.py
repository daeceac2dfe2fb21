"""A frame and its candidates, or a stack of crops, on the way to an engine: planned and cut."""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.geometry import Grid
from dscsnet.pipeline.cropping.cut import Crops, cut_crops, has_correlated_noise, seek_in
from dscsnet.pipeline.cropping.plan import CropPlan, plan_crops


@dataclass(frozen=True, eq=False)
class Prepared:
    """A frame whose crops are cut, or crops whose background was taken off.

    Attributes:
        id, x, y: (n,) of the candidates, as they were given.
        plan, crops: in one order, which is not that of the candidates.
        good: indices of the crops that have a usable pixel; only these are given to the engine.
        separate: the crops have no frame in common: targets stay in crop px, and none is another's.
        shape: (rows, columns) of the frame, px; of separate crops without meaning.
        pixels: of the frame, (H, W); None of separate crops.
    """

    id: NDArray[np.int64]
    x: Float
    y: Float
    plan: CropPlan
    crops: Crops
    good: NDArray[np.int64]
    separate: bool = False
    shape: tuple[int, int] = (0, 0)
    pixels: NDArray[np.generic] | None = None

    @property
    def has_correlated_noise(self) -> bool:
        """Whether the noise of the frame's neighbouring pixels is correlated."""
        return self.pixels is not None and has_correlated_noise(self.pixels, self.plan)

    @property
    def is_blind(self) -> bool:
        """Whether there are crops, and not one has a usable pixel."""
        return len(self.crops.noise) > 0 and not len(self.good)

    def take(self, rows: NDArray[np.int64]) -> "Prepared":
        """The same candidates with some of the crops only, in the order of `rows`."""
        plan, crops = (
            {name: getattr(whole, name)[rows] for name in names}
            for whole, names in (
                (self.plan, ("center_x", "center_y", "spot")),
                (self.crops, [field.name for field in fields(Crops)]),
            )
        )
        chosen = Crops(**crops)
        return replace(self, plan=replace(self.plan, **plan), crops=chosen, good=_good(chosen))


def prepare_frame(
    pixels: NDArray[np.generic],
    x: ArrayLike,
    y: ArrayLike,
    *,
    score: ArrayLike | None,
    width: ArrayLike | None,
    height: ArrayLike | None,
    id: ArrayLike | None,
    grid: Grid,
    merge_radius: float,
    max_crops: int,
    bad_pixels: NDArray[np.bool_] | None,
    saturation: float | None,
) -> Prepared:
    """Plan a frame's crops and cut them; see `plan_crops` and `cut_crops`."""
    column_x, column_y = np.array(x, np.float64), np.array(y, np.float64)
    plan = plan_crops(
        column_x,
        column_y,
        score=score,
        width=width,
        height=height,
        frame_shape=(pixels.shape[0], pixels.shape[1]),
        crop_size=grid.crop_size,
        field_size=grid.field_size,
        merge_radius=merge_radius,
        max_crops=max_crops,
        seek=seek_in(pixels, bad_pixels),
    )
    crops = cut_crops(
        pixels, plan, size=grid.crop_size, bad_pixels=bad_pixels, saturation=saturation
    )
    numbers = np.arange(len(column_x)) if id is None else np.array(id, np.int64)
    return Prepared(
        *(numbers, column_x, column_y, plan, crops, _good(crops)),
        shape=(pixels.shape[0], pixels.shape[1]),
        pixels=pixels,
    )


def prepare_stack(crops: NDArray[np.generic], *, grid: Grid, saturation: float | None) -> Prepared:
    """Take off the background of crops that were cut elsewhere.

    Args:
        crops: (n, size, size) uint8, uint16 or float32 counts.
    """
    number, size, middle = len(crops), grid.crop_size, grid.center
    index = np.arange(number, dtype=np.int32)
    column, no_flags = np.full(number, middle, np.int32), np.zeros(number, np.uint32)
    # One above the other they are a frame whose crops they are: none reaches beyond its edge.
    tall = crops.reshape(-1, size) if number else np.zeros((1, size), crops.dtype)
    below = CropPlan(column, index * size + middle, index, no_flags)
    cut = cut_crops(tall, below, size=size, saturation=saturation)
    plan = CropPlan(column, column, index, no_flags)
    place = column.astype(np.float64)
    return Prepared(np.arange(number), place, place, plan, cut, _good(cut), separate=True)


def _good(crops: Crops) -> NDArray[np.int64]:
    return np.flatnonzero(np.isfinite(crops.noise))

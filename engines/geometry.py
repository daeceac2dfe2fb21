"""The one place that converts between grid cells, crop pixels and frame pixels.

Pixel convention: x is the column, y the row; integers are pixel centres; (0, 0) is the centre of
the top-left pixel of a crop or frame. A crop of n x n px is subdivided into a grid of
(c n) x (c n) cells, c cells a pixel along each axis.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dscsnet.engines.imaging import gaussian_profile


@dataclass(frozen=True)
class Grid:
    """Geometry of a crop and its finer grid.

    Attributes:
        crop_size: side of the square crop, px; odd.
        upsampling: cells a pixel along each axis, c in the paper; odd, so that a cell is centred
            on each pixel.
        field_size: side of the central square, px, in which the model looks for targets; odd, at
            most `crop_size`. Cells outside it are always zero and cost nothing.
    """

    crop_size: int = 11
    upsampling: int = 3
    field_size: int = 11

    def __post_init__(self) -> None:
        for name in ("crop_size", "upsampling", "field_size"):
            value = getattr(self, name)
            if value < 1 or value % 2 == 0:
                raise ValueError(f"{name} must be odd and at least 1, got {value}")
        if self.field_size > self.crop_size:
            raise ValueError(
                f"field_size {self.field_size} must not exceed crop_size {self.crop_size}"
            )

    @property
    def cells(self) -> int:
        """Cells along a side of the whole grid, c n."""
        return self.crop_size * self.upsampling

    @property
    def field_cells(self) -> int:
        """Cells along a side of the field."""
        return self.field_size * self.upsampling

    @property
    def margin_cells(self) -> int:
        """Cells between the grid's side and the field's."""
        return (self.cells - self.field_cells) // 2

    @property
    def center(self) -> int:
        """Crop coordinate of the central pixel, along either axis."""
        return self.crop_size // 2

    def cell_to_crop(self, cell: ArrayLike) -> NDArray[np.float64]:
        """Centre of a grid cell in crop px: (i - (c - 1) / 2) / c."""
        return (np.asarray(cell, float) - (self.upsampling - 1) / 2) / self.upsampling

    def crop_to_cell(self, position: ArrayLike) -> NDArray[np.int64]:
        """Index of the cell that holds a position given in crop px: round(c p + (c - 1) / 2)."""
        scaled = self.upsampling * np.asarray(position, float) + (self.upsampling - 1) / 2
        return np.floor(scaled + 0.5).astype(np.int64)

    def crop_to_frame(self, position: ArrayLike, center: ArrayLike) -> NDArray[np.float64]:
        """Crop px to frame px, for a crop centred on frame pixel `center`."""
        return np.asarray(position, float) + np.asarray(center, float) - self.center

    def operator(self, sigma: float) -> NDArray[np.float64]:
        """One-dimensional imaging operator A; the paper's measurement matrix is A ⊗ A.

        Args:
            sigma: PSF standard deviation, px.

        Returns:
            (crop_size, field_cells): column j is the response to a unit target in field cell j.
        """
        cell = np.arange(self.field_cells) + self.margin_cells
        return gaussian_profile(self.cell_to_crop(cell), self.crop_size, sigma).T

"""What comes of a frame: spots and targets as columns, by the names of the wire format."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.table import Table


@dataclass(frozen=True, eq=False, repr=False)
class SpotColumns(Table):
    """The candidates as they were judged, one row a candidate, in the order given.

    Attributes:
        id: (n,) int64, the number given with the candidate, or its index where none was given.
        x, y: (n,) float64, where the candidate is, px, as given.
        count: (n,) int64, number of targets found in the spot.
        background, noise: (n,) float64 counts: level at the crop's centre, and the standard
            deviation of one pixel; NaN where there was no crop or no usable pixel.
        chi2: (n,) float64, reduced chi-square of the targets against the crop; NaN where unknown.
        flags: (n,) uint32, bits of `SpotFlag`: why the spot deserves doubt; 0 for none.
    """

    id: NDArray[np.int64]
    x: Float
    y: Float
    count: NDArray[np.int64]
    background: Float
    noise: Float
    chi2: Float
    flags: NDArray[np.uint32]


@dataclass(frozen=True, eq=False, repr=False)
class TargetColumns(Table):
    """The point targets, one row a target: spot by spot, in the order in which crops were cut.

    Attributes:
        spot: (m,) int32, row of the spot that it was found in.
        x, y: (m,) float64, px: x is the column, y the row; integers are pixel centres.
        intensity: (m,) float64, total counts above background.
        score: (m,) float64, 0 to 1: the probability that a true target lies within 0.25 px.
        sigma_x, sigma_y: (m,) float64, 1-sigma of the position, px; NaN where not given.
        sigma_intensity: (m,) float64, 1-sigma, counts; NaN where not given.
    """

    spot: NDArray[np.int32]
    x: Float
    y: Float
    intensity: Float
    score: Float
    sigma_x: Float
    sigma_y: Float
    sigma_intensity: Float


@dataclass(frozen=True, eq=False)
class Result:
    """What comes of one frame or of one stack of crops.

    Attributes:
        spots: one row a candidate (or crop).
        targets: one row a target; `targets.spot` says in which spot.
    """

    spots: SpotColumns
    targets: TargetColumns

    def __repr__(self) -> str:
        """Return both tables as text."""
        return f"{self.spots!r}\n{self.targets!r}"

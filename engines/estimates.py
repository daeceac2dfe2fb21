"""What a readout gives: targets and spot quality, as columns."""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

#: Columns that are not one entry a target, or not a float.
PER_CROP = ("crop", "chi2", "converged")


@dataclass(frozen=True)
class Estimates:
    """Targets found in a batch of crops.

    Attributes:
        crop: (m,) index of the crop that each target was found in, ascending.
        x, y: (m,) crop px.
        intensity: (m,) total counts above background.
        score: (m,) 0 to 1, higher is surer; see the readout for its meaning.
        sigma_x, sigma_y, sigma_intensity: (m,) 1-sigma, px and counts; NaN where not given.
        chi2: (crops,) reduced chi-square of the reconstruction against the crop.
        converged: (crops,) bool; False: the targets do not explain the crop, trust none of them.
    """

    crop: NDArray[np.int64]
    x: Float
    y: Float
    intensity: Float
    score: Float
    sigma_x: Float
    sigma_y: Float
    sigma_intensity: Float
    chi2: Float
    converged: NDArray[np.bool_]

    @property
    def crops(self) -> int:
        """Number of crops."""
        return len(self.chi2)

    def slice(self, first: int, last: int) -> "Estimates":
        """The estimates of crops first..last-1, renumbered from 0."""
        begin, end = np.searchsorted(self.crop, (first, last))
        columns = {name: column[begin:end] for name, column in self._columns().items()}
        return Estimates(
            crop=self.crop[begin:end] - first,
            chi2=self.chi2[first:last],
            converged=self.converged[first:last],
            **columns,
        )

    def spread(self, index: NDArray[np.int64], crops: int) -> "Estimates":
        """The same estimates where crop i is crop index[i] of `crops`; index ascends."""
        chi2, converged = np.full(crops, np.nan), np.zeros(crops, bool)
        chi2[index], converged[index] = self.chi2, self.converged
        return replace(self, crop=index[self.crop], chi2=chi2, converged=converged)

    @staticmethod
    def join(parts: "list[Estimates]") -> "Estimates":
        """Estimates of batches one after another."""
        if len(parts) == 1:
            return parts[0]
        offsets = np.cumsum([0, *(part.crops for part in parts[:-1])])
        shifted = [part.crop + offset for part, offset in zip(parts, offsets, strict=True)]
        columns = {
            name: np.concatenate([part._columns()[name] for part in parts])
            for name in parts[0]._columns()
        }
        return Estimates(
            crop=np.concatenate(shifted),
            chi2=np.concatenate([part.chi2 for part in parts]),
            converged=np.concatenate([part.converged for part in parts]),
            **columns,
        )

    @staticmethod
    def none() -> "Estimates":
        """No crops, no targets."""
        empty = np.empty(0)
        return Estimates(
            np.empty(0, np.int64),
            empty,
            empty,
            empty,
            empty,
            empty,
            empty,
            empty,
            chi2=empty,
            converged=np.empty(0, bool),
        )

    def _columns(self) -> dict[str, Float]:
        """The columns with one entry a target, but `crop`."""
        names = (field.name for field in fields(self) if field.name not in PER_CROP)
        return {name: getattr(self, name) for name in names}

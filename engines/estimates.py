"""What a readout gives: targets and spot quality, as columns."""

import enum
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float

#: Columns that are not one float a target.
SPECIAL = ("crop", "likely", "chi2", "doubt", "psf_scale", "occupied", "probability")


class Doubt(enum.IntFlag):
    """Bits of `Estimates.doubt`: why the targets of a crop are not to be trusted."""

    MISFIT = 1  # they do not explain the crop
    PSF = 2  # the spots are wider or narrower than the PSF that was told
    CROWDED = 4  # more targets than can be told apart
    NO_RESULT = 8  # nothing finite came out, or the crop was not unmixed


@dataclass(frozen=True)
class Estimates:
    """Targets found in a batch of crops.

    Attributes:
        crop: (m,) index of the crop that each target was found in, ascending.
        x, y: (m,) crop px.
        intensity: (m,) total counts above background.
        likely: (m,) whether it belongs to the likeliest number of targets; a readout can be told to
            give further ones, which come after these in their crop.
        score: (m,) 0 to 1, higher is surer; see the readout for its meaning.
        sigma_x, sigma_y, sigma_intensity: (m,) 1-sigma, px and counts; NaN where not given.
        chi2: (crops,) reduced chi-square of the reconstruction against the crop.
        doubt: (crops,) bits of `Doubt`; 0: trust the targets.
        psf_scale: (crops,) fitted PSF width over the one told; NaN where not fitted.
        occupied: (crops,) probability that there is a target at all; NaN where not given.
        probability: (crops, n + 2) of 0, 1, ... n targets and of more; NaN where not given, and
            (crops, 0) where no crop has any.
    """

    crop: NDArray[np.int64]
    x: Float
    y: Float
    intensity: Float
    likely: NDArray[np.bool_]
    score: Float
    sigma_x: Float
    sigma_y: Float
    sigma_intensity: Float
    chi2: Float
    doubt: NDArray[np.uint8]
    psf_scale: Float
    occupied: Float
    probability: Float

    @property
    def crops(self) -> int:
        """Number of crops."""
        return len(self.chi2)

    @property
    def number(self) -> NDArray[np.int64]:
        """(crops,) likeliest number of targets."""
        return np.bincount(self.crop[self.likely], minlength=self.crops)

    @property
    def converged(self) -> NDArray[np.bool_]:
        """(crops,) whether the targets of each crop are to be trusted."""
        return self.doubt == 0

    @property
    def certainty(self) -> Float:
        """(crops,) probability of the number of targets that is given; NaN where not given."""
        if not self.probability.shape[1]:
            return np.full(self.crops, np.nan)
        result: Float = np.take_along_axis(self.probability, self.number[:, None], 1)[:, 0]
        return result

    def with_probability(self, probability: Float) -> "Estimates":
        """The same with other (crops, n + 2) probabilities of each number of targets."""
        return Estimates(**(vars(self) | {"probability": probability}))

    def likeliest(self) -> "Estimates":
        """The same without targets beyond the likeliest number."""
        rows = self.likely
        columns = {name: column[rows] for name, column in self._columns().items()}
        crop, likely = self.crop[rows], self.likely[rows]
        return replace(self, crop=crop, likely=likely, doubt=self.doubt, **columns)

    def slice(self, first: int, last: int) -> "Estimates":
        """The estimates of crops first..last-1, renumbered from 0."""
        if first == 0 and last >= self.crops:
            return self
        begin, end = np.searchsorted(self.crop, (first, last))
        columns = {name: column[begin:end] for name, column in self._columns().items()}
        crops = {name: column[first:last] for name, column in self._crop_columns().items()}
        return Estimates(
            crop=self.crop[begin:end] - first,
            likely=self.likely[begin:end],
            doubt=self.doubt[first:last],
            **columns,
            **crops,
        )

    def spread(self, index: NDArray[np.int64], crops: int) -> "Estimates":
        """The same estimates where crop i is crop index[i] of `crops`; index ascends."""
        if len(index) == crops:
            return self
        doubt = np.full(crops, Doubt.NO_RESULT, np.uint8)
        doubt[index] = self.doubt
        spread = {}
        for name, column in self._crop_columns().items():
            spread[name] = np.full((crops, *column.shape[1:]), np.nan)
            spread[name][index] = column
        return replace(self, crop=index[self.crop], doubt=doubt, **spread)

    def replaced(self, index: NDArray[np.int64], other: "Estimates") -> "Estimates":
        """The same with crop index[i] as crop i of `other` has it; index ascends."""
        stays = ~np.isin(self.crop, index)
        crop = np.concatenate([self.crop[stays], index[other.crop]])
        order = np.argsort(crop, kind="stable")
        columns = {
            name: np.concatenate([column[stays], getattr(other, name)])[order]
            for name, column in self._columns().items()
        }
        likely = np.concatenate([self.likely[stays], other.likely])[order]
        crops = {name: column.copy() for name, column in self._crop_columns().items()}
        for name, column in crops.items():
            column[index] = getattr(other, name)
        doubt = self.doubt.copy()
        doubt[index] = other.doubt
        return Estimates(crop=crop[order], likely=likely, doubt=doubt, **columns, **crops)

    @staticmethod
    def join(parts: "list[Estimates]") -> "Estimates":
        """Estimates of batches one after another."""
        if len(parts) == 1:
            return parts[0]
        offsets = np.cumsum([0, *(part.crops for part in parts[:-1])])
        shifted = [part.crop + offset for part, offset in zip(parts, offsets, strict=True)]
        # Of how many numbers there is a probability, only parts with crops can say.
        some = [part for part in parts if part.crops] or parts[:1]
        columns = {
            name: np.concatenate([getattr(part, name) for part in some])
            for name in (*parts[0]._columns(), *parts[0]._crop_columns())
        }
        doubt = np.concatenate([part.doubt for part in parts])
        likely = np.concatenate([part.likely for part in parts])
        return Estimates(crop=np.concatenate(shifted), likely=likely, doubt=doubt, **columns)

    @staticmethod
    def none() -> "Estimates":
        """No crops, no targets."""
        special = {"crop": np.int64, "likely": np.bool_, "doubt": np.uint8}
        types = {f.name: special.get(f.name, np.float64) for f in fields(Estimates)}
        columns: dict[str, NDArray[Any]] = {n: np.empty(0, dtype) for n, dtype in types.items()}
        columns["probability"] = np.empty((0, 0))
        return Estimates(**columns)

    def _columns(self) -> dict[str, Float]:
        """The columns with one float a target."""
        names = (field.name for field in fields(self) if field.name not in SPECIAL)
        return {name: getattr(self, name) for name in names}

    def _crop_columns(self) -> dict[str, Float]:
        """The columns with one entry a crop, but `doubt`."""
        names = ("chi2", "psf_scale", "occupied", "probability")
        return {name: getattr(self, name) for name in names}

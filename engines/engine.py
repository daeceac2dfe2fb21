"""What an engine is: crops in, targets out, with or without a network behind it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.estimates import Estimates
from dscsnet.engines.geometry import Grid

Outputs = Mapping[str, NDArray[np.float32]]

#: PSF sigma along x and y, px.
Psf = tuple[float, float]


@dataclass(frozen=True)
class CropBatch:
    """Crops as an engine takes them.

    Attributes:
        pixels: (n, s, s) float32 counts above background, C-contiguous.
        usable: (n, s, s) bool, pixels to trust in the fit.
        noise: (n,) float32 noise sigma, counts; NaN where unknown.
        psf: (n, 2) float32 PSF sigma along x and y, px.
    """

    pixels: NDArray[np.float32]
    usable: NDArray[np.bool_]
    noise: NDArray[np.float32]
    psf: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.pixels)

    def part(self, first: int, last: int) -> "CropBatch":
        """Crops first..last-1."""
        rows = np.s_[first:last]
        return CropBatch(self.pixels[rows], self.usable[rows], self.noise[rows], self.psf[rows])


class Engine(Protocol):
    """Crops in, targets out; used by one thread at a time.

    Attributes:
        name: of the model.
        runtime_name: runtime, version and device, as published in messages.
        sha256: digest of the network that identifies it in messages; empty without a network.
        grid: the crops' geometry.
        psf: PSF sigma along x and y that crops have unless a batch says otherwise, px.
    """

    @property
    def name(self) -> str: ...
    @property
    def runtime_name(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def grid(self) -> Grid: ...
    @property
    def psf(self) -> Psf: ...

    def run(self, batch: CropBatch) -> Outputs:
        """The expensive part.

        Raises:
            InferenceError: it failed, or not one result is finite.
        """

    def read(self, outputs: Outputs, batch: CropBatch) -> Estimates:
        """Turn what `run` gave into targets."""

    def check(self, batch_sizes: tuple[int, ...] = (1, 8, 64)) -> None:
        """Find out that it works, and warm it up with batches of these sizes.

        Raises:
            ModelError: it does not compute what it should.
        """

    def close(self) -> None:
        """Free what it holds."""


def finite_crops(outputs: Outputs) -> NDArray[np.bool_]:
    """(n,) crops all of whose outputs are finite."""
    each = [np.isfinite(a).all(tuple(range(1, a.ndim))) for a in outputs.values()]
    result: NDArray[np.bool_] = np.logical_and.reduce(each)
    return result


def make_batch(
    engine: Engine,
    pixels: NDArray[np.float32],
    usable: NDArray[np.bool_],
    noise: NDArray[np.float32],
) -> CropBatch:
    """Crops with the engine's own PSF; shapes as in `CropBatch`."""
    psf = np.broadcast_to(np.array(engine.psf, np.float32), (len(pixels), 2))
    return CropBatch(pixels, usable, noise, np.ascontiguousarray(psf))

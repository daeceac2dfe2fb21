"""What an engine is: crops in, targets out, with or without a network behind it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.estimates import Estimates
from dscsnet.engines.geometry import Grid
from dscsnet.engines.sensor import Psf, Sensor

Outputs = Mapping[str, NDArray[np.float32]]

#: Of batches that say no more than the widths of each crop's PSF.
PLAIN_SENSOR = Sensor((1.0, 1.0))


@dataclass(frozen=True)
class CropBatch:
    """Crops as an engine takes them.

    Attributes:
        pixels: (n, s, s) float32 counts above background, C-contiguous.
        usable: (n, s, s) bool, pixels to trust in the fit.
        noise: (n,) float32 noise sigma, counts; NaN where unknown.
        psf: (n, 2) float32 PSF sigma along x and y, px; where the sensor's PSF is a table, that
            holds.
        sensor: what else is known of the PSF, and the noise of light; the same for all crops.
        frame: (n,) number of the frame that each crop is of, those of one frame together; None:
            they have nothing to do with each other.
        log_prior: (n, slots + 2) added to ln of the probability of 0, 1, ... targets and of more;
            None: nothing is.
    """

    pixels: NDArray[np.float32]
    usable: NDArray[np.bool_]
    noise: NDArray[np.float32]
    psf: NDArray[np.float32]
    sensor: Sensor = PLAIN_SENSOR
    frame: NDArray[np.int64] | None = None
    log_prior: Float | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def part(self, first: int, last: int) -> "CropBatch":
        """Crops first..last-1."""
        rows = np.s_[first:last]
        return self.take(rows)

    def take(self, rows: slice | NDArray[np.int64] | NDArray[np.bool_]) -> "CropBatch":
        """Some of the crops."""
        columns = (self.pixels[rows], self.usable[rows], self.noise[rows], self.psf[rows])
        frame = None if self.frame is None else self.frame[rows]
        log_prior = None if self.log_prior is None else self.log_prior[rows]
        return CropBatch(*columns, self.sensor, frame, log_prior)


class Engine(Protocol):
    """Crops in, targets out; used by one thread at a time.

    Attributes:
        name: of the model.
        runtime_name: runtime, version and device, as published in messages.
        sha256: digest of the network that identifies it in messages; empty without a network.
        grid: the crops' geometry.
        sensor: that crops are of unless a batch says otherwise.
        psf: of that sensor, sigma along x and y, px.
        weighs_numbers: whether a batch's `log_prior` changes what it reads.
        on_gpu: whether its network runs on a GPU.
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
    def sensor(self) -> Sensor: ...
    @property
    def psf(self) -> Psf: ...
    @property
    def weighs_numbers(self) -> bool: ...
    @property
    def on_gpu(self) -> bool: ...

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
    """Crops of the engine's own sensor; shapes as in `CropBatch`."""
    psf = np.broadcast_to(np.array(engine.sensor.psf, np.float32), (len(pixels), 2))
    return CropBatch(pixels, usable, noise, np.ascontiguousarray(psf), engine.sensor)

"""What an engine is: crops in, targets out, with or without a network behind it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.errors import ModelError
from engines.estimates import Estimates
from engines.geometry import Grid
from engines.psf_fit_settings import PSF_FIT, PsfFitSettings
from engines.runtimes.base import RuntimeOptions

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


def open_engine(
    model: str | Path,
    runtime: str = "auto",
    *,
    threads: int = 0,
    psf: Psf | None = None,
    psf_fit: PsfFitSettings | None = None,
    least_existence: float | None = None,
    options: RuntimeOptions | None = None,
) -> Engine:
    """Load a model by name or folder into a runtime; `psf-fit` needs neither.

    Args:
        threads: CPU threads of one batch; 0: one for each core.
        psf: the sensor's PSF sigma along x and y, px; None: what the model was made for.
        psf_fit: settings of `psf-fit`, in place of `psf`.
        least_existence: give targets beyond the likeliest number, too, from this probability on.
        options: what else runtimes can be told; its threads give way to `threads`.

    Raises:
        ModelError: the model or the runtime is not there, does not work or is not for this PSF.
    """
    if str(model) == PSF_FIT:
        if least_existence is not None:
            raise ModelError("least_existence: psf-fit has no targets beyond the likeliest number")
        from engines.psf_fit import PsfFitEngine

        return PsfFitEngine(psf_fit) if psf_fit else PsfFitEngine.for_gaussian(psf)
    from engines.model_engine import open_model_engine

    options = replace(options or RuntimeOptions(), threads=threads)
    return open_model_engine(
        model, runtime, psf=psf, least_existence=least_existence, options=options
    )

"""An engine: a model, the runtime that executes it, and the readout that its card names."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.errors import InferenceError, ModelError
from engines.estimates import Estimates
from engines.model import Golden, Model, load_model
from engines.readouts import read_grid
from engines.runtimes import Runtime, open_runtime

#: Relative L2 error against the float64 reference that the golden check allows.
GOLDEN_TOLERANCE = 1e-4


@dataclass(frozen=True)
class CropBatch:
    """Crops as an engine takes them.

    Attributes:
        pixels: (n, s, s) float32 counts above background, C-contiguous.
        usable: (n, s, s) bool, pixels to trust in the fit.
        noise: (n,) float32 noise sigma, counts; NaN where unknown.
    """

    pixels: NDArray[np.float32]
    usable: NDArray[np.bool_]
    noise: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.pixels)


class Engine:
    """Crops in, targets out; used by one thread at a time."""

    def __init__(self, model: Model, runtime: Runtime) -> None:
        self.model, self.runtime = model, runtime

    def run(self, batch: CropBatch) -> NDArray[np.float32]:
        """Execute the network: (n, c s, c s) counts per cell.

        Raises:
            InferenceError: the runtime failed, or not one result is finite.
        """
        (name,) = self.model.card.inputs
        (output,) = self.model.card.outputs
        grids = self.runtime.run({name: batch.pixels})[output]
        if len(grids) and not np.isfinite(grids).all((1, 2)).any():
            raise InferenceError("the network's output is not finite for any crop of the batch")
        return grids

    def read(self, grids: NDArray[np.float32], batch: CropBatch) -> Estimates:
        """Turn the network's output into targets."""
        return read_grid(self.model.card, grids, batch.pixels, batch.usable, batch.noise)

    def golden_error(self) -> float:
        """Largest relative L2 error of an output on the stored crops."""
        return self._error_on(self.model.golden())

    def _error_on(self, golden: Golden) -> float:
        outputs = self.runtime.run(golden.inputs)
        return max(
            float(np.linalg.norm(outputs[name] - reference) / np.linalg.norm(reference))
            for name, reference in golden.outputs.items()
        )

    def check(self, batch_sizes: tuple[int, ...] = (1, 8, 64)) -> None:
        """Golden check, then one batch of each size so that no first frame pays for set-up.

        Raises:
            ModelError: this runtime does not compute what the model's reference does.
        """
        golden = self.model.golden()
        error = self._error_on(golden)
        if not error <= GOLDEN_TOLERANCE:
            raise ModelError(
                f"{self.model.card.name} on {self.runtime.name}: golden check failed: "
                f"relative error {error:.1e}, at most {GOLDEN_TOLERANCE:.0e} allowed"
            )
        (crops,) = golden.inputs.values()
        for size in batch_sizes:
            pixels = np.ascontiguousarray(crops[np.arange(size) % len(crops)])
            usable = np.ones(pixels.shape, bool)
            batch = CropBatch(pixels, usable, np.ones(size, np.float32))
            self.read(self.run(batch), batch)

    def close(self) -> None:
        """Free the runtime."""
        self.runtime.close()


def open_engine(model: str | Path, runtime: str = "auto", *, threads: int = 0) -> Engine:
    """Load a model by name or folder into a runtime.

    Raises:
        ModelError: the model or the runtime is not there or does not work.
    """
    loaded = load_model(model)
    return Engine(loaded, open_runtime(runtime, loaded.network_path, threads=threads))

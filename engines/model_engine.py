"""The engine of a model: a runtime executes its network, the readout that its card names reads."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.card import GridReadout
from engines.engine import CropBatch, Outputs, Psf, finite_crops, make_batch
from engines.errors import GoldenCheckFailed, InferenceError, ModelError
from engines.estimates import Estimates
from engines.geometry import Grid
from engines.model import Golden, Model, load_model
from engines.readouts import read_grid, read_gridless
from engines.runtimes import Runtime, RuntimeOptions, Unavailable, openers

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fallback:
    """A runtime that `auto` passed over.

    Attributes:
        cause: `no_driver`, `no_library`, `refused`, `golden_check`.
    """

    runtime: str
    cause: str
    reason: str


class ModelEngine:
    """Crops in, targets out; used by one thread at a time.

    Args:
        psf: PSF sigma along x and y, px; None: the width that the model's card gives.
        fallbacks: faster runtimes that did not work here.
    """

    def __init__(
        self,
        model: Model,
        runtime: Runtime,
        psf: Psf | None = None,
        fallbacks: tuple[Fallback, ...] = (),
    ) -> None:
        self.model, self.runtime, self.fallbacks = model, runtime, fallbacks
        width = model.card.psf_sigma
        self._psf = psf or (width, width)

    @property
    def name(self) -> str:
        return self.model.card.name

    @property
    def runtime_name(self) -> str:
        return self.runtime.name

    @property
    def sha256(self) -> str:
        return self.model.sha256

    @property
    def grid(self) -> Grid:
        return self.model.card.grid

    @property
    def psf(self) -> Psf:
        return self._psf

    def run(self, batch: CropBatch) -> Outputs:
        """Execute the network; outputs by the names that the card gives.

        Raises:
            InferenceError: the runtime failed, or not one result is finite.
        """
        given: dict[str, NDArray[np.float32]] = {
            "crops": batch.pixels,
            "noise": batch.noise,
            "psf_sigma": batch.psf,
        }
        outputs = self.runtime.run({name: given[name] for name in self.model.card.inputs})
        if len(batch) and not finite_crops(outputs).any():
            raise InferenceError("the network's output is not finite for any crop of the batch")
        return outputs

    def read(self, outputs: Outputs, batch: CropBatch) -> Estimates:
        """Turn the network's output into targets."""
        card = self.model.card
        if isinstance(card.readout, GridReadout):
            return read_grid(card, card.readout, outputs["grid"], batch)
        return read_gridless(card.readout, outputs, batch)

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
            GoldenCheckFailed: this runtime does not compute what the model's reference does.
        """
        crops = self.check_golden().inputs["crops"]
        for size in batch_sizes:
            pixels = np.ascontiguousarray(crops[np.arange(size) % len(crops)])
            noise = np.ones(size, np.float32)
            batch = make_batch(self, pixels, np.ones(pixels.shape, bool), noise)
            self.read(self.run(batch), batch)

    def check_golden(self) -> Golden:
        """Compare with the float64 reference on the stored crops, which are returned.

        Raises:
            GoldenCheckFailed: the difference is not that of rounding.
        """
        golden = self.model.golden()
        error, allowed = self._error_on(golden), self.runtime.tolerance
        if not error <= allowed:
            raise GoldenCheckFailed(
                f"{self.name} on {self.runtime_name}: golden check failed: "
                f"relative error {error:.1e}, at most {allowed:.0e} allowed"
            )
        return golden

    def close(self) -> None:
        """Free the runtime."""
        self.runtime.close()


def open_model_engine(
    name: str | Path,
    runtime: str = "auto",
    *,
    psf: Psf | None = None,
    options: RuntimeOptions | None = None,
) -> ModelEngine:
    """Load a model into a runtime; see `open_engine`."""
    model = load_model(name)
    low, high = model.card.psf_sigma_range
    if psf and not (low <= min(psf) and max(psf) <= high):
        given = f"{psf[0]:g}" if psf[0] == psf[1] else f"{psf[0]:g} by {psf[1]:g}"
        raise ModelError(
            f"PSF sigma {given} px: the model {model.card.name} holds for {low:g} to {high:g} px; "
            "take another model, the engine psf-fit, or train a model for this sensor"
        )
    options = options or RuntimeOptions()
    *faster, (_, last) = openers(runtime)
    fallbacks: list[Fallback] = []
    for kind, opener in faster:
        try:
            return _checked(ModelEngine(model, opener(model, options), psf, tuple(fallbacks)))
        except (ModelError, InferenceError) as error:
            fallbacks.append(_fallback(kind, error))
    return ModelEngine(model, last(model, options), psf, tuple(fallbacks))


def _checked(engine: ModelEngine) -> ModelEngine:
    try:
        engine.check_golden()
    except BaseException:
        engine.close()
        raise
    return engine


def _fallback(kind: str, error: Exception) -> Fallback:
    if isinstance(error, Unavailable):
        cause = error.cause
    else:
        cause = "golden_check" if isinstance(error, GoldenCheckFailed) else "refused"
    # To have no GPU is no fault.
    level = logging.INFO if cause == "no_driver" else logging.WARNING
    log.log(level, "runtime %s is passed over: %s", kind, error)
    return Fallback(kind, cause, str(error))

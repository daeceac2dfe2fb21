"""The engine of a model: a runtime executes its network, the readout that its card names reads."""

import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from dscsnet.engines.card import GridlessReadout, GridReadout, ModelCard
from dscsnet.engines.compiled import as_kernel_takes
from dscsnet.engines.engine import CropBatch, Outputs, finite_crops, make_batch
from dscsnet.engines.errors import GoldenCheckFailed, InferenceError, ModelError
from dscsnet.engines.estimates import Estimates
from dscsnet.engines.fitting import NO_SELECTION
from dscsnet.engines.geometry import Grid
from dscsnet.engines.model import SELECTION, Golden, Model, load_model
from dscsnet.engines.network_view import blind_crops, count_exponent, seen_by_network, seen_psf
from dscsnet.engines.noise_model import USUAL_NOISE, NoiseModel
from dscsnet.engines.readouts import read_grid, read_gridless
from dscsnet.engines.runtimes import Runtime, RuntimeOptions, Unavailable, openers
from dscsnet.engines.sensor import Psf, Sensor

if TYPE_CHECKING:
    from dscsnet.engines.psf_fit import PsfFitEngine

log = logging.getLogger(__name__)

#: A PSF width this far outside of the card's range, relative, is known too: a little more than the
#: told widths of training, whose errors widened the range.
NEARLY = 0.111
#: Cost of a target in fits without a network, ln(pixels): one false in some hundred single ones.
TARGET_PENALTY = 3.7
#: Pixels along the crop's rim whose loss a network hardly feels.
MARGIN = 1


@dataclass(frozen=True)
class Fallback:
    """A runtime that `auto` passed over.

    Attributes:
        cause: `no_driver`, `no_bf16`, `no_library`, `slower`, `refused`, `golden_check`.
    """

    runtime: str
    cause: str
    reason: str


class ModelEngine:
    """Crops in, targets out; used by one thread at a time.

    Args:
        sensor: its PSF and noise; None: a PSF of the width that the model's card gives.
        fallbacks: faster runtimes that did not work here.
    """

    def __init__(
        self,
        model: Model,
        runtime: Runtime,
        sensor: Sensor | None = None,
        fallbacks: tuple[Fallback, ...] = (),
    ) -> None:
        self.model, self.runtime, self.fallbacks = model, runtime, fallbacks
        self.sensor = sensor or Sensor.gaussian(model.card.psf_sigma)
        self._selection = model.selection()
        self._fit: PsfFitEngine | None = None  # of crops that the network cannot judge

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
        return self.sensor.psf

    @property
    def weighs_numbers(self) -> bool:
        return self._selection is not NO_SELECTION

    @property
    def on_gpu(self) -> bool:
        return self.runtime.on_gpu

    def run(self, batch: CropBatch) -> Outputs:
        """Execute the network; outputs by the names that the card gives.

        Raises:
            InferenceError: the runtime failed, or gave something else than the card says, or not
                one result is finite.
        """
        batch = self._known(batch)
        given = seen_by_network(batch, scale_free=self._scale_free)
        outputs = self._execute({name: given[name] for name in self.model.card.inputs})
        exponent = count_exponent(batch)
        if self._scale_free and exponent.any() and "log_intensity" in outputs:
            rise = (math.log(2) * exponent).astype(np.float32)
            outputs["log_intensity"] = outputs["log_intensity"] + rise[:, None]
        if len(batch) and not finite_crops(outputs).any():
            raise InferenceError("the network's output is not finite for any crop of the batch")
        return outputs

    def _execute(self, inputs: Outputs) -> dict[str, NDArray[np.float32]]:
        """The outputs that the card names, found to have the shapes that its readout takes."""
        card, results = self.model.card, self.runtime.run(inputs)
        missing = sorted(set(card.outputs) - set(results))
        if missing:
            raise InferenceError(f"the network has no output {', '.join(missing)}")
        outputs = {name: results[name] for name in card.outputs}
        for name, shape in _shapes(card, outputs, len(inputs["crops"])).items():
            found = outputs[name]
            if found.shape != shape or found.dtype != np.float32:
                raise InferenceError(
                    f"the network's output {name}: expected float32 {shape}, "
                    f"got {found.dtype} {found.shape}"
                )
        return outputs

    def read(self, outputs: Outputs, batch: CropBatch) -> Estimates:
        """Turn the network's output into targets."""
        card, batch = self.model.card, self._known(batch)
        if isinstance(card.readout, GridReadout):
            return read_grid(card, card.readout, outputs["grid"], batch)
        slots = outputs["existence"].shape[1]
        if self._selection.slots not in (NO_SELECTION.slots, slots):
            raise ModelError(
                f"{self.name}: {SELECTION} is for {self._selection.slots} slots, "
                f"the network has {slots}"
            )
        estimates = read_gridless(card.readout, outputs, batch, self._selection)
        blind = self._blind(batch)
        return self._refit(estimates, batch, blind) if blind.any() else estimates

    @property
    def _scale_free(self) -> bool:
        return self.model.card.normalisation != "fixed"

    def _known(self, batch: CropBatch) -> CropBatch:
        """The batch; of a protocol whose counts are fixed, the PSF is known without error."""
        if self._scale_free:
            return batch
        sensor = batch.sensor
        exact = replace(sensor, noise_model=sensor.noise_model._replace(psf_error=0.0))
        return replace(batch, sensor=exact)

    def _blind(self, batch: CropBatch) -> NDArray[np.bool_]:
        """(n,) crops that the network cannot judge: its PSF is another, or pixels are missing.

        Pixels whose loss matters are those of the field in which it looks for targets.
        """
        low, high = self.model.card.psf_sigma_range
        margin = MARGIN if self.grid.crop_size > 2 * MARGIN else 0
        return blind_crops(
            as_kernel_takes(seen_psf(batch), np.float32),
            as_kernel_takes(batch.usable, np.bool_),
            np.float32(low * (1 - NEARLY)),
            np.float32(high * (1 + NEARLY)),
            margin,
        )

    def _refit(self, estimates: Estimates, batch: CropBatch, rows: NDArray[np.bool_]) -> Estimates:
        """The estimates with some crops' from fits that no network started."""
        if self._fit is None:
            from dscsnet.engines.psf_fit import PsfFitEngine
            from dscsnet.engines.psf_fit_settings import PsfFitSettings

            settings = PsfFitSettings(
                crop_size=self.grid.crop_size,
                most=estimates.probability.shape[1] - 2,
                target_penalty=TARGET_PENALTY,
            )
            self._fit = PsfFitEngine(settings)
        part = batch.take(rows)
        return estimates.replaced(np.flatnonzero(rows), self._fit.read(self._fit.run(part), part))

    def golden_error(self) -> float:
        """Largest relative L2 error of an output on the stored crops."""
        return self._error_on(self.model.golden())

    def _error_on(self, golden: Golden) -> float:
        side = self.grid.crop_size
        if golden.inputs["crops"].shape[1:] != (side, side):
            shape = golden.inputs["crops"].shape
            raise ModelError(
                f"{self.name}: golden crops: expected (n, {side}, {side}), got {shape}"
            )
        outputs = self._execute(golden.inputs)
        return max(
            _relative_error(outputs[name], reference) for name, reference in golden.outputs.items()
        )

    def check(self, batch_sizes: tuple[int, ...] = (1, 8, 64)) -> None:
        """Golden check, then one batch of each size so that no first frame pays for set-up.

        Raises:
            GoldenCheckFailed: this runtime does not compute what the model's reference does.
        """
        crops = self.check_golden().inputs["crops"]
        crops = np.where(np.isfinite(crops), crops, np.float32(0))
        for size in batch_sizes:
            pixels = np.ascontiguousarray(crops[np.arange(size) % len(crops)])
            noise = np.ones(size, np.float32)
            batch = make_batch(self, pixels, np.ones(pixels.shape, bool), noise)
            found = self.read(self.run(batch), batch)
        if isinstance(self.model.card.readout, GridlessReadout):
            # The fit of crops that the network cannot judge is made, too, before any needs it.
            self._refit(found, batch, np.arange(len(batch)) == 0)

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


def _shapes(card: ModelCard, outputs: Outputs, number: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the outputs that the card's readout takes, for so many crops."""
    if isinstance(card.readout, GridReadout):
        return {"grid": (number, card.grid.cells, card.grid.cells)}
    slots = outputs["existence"].shape[-1] if outputs["existence"].ndim else 0
    return {
        "count": (number, slots + 2),
        "existence": (number, slots),
        "position": (number, slots, 2),
        "log_intensity": (number, slots),
        "log_sigma": (number, slots, 3),
    }


def _relative_error(found: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """L2 error over the L2 norm of the reference; NaN or infinite where that tells nothing."""
    if found.shape != reference.shape:
        return math.inf
    with np.errstate(all="ignore"):
        return float(np.linalg.norm(found - reference) / np.linalg.norm(reference))


def open_model_engine(
    name: str | Path,
    runtime: str = "auto",
    *,
    sensor: Sensor | None = None,
    noise_model: NoiseModel | None = None,
    least_existence: float | None = None,
    options: RuntimeOptions | None = None,
) -> ModelEngine:
    """Load a model into a runtime; see `open_engine`."""
    model = _with_further(load_model(name), least_existence)
    gridless = isinstance(model.card.readout, GridlessReadout)
    if sensor is None:
        sensor = Sensor.gaussian(model.card.psf_sigma, noise_model=noise_model or USUAL_NOISE)
    elif not gridless:
        _refuse_strange(model.card, sensor)
    options = options or RuntimeOptions()
    *faster, (_, last) = openers(runtime)
    fallbacks: list[Fallback] = []
    for kind, opener in faster:
        try:
            return _checked(ModelEngine(model, opener(model, options), sensor, tuple(fallbacks)))
        except (ModelError, InferenceError) as error:
            fallbacks.append(_fallback(kind, error))
    return ModelEngine(model, last(model, options), sensor, tuple(fallbacks))


def _refuse_strange(card: ModelCard, sensor: Sensor) -> None:
    """Without a fit after it a network answers for its own PSF only."""
    if sensor.is_tabled:
        raise ModelError(
            f"the model {card.name} takes a Gaussian PSF along the image's axes; for another, "
            "take field-unfolded or the engine psf-fit"
        )
    (low, high), psf = card.psf_sigma_range, sensor.psf
    if not (low <= min(psf) and max(psf) <= high):
        given = f"{psf[0]:g}" if psf[0] == psf[1] else f"{psf[0]:g} by {psf[1]:g}"
        raise ModelError(
            f"PSF sigma {given} px: the model {card.name} holds for {low:g} to {high:g} px; "
            "take another model, the engine psf-fit, or train a model for this sensor"
        )


def gives_further(readout: GridReadout | GridlessReadout) -> bool:
    """Whether it can score targets beyond the likeliest number."""
    return isinstance(readout, GridlessReadout) and readout.further_weights is not None


def _with_further(model: Model, least_existence: float | None) -> Model:
    """The model with a readout that also gives less likely targets, if that was asked for."""
    readout = model.card.readout
    if least_existence is None:
        return model
    if not gives_further(readout):
        raise ModelError(
            f"least_existence: {model.card.name} has no calibrated score for further targets"
        )
    told = structs.replace(readout, least_existence=least_existence)
    return replace(model, card=structs.replace(model.card, readout=told))


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
    # To have no GPU, or a processor without bfloat16, is no fault.
    level = logging.INFO if cause in ("no_driver", "no_bf16", "slower") else logging.WARNING
    log.log(level, "runtime %s is passed over: %s", kind, error)
    return Fallback(kind, cause, str(error))

"""The blind fit with SciPy's least squares: an independent peer of `psf-fit`.

It shares the readout of `psf-fit`, so that the two differ by their fits alone. Needs SciPy, of the
`dev` extra.
"""

import math
from collections.abc import Iterator

import numpy as np
import scipy
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.engine import CropBatch, Outputs, make_batch
from dscsnet.engines.errors import ModelError
from dscsnet.engines.estimates import Estimates
from dscsnet.engines.imaging import render
from dscsnet.engines.psf_fit import PsfFitEngine
from dscsnet.engines.sensor import Psf
from dscsnet.tools.references.scipy_model import LEAST_START, PLANE, CropModel, Fit

RANDOM_STARTS = 6
#: Outputs that a crop may be without.
PER_CROP = ("chi2", "psf_factor", "sigma_psf_factor")
#: Half the way between the two that a target is split into, and how far around it light tells
#: along which axis, px.
SPLIT, SPLIT_REACH = 0.35, 2.5
#: Spread of random starts: positions, px, and ln intensity.
START_SPREAD = (0.9, 0.9, 0.5)


class ScipyFitEngine:
    """Fits of 0 to 5 targets with a Gaussian PSF along the image's axes, crop by crop."""

    name = "scipy-fit"
    runtime_name = f"SciPy {scipy.__version__} CPU"
    sha256 = ""
    weighs_numbers = on_gpu = False

    def __init__(self) -> None:
        self._readout = PsfFitEngine()
        self.grid, self.sensor = self._readout.grid, self._readout.sensor
        most, seed = self._readout.settings.most, self._readout.settings.seed
        # The pixels that psf-fit looks at: beyond them the crop holds clutter but no target.
        row, column = np.indices((self.grid.crop_size,) * 2) - self.grid.center
        self._near = row**2 + column**2 <= (self.grid.crop_size / 2 - 1) ** 2
        self._draws = np.random.default_rng(seed).normal(size=(RANDOM_STARTS, most, 3))

    @property
    def psf(self) -> Psf:
        return self.sensor.psf

    def run(self, batch: CropBatch) -> Outputs:
        """Fit the crops; the outputs of `psf-fit` by their names.

        A crop without pixels or PSF is left alone.
        """
        number, most = len(batch), self._draws.shape[1]
        outputs = {
            "targets": np.zeros(number, np.float32),
            "slots": np.full((6, number, most), np.nan, np.float32),
            "probability": np.zeros((number, most + 1), np.float32),
            **{name: np.full(number, np.nan, np.float32) for name in PER_CROP},
        }
        known = (np.isfinite(batch.psf) & (batch.psf > 0)).all(1)
        for crop in np.flatnonzero(known).tolist():
            pixels, psf = batch.pixels[crop].astype(float), batch.psf[crop].astype(float)
            model = CropModel(
                pixels, batch.usable[crop] & self._near, float(batch.noise[crop]), psf
            )
            if len(model.observed) > PLANE:
                _write(model, fit_orders(model, self._draws), crop, outputs)
        return outputs

    def read(self, outputs: Outputs, batch: CropBatch) -> Estimates:
        """Targets with their sigmas, scored as those of `psf-fit`."""
        return self._readout.read(outputs, batch)

    def check(self, batch_sizes: tuple[int, ...] = (1, 8, 64)) -> None:
        """Fit one bright target in batches of these sizes.

        Raises:
            ModelError: it is not found where it is.
        """
        size, middle = self.grid.crop_size, self.grid.center
        spot = render([middle + 0.2], [middle], [1e3], (size, size), *self.psf)
        for number in batch_sizes:
            pixels = np.repeat(spot[None].astype(np.float32), number, 0)
            noise = np.ones(number, np.float32)
            batch = make_batch(self, pixels, np.ones(pixels.shape, bool), noise)
            found = self.read(self.run(batch), batch)
            near = np.hypot(found.x - middle - 0.2, found.y - middle) < 0.1
            if not (found.crops == near.sum() == number):
                raise ModelError(f"{self.name} on {self.runtime_name} misses a bright target")

    def close(self) -> None:
        """Nothing to free."""


def _write(
    model: CropModel, fits: list[Fit], crop: int, outputs: dict[str, NDArray[np.float32]]
) -> None:
    """One crop's outputs: the number with the least cost, and the evidence of each."""
    costs = np.array([fit.cost for fit in fits])
    evidence = np.exp(0.5 * (costs.min() - costs))
    outputs["probability"][crop, : len(fits)] = evidence / evidence.sum()
    best = fits[costs.argmin()]
    count, sigma = len(best.targets), np.sqrt(model.covariance(best).diagonal()[PLANE:])
    outputs["targets"][crop], outputs["chi2"][crop] = count, model.chi2(best)
    slots = outputs["slots"][:, crop, :count]
    slots[:] = np.concatenate([best.targets.T, sigma.reshape(-1, 3).T])
    slots[2] += math.log(model.noise)


def fit_orders(model: CropModel, draws: Float) -> list[Fit]:
    """The best fit of 0, 1, ... targets; ends where two more in a row did not lower the cost.

    Args:
        draws: (starts, most, 3) standard normal draws.
    """
    fits, best = [model.fit(np.zeros(PLANE))], 0
    light = _light(model.image(-model.residual(fits[0].values)))
    for targets in range(1, draws.shape[1] + 1):
        if len(model.observed) <= PLANE + 3 * targets:
            break
        starts = _starts(model, fits[-1], light, draws[:, :targets])
        fit = min((model.fit(start) for start in starts), key=lambda fit: fit.cost)
        if fit.cost == math.inf:
            break
        fits.append(fit)
        best = targets if fit.cost < fits[best].cost else best
        if targets - best == 2:
            break
    return fits


def _starts(model: CropModel, fit: Fit, light: Float, draws: Float) -> Iterator[Float]:
    """From a fit with one target less: one more, one of them split, and some at random."""
    left = model.image(-model.residual(fit.values))
    yield np.concatenate([fit.values, model.peak(left)])
    if len(fit.targets):
        yield np.concatenate([fit.values[:PLANE], _split(fit.targets, left).ravel()])
    share = np.array([*light[:2], math.log(max(light[2] / draws.shape[1], LEAST_START))])
    for draw in share + draws * START_SPREAD:
        yield np.concatenate([fit.values[:PLANE], draw.ravel()])


def _split(targets: Float, left: Float) -> Float:
    """The brightest target replaced by two along the axis on which it leaves light at its sides."""
    chosen = targets[:, 2].argmax()
    y, x = np.indices(left.shape) - targets[chosen, 1::-1, None, None]
    near = left * (x**2 + y**2 < SPLIT_REACH**2)
    angle = 0.5 * math.atan2((near * 2 * x * y).sum(), (near * (x**2 - y**2)).sum())
    shift = SPLIT * np.array([math.cos(angle), math.sin(angle), 0])
    half = targets[chosen] - [0, 0, math.log(2)]
    return np.concatenate([np.delete(targets, chosen, 0), [half - shift, half + shift]])


def _light(left: Float) -> Float:
    """(3,) centroid and sum of what is brighter than twice the noise."""
    excess = np.maximum(left - 2, 0) + 1e-9
    y, x = np.indices(left.shape)
    return np.array([(excess * x).sum(), (excess * y).sum(), excess.sum() ** 2]) / excess.sum()

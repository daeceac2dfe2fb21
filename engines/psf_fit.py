"""The engine without weights: least-squares fits of every number of targets, and their evidence.

The classical reference, and what there is for a PSF that no model was trained for: a Gaussian,
elliptical and turned, or one sampled in a file.
"""

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.compiled import NUMBA_VERSION, as_kernel_takes
from dscsnet.engines.engine import CropBatch, Outputs, make_batch
from dscsnet.engines.errors import ModelError
from dscsnet.engines.estimates import Doubt, Estimates
from dscsnet.engines.fitting.orders import OrderOptions, search_orders
from dscsnet.engines.fitting.psf import check_number, read_samples
from dscsnet.engines.geometry import Grid
from dscsnet.engines.imaging import render
from dscsnet.engines.noise_model import USUAL_NOISE, NoiseModel
from dscsnet.engines.psf_fit_settings import PsfFitSettings
from dscsnet.engines.readouts.score import HIT_DISTANCE
from dscsnet.engines.sensor import Psf, Sensor

#: Errors of a position that its covariance knows nothing of, px; for the score only.
UNTOLD_ERROR = 0.04
#: ln of fitted over told PSF width beyond which a crop is in doubt.
MOST_WIDTH_ERROR = 0.12


class PsfFitEngine:
    """Fits of 0 to `most` targets; used by one thread at a time.

    The PSF widths of a batch hold where its sensor's PSF is a Gaussian along the image's axes; any
    other PSF is that sensor's table.

    Args:
        samples: (height, width) values of the optical PSF, in place of those of the settings' file.

    Raises:
        ModelError: the PSF's samples or file cannot be used.
        ValueError: the crop size is even.
    """

    name = "psf-fit"
    runtime_name = f"numba {NUMBA_VERSION} CPU"
    sha256 = ""
    weighs_numbers = False
    on_gpu = False

    def __init__(
        self,
        settings: PsfFitSettings | None = None,
        samples: Float | None = None,
        noise_model: NoiseModel = USUAL_NOISE,
    ) -> None:
        self.settings = settings = settings or PsfFitSettings()
        size = settings.crop_size
        self.grid = Grid(crop_size=size, upsampling=1, field_size=size)
        self.sensor = _sensor(settings, samples, noise_model)
        draws = np.random.default_rng(settings.seed)
        self._draws = draws.normal(size=(settings.starts, settings.most, 3))
        table = self.sensor.table
        held = settings.width_prior == 0 or table.coefficients.shape[2] == 1
        self._options = OrderOptions(
            starts=settings.starts,
            steps=settings.steps,
            tolerance=1e-2,
            reach=float(settings.reach or size / 2 - 1),
            target_penalty=float(settings.target_penalty),
            plane_precision=float(settings.background_prior) ** -2,
            width_precision=0.0 if held else float(settings.width_prior) ** -2,
        )

    @staticmethod
    def for_sensor(sensor: Sensor | None) -> "PsfFitEngine":
        """The engine with default settings and a sensor's PSF and noise."""
        engine = PsfFitEngine()
        if sensor is not None:
            engine.sensor = sensor
        return engine

    @property
    def psf(self) -> Psf:
        return self.sensor.psf

    def run(self, batch: CropBatch) -> Outputs:
        """Fit the crops; the columns of `OrderResults` by their names."""
        results = search_orders(
            as_kernel_takes(batch.pixels, np.float32),
            as_kernel_takes(batch.usable, np.bool_),
            as_kernel_takes(batch.noise, np.float64),
            as_kernel_takes(batch.psf, np.float64),
            batch.sensor.table,
            NoiseModel.told(*batch.sensor.noise_model),
            self._options,
            self._draws,
        )
        return {name: np.asarray(a, np.float32) for name, a in results._asdict().items()}

    def read(self, outputs: Outputs, batch: CropBatch) -> Estimates:
        """Targets with their sigmas.

        The score is the probability that a true target lies within 0.25 px: that there are at
        least as many targets as are surer than it, by the fits' evidence, times that of its error,
        taken to be Student's t with 2 degrees of freedom, for fits of several targets end in wrong
        minima too. A crop in doubt keeps its targets; `doubt` says why. One that could not be
        fitted has none.
        """
        given = {name: np.asarray(column, np.float64) for name, column in outputs.items()}
        count, fitted = given["targets"].astype(np.int64), given["probability"].sum(1) > 0
        x, y, log_intensity, sigma_x, sigma_y, sigma_log = given["slots"]
        crop, slot = np.nonzero(np.arange(x.shape[1]) < count[:, None])
        variance = (sigma_x**2 + sigma_y**2)[crop, slot] / 2 + UNTOLD_ERROR**2
        hit = HIT_DISTANCE**2 / (HIT_DISTANCE**2 + 2 * variance)
        score = hit * _existence(given["probability"], sigma_log, count)[crop, slot]
        order = np.lexsort((-score, crop))
        crop, slot = crop[order], slot[order]
        intensity = np.exp(log_intensity[crop, slot])
        return Estimates(
            crop=crop,
            x=x[crop, slot],
            y=y[crop, slot],
            intensity=intensity,
            likely=np.ones(len(crop), bool),
            score=score[order],
            sigma_x=sigma_x[crop, slot],
            sigma_y=sigma_y[crop, slot],
            sigma_intensity=intensity * sigma_log[crop, slot],
            chi2=given["chi2"],
            doubt=self._doubts(given, count, fitted),
            psf_scale=given["psf_factor"],
            occupied=np.where(fitted, 1 - given["probability"][:, 0], np.nan),
            probability=_with_more(given["probability"], fitted),
        )

    def _doubts(
        self, given: dict[str, Float], count: NDArray[np.int64], fitted: NDArray[np.bool_]
    ) -> NDArray[np.uint8]:
        """(n,) bits of `Doubt`."""
        limit = MOST_WIDTH_ERROR + 2 * given["sigma_psf_factor"] / given["psf_factor"]
        wide = np.abs(np.log(given["psf_factor"])) > limit
        doubt = (
            np.where(given["chi2"] > self.settings.max_chi2, Doubt.MISFIT, 0)
            | np.where(wide, Doubt.PSF, 0)
            | np.where(count == self.settings.most, Doubt.CROWDED, 0)
            | np.where(fitted, 0, Doubt.NO_RESULT)
        )
        return doubt.astype(np.uint8)

    def check(self, batch_sizes: tuple[int, ...] = (1, 8, 64)) -> None:
        """Fit one bright target in batches of these sizes; the first one compiles the fits.

        Raises:
            ModelError: it is not found where it is.
        """
        size, middle = self.grid.crop_size, self.grid.center
        spot = render([middle + 0.2], [middle - 0.3], [1e3], (size, size), *self.sensor.psf)
        for number in batch_sizes:
            pixels = np.repeat(spot[None].astype(np.float32), number, 0)
            noise = np.ones(number, np.float32)
            batch = make_batch(self, pixels, np.ones(pixels.shape, bool), noise)
            found = self.read(self.run(batch), batch)
            near = np.hypot(found.x - middle - 0.2, found.y - middle + 0.3) < HIT_DISTANCE
            # A PSF that is no Gaussian takes this spot for several targets.
            if not self.sensor.is_tabled and not (found.crops == near.sum() == number):
                raise ModelError(f"{self.name} on {self.runtime_name} misses a bright target")

    def close(self) -> None:
        """Nothing to free."""


def _sensor(settings: PsfFitSettings, samples: Float | None, noise_model: NoiseModel) -> Sensor:
    if samples is not None:
        check_number(samples, "a PSF")
    elif settings.file is not None:
        samples = read_samples(settings.file)
    if samples is not None:
        return Sensor.sampled(samples, settings.oversampling, noise_model=noise_model)
    return Sensor.gaussian(
        settings.sigma_x, settings.sigma_y, settings.angle, noise_model=noise_model
    )


def _with_more(probability: Float, fitted: NDArray[np.bool_]) -> Float:
    """(n, most + 2): of more targets than were tried nothing is known."""
    given = np.where(fitted[:, None], probability, np.nan)
    return np.concatenate([given, np.where(fitted, 0.0, np.nan)[:, None]], 1)


def _existence(probability: Float, sigma_log: Float, count: NDArray[np.int64]) -> Float:
    """(n, most) probability of at least as many targets as a target's rank by significance."""
    at_least = np.cumsum(probability[:, ::-1], 1)[:, ::-1][:, 1:]
    beyond = np.arange(sigma_log.shape[1]) >= count[:, None]
    rank = np.argsort(np.argsort(np.where(beyond, np.inf, sigma_log), 1), 1)
    result: Float = np.take_along_axis(at_least, rank, 1)
    return result

"""`dscsnet.Unmixer`: frames or crops in, spots and targets out, in one call."""

import logging
import os
from typing import Self, get_args

from numpy.typing import ArrayLike

from dscsnet.engines.cold_start import announced
from dscsnet.engines.errors import DscsnetError
from dscsnet.engines.noise_model import PSF_ERROR, NoiseModel
from dscsnet.engines.psf_fit_settings import PsfFitSettings
from dscsnet.engines.runtime_names import Precision, RuntimeName
from dscsnet.engines.runtimes.base import RuntimeOptions
from dscsnet.pipeline.arguments import (
    column,
    counts_of,
    mask_of,
    one_of,
    saturation_of,
    whole_numbers,
    whole_within,
    within,
)
from dscsnet.pipeline.errors import InputError
from dscsnet.pipeline.unmix.columns import Result
from dscsnet.pipeline.unmix.prepare import Prepared
from dscsnet.pipeline.unmix.psf import PsfLike, open_for_psf
from dscsnet.pipeline.unmix.stages import Stages

#: Electrons a count; below, a single electron would be more than any frame can hold.
LEAST_GAIN = 1e-30

log = logging.getLogger(__name__)


class Unmixer:
    """Unmixes spots into the point targets that they are made of; the node's own way, in a call.

    Made once, for one sensor; used by one thread at a time; a context manager. The first call on a
    machine compiles numerical loops, for half a minute; later programs find them compiled.

    Args:
        psf: the sensor's point spread function, the light before pixels integrate it:
            - a number: sigma of a round Gaussian, px;
            - `(sigma_x, sigma_y)`: along the image's axes, px;
            - `(sigma_major, sigma_minor, angle_deg)`: an ellipse, its major axis turned by this
              angle from the image's x axis towards y;
            - a file (`.npy`, or an 8- or 16-bit grey image) or a 2-D array of samples;
            - None: what the model was made for. A PSF told 10 % wrong makes pairs of single
              targets; `dscsnet calibrate` measures it.

            The field models and `model="psf-fit"`, the engine without a network, take all; others
            the first two kinds within the range on their card.
        model: name of a shipped model (`dscsnet model list`), a model folder, or `psf-fit`.
        runtime: what executes the network; `auto` takes the fastest that works here.
        threads: CPU threads of a run; 0: one a core.
        gain: electrons a count, so that light has shot noise; None: not known.
        psf_error: root mean square error of the PSF on a pixel, as a share of the light there.
        saturation: count at and above which a pixel is saturated, unless a frame says otherwise.
        bad_pixels: (H, W) mask, or its file (an image or `.npy`): bad where it is above 0.
        oversampling: samples per px of a sampled PSF.
        psf_fit: settings of `model="psf-fit"`: crop size, most targets, and so on.
        least_existence: also give targets beyond a spot's likeliest number, from this probability
            on; None: none.
        merge_radius: candidates closer than this share a crop, px.
        max_crops: crops of a frame, at most; the spots of the others are flagged `TRUNCATED`.
        crops_per_run: crops in one run of the engine, at most.
        device, precision: of a GPU: its number, and that of the network's layers.

    Raises:
        InputError: an argument cannot be used; it is a `ValueError`, too.
        ModelError: the model is missing, altered, not for this PSF, or does not compute what it
            should.

    Examples:
        Two targets 0.9 px apart, as one candidate shows them to a detector:

        >>> import dscsnet, numpy
        >>> from dscsnet.engines.imaging import render
        >>> noise = numpy.random.default_rng(1).normal(1000, 5, (40, 60))
        >>> image = noise + render([30.0, 30.9], [20.0, 20.1], [4000, 3000], (40, 60), 0.7)
        >>> with dscsnet.Unmixer(psf=0.7) as unmixer:
        ...     result = unmixer.frame(image.astype("float32"), [30.4], [20.0])
        >>> result.spots.count
        array([2])
        >>> sorted(result.targets.x.round(1).tolist())
        [30.0, 30.9]
    """

    def __init__(
        self,
        psf: PsfLike | None,
        model: str | os.PathLike[str] = "field-unfolded",
        runtime: RuntimeName = "auto",
        *,
        threads: int = 0,
        gain: float | None = None,
        psf_error: float = PSF_ERROR,
        saturation: float | None = None,
        bad_pixels: ArrayLike | str | os.PathLike[str] | None = None,
        oversampling: int = 1,
        psf_fit: PsfFitSettings | None = None,
        least_existence: float | None = None,
        merge_radius: float = 3.0,
        max_crops: int = 512,
        crops_per_run: int = 256,
        device: int = 0,
        precision: Precision = "fp16",
    ) -> None:
        self._saturation = saturation_of(saturation)
        within("merge_radius", merge_radius, 0)
        within("psf_error", psf_error, 0, 1)
        if gain is not None:
            within("gain", gain, LEAST_GAIN)
        one_of("runtime", runtime, get_args(RuntimeName))
        one_of("precision", precision, get_args(Precision))
        for name, number, least in (
            *(("max_crops", max_crops, 1), ("crops_per_run", crops_per_run, 1)),
            *(("threads", threads, 0), ("oversampling", oversampling, 1), ("device", device, 0)),
        ):
            whole_within(name, number, least)
        within("least_existence", 0 if least_existence is None else least_existence, 0, 1)
        mask = mask_of(bad_pixels)
        engine = open_for_psf(
            psf,
            model,
            runtime,
            oversampling=oversampling,
            noise_model=NoiseModel.told(gain, psf_error),
            psf_fit=psf_fit,
            least_existence=least_existence,
            options=RuntimeOptions(threads=threads, device=device, precision=precision),
        )
        self._stages = Stages(
            engine,
            merge_radius=float(merge_radius),
            crops_per_frame=max_crops,
            crops_per_run=crops_per_run,
            bad_pixels=mask,
        )
        self._open = True
        try:
            with announced(log.info):
                engine.check(batch_sizes=(1,))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the unmixer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Return model, runtime and PSF in a few words."""
        engine = self._stages.engine
        x, y = engine.psf
        return f"<Unmixer {engine.name} on {engine.runtime_name}, PSF sigma {x:g} x {y:g} px>"

    @property
    def crop_size(self) -> int:
        """Side of the crops that the model takes, px."""
        return self._stages.engine.grid.crop_size

    @property
    def psf(self) -> tuple[float, float]:
        """PSF sigma along the image's x and y, px."""
        return self._stages.engine.psf

    def frame(
        self,
        image: ArrayLike,
        x: ArrayLike,
        y: ArrayLike,
        *,
        score: ArrayLike | None = None,
        width: ArrayLike | None = None,
        height: ArrayLike | None = None,
        id: ArrayLike | None = None,
        saturation: float | None = None,
    ) -> Result:
        """Unmix the candidates of one frame.

        Candidates that share a target share a crop: all but the strongest are flagged `MERGED`. A
        box of more than 4 px has its crops where it has peaks; no target is given twice.

        Args:
            image: (H, W) counts; NaN and infinity mark bad pixels. uint8, uint16 and float32 are
                read in place, other types are converted where that changes no value.
            x, y: (n,) candidates, px: x is the column, y the row; integers are pixel centres.
            score: (n,) the higher, the stronger: which candidate a shared crop belongs to, and
                which crops come first where there are too many.
            width, height: (n,) boxes centred on the candidates, px.
            id: (n,) the detector's own numbers; they come back in `spots.id`.
            saturation: in place of the unmixer's own.

        Returns:
            `spots`, one row a candidate, and `targets`, in frame px.

        Raises:
            InputError: an argument cannot be used; it is a `ValueError`, too.
            InferenceError: the engine failed.

        Examples:
            A detector's candidates, boxes included, in one go:

            >>> import dscsnet, numpy
            >>> image = numpy.zeros((64, 64), "uint16")
            >>> candidates = dscsnet.Detector(psf=0.7)(image)
            >>> unmixer = dscsnet.Unmixer(psf=0.7)
            >>> unmixer.frame(image, **candidates.to_dict())
            SpotColumns: no rows
            TargetColumns: no rows
        """
        pixels = counts_of("image", image, "(H, W)")
        if not pixels.size:
            raise InputError(f"image: expected at least one pixel, got shape {pixels.shape}")
        column_x = column("x", x)
        given = {"score": score, "width": width, "height": height}
        columns = {
            name: column(name, values, len(column_x))
            for name, values in given.items()
            if values is not None
        }
        return self._unmix(
            self._stages.prepare(
                pixels,
                column_x,
                column("y", y, len(column_x)),
                **columns,
                id=None if id is None else whole_numbers("id", id, len(column_x)),
                saturation=self._saturation_of(saturation),
            )
        )

    def crops(self, crops: ArrayLike, *, saturation: float | None = None) -> Result:
        """Unmix crops that were cut elsewhere, each by itself; their background is taken off here.

        Args:
            crops: (n, `crop_size`, `crop_size`) counts, of types as in `frame`, each with its spot
                near the middle; NaN and infinity mark bad pixels. The sensor's mask of bad pixels
                is not applied.
            saturation: in place of the unmixer's own.

        Returns:
            `spots`: row i is crop i, its `x` and `y` the crop's central pixel, its `id` i.
            `targets`: `spot` is the crop's index, `x` and `y` are px within that crop: (0, 0) is
            the centre of its top-left pixel. A target that lies in two crops is given in both.

        Raises:
            InputError: the crops cannot be used; it is a `ValueError`, too.
            InferenceError: the engine failed.

        Examples:
            >>> import dscsnet, numpy
            >>> from dscsnet.engines.imaging import render
            >>> noise = numpy.random.default_rng(2).normal(500, 2, (2, 11, 11))
            >>> crops = (noise + render([5.3], [4.8], [900], (11, 11), 0.7)).astype("float32")
            >>> result = dscsnet.Unmixer(psf=0.7).crops(crops)
            >>> result.targets.spot.tolist(), result.targets.x.round(1).tolist()
            ([0, 1], [5.3, 5.3])
        """
        stack = counts_of("crops", crops, "(n, size, size)")
        side = self.crop_size
        if stack.shape[1:] != (side, side):
            raise InputError(f"crops: expected shape (n, {side}, {side}), got {stack.shape}")
        return self._unmix(
            self._stages.prepare_stack(stack, saturation=self._saturation_of(saturation))
        )

    def close(self) -> None:
        """Free what the engine holds; more calls do nothing."""
        if self._open:
            self._open = False
            self._stages.engine.close()

    def _saturation_of(self, given: float | None) -> float | None:
        return self._saturation if given is None else saturation_of(given)

    def _unmix(self, prepared: Prepared) -> Result:
        if not self._open:
            raise DscsnetError("the unmixer was closed")
        (result,) = self._stages.unmix([prepared])
        return result

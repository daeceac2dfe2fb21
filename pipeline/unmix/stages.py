"""Frames to results, stage by stage: whoever calls them times them, or has frames share a run.

    prepare -> gather -> run -> read -> split -> result

A program that wants neither uses `dscsnet.Unmixer`, which calls the same stages.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dscsnet.engines.compiled import as_kernel_takes
from dscsnet.engines.engine import CropBatch, Engine, Outputs, make_batch
from dscsnet.engines.estimates import Estimates
from dscsnet.engines.fitting.population import weigh_by_frame
from dscsnet.pipeline.errors import InputError
from dscsnet.pipeline.unmix.columns import Result
from dscsnet.pipeline.unmix.prepare import Prepared, prepare_frame, prepare_stack
from dscsnet.pipeline.unmix.result import result_of


class Stages:
    """An engine, and what is the same for all frames; used by one thread at a time.

    Args:
        engine: is not closed here.
        merge_radius: candidates closer than this share a crop, px.
        crops_per_frame: crops cut from one frame, at most.
        crops_per_run: crops in one run of the engine, at most.
        bad_pixels: (H, W) bool mask, or None.
        saturation: count at and above which a pixel is saturated, unless a frame says.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        merge_radius: float,
        crops_per_frame: int,
        crops_per_run: int,
        bad_pixels: NDArray[np.bool_] | None = None,
        saturation: float | None = None,
    ) -> None:
        self.engine = engine
        self.merge_radius, self.crops_per_frame = merge_radius, crops_per_frame
        self.crops_per_run, self.bad_pixels = crops_per_run, bad_pixels
        self.saturation = saturation

    def prepare(
        self,
        pixels: NDArray[np.generic],
        x: ArrayLike,
        y: ArrayLike,
        *,
        score: ArrayLike | None = None,
        width: ArrayLike | None = None,
        height: ArrayLike | None = None,
        id: ArrayLike | None = None,
        saturation: float | None = None,
    ) -> Prepared:
        """Plan the crops of a frame and cut them.

        Args:
            pixels: (H, W) uint8, uint16 or float32 counts; read in place.
            x, y, score, width, height: (n,) the candidates, as `plan_crops` takes them.
            id: (n,) the candidates' numbers.
            saturation: of this frame, in place of the sensor's.

        Raises:
            ValueError: an argument is not possible.
            InputError: the mask is not for this frame.
        """
        return prepare_frame(
            pixels,
            x,
            y,
            score=score,
            width=width,
            height=height,
            id=id,
            grid=self.engine.grid,
            merge_radius=self.merge_radius,
            max_crops=self.crops_per_frame,
            bad_pixels=self._mask_for(pixels.shape),
            saturation=self.saturation if saturation is None else saturation,
        )

    def prepare_stack(
        self, crops: NDArray[np.generic], *, saturation: float | None = None
    ) -> Prepared:
        """Take off the background of (n, size, size) crops that were cut elsewhere."""
        saturation = self.saturation if saturation is None else saturation
        return prepare_stack(crops, grid=self.engine.grid, saturation=saturation)

    def gather(
        self, prepared: Sequence[Prepared], psf: NDArray[np.float32] | None = None
    ) -> CropBatch:
        """The good crops of several frames, one after another, as the engine takes them.

        Args:
            psf: (n, 2) PSF sigma along x and y of each good crop, px; None: the engine's own.
        """
        pixels, usable, noise = (
            np.concatenate([getattr(each.crops, name)[each.good] for each in prepared])
            for name in ("pixels", "usable", "noise")
        )
        together = not any(each.separate for each in prepared)
        sizes = [len(each.good) for each in prepared]
        frame = np.repeat(np.arange(len(sizes)), sizes) if together else None
        if psf is None:
            return replace(make_batch(self.engine, pixels, usable, noise), frame=frame)
        return CropBatch(pixels, usable, noise, psf, self.engine.sensor, frame)

    def run(self, batch: CropBatch) -> list[Outputs]:
        """Execute the engine, in as many runs as it takes.

        Raises:
            InferenceError: it failed.
        """
        return [self.engine.run(part) for part in self._parts(batch)]

    def read(self, outputs: list[Outputs], batch: CropBatch) -> Estimates:
        """Turn what `run` gave into the estimates of the batch's crops."""
        parts = zip(outputs, self._parts(batch), strict=True)
        estimates = [self.engine.read(output, part) for output, part in parts]
        whole = Estimates.join(estimates) if estimates else Estimates.none()
        return self._reconsidered(whole, outputs, batch)

    def _reconsidered(
        self, estimates: Estimates, outputs: list[Outputs], batch: CropBatch
    ) -> Estimates:
        """The estimates where each spot's number was weighed with those of its frame's others."""
        known = estimates.probability
        if batch.frame is None or not known.shape[1] or not self.engine.weighs_numbers:
            return estimates
        weighed = weigh_by_frame(as_kernel_takes(known, np.float64), batch.frame)
        estimates = estimates.with_probability(weighed.probability)
        if not weighed.changed.any():
            return estimates
        rows = np.flatnonzero(weighed.changed & (estimates.number > 0))
        if not len(rows):
            return estimates
        part = replace(batch.take(rows), log_prior=weighed.shift[rows])
        return estimates.replaced(rows, self.engine.read(self._rows(outputs, rows), part))

    def _rows(self, outputs: list[Outputs], rows: NDArray[np.int64]) -> Outputs:
        """Some crops' outputs, out of those of several runs."""
        run, place = np.divmod(rows, self.crops_per_run)
        return {
            name: np.concatenate(
                [outputs[i][name][place[run == i]] for i in np.unique(run).tolist()]
            )
            for name in outputs[0]
        }

    def split(
        self, prepared: Sequence[Prepared], estimates: Estimates
    ) -> Iterator[tuple[Prepared, Estimates]]:
        """Each frame with the estimates of all its crops, from those of the gathered ones."""
        first = 0
        for each in prepared:
            last = first + len(each.good)
            yield each, estimates.slice(first, last).spread(each.good, len(each.crops.noise))
            first = last

    def result(self, prepared: Prepared, estimates: Estimates) -> Result:
        """Spots and targets of one frame: no target twice, in frame px.

        Args:
            estimates: of all its crops, as `split` gives them.
        """
        return result_of(prepared, estimates, self.engine.grid)

    def unmix(self, prepared: Sequence[Prepared]) -> list[Result]:
        """All stages after the first, for frames that share a run."""
        batch = self.gather(prepared)
        estimates = self.read(self.run(batch), batch)
        return [self.result(*each) for each in self.split(prepared, estimates)]

    def _parts(self, batch: CropBatch) -> Iterator[CropBatch]:
        if 0 < len(batch) <= self.crops_per_run:
            yield batch
            return
        # Without a good crop there is nothing to run: not every network takes an empty batch.
        for first in range(0, len(batch), self.crops_per_run):
            yield batch.part(first, first + self.crops_per_run)

    def _mask_for(self, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
        mask = self.bad_pixels
        if mask is not None and mask.shape != shape:
            raise InputError(
                f"the bad-pixel mask is {mask.shape[1]}x{mask.shape[0]} px, "
                f"the frame {shape[1]}x{shape[0]}"
            )
        return mask

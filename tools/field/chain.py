"""Runs samples through the node's own chain: planning, cutting, background, engine, readout."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.array_types import Float
from dscsnet.engines.engine import Engine
from dscsnet.engines.estimates import Estimates
from dscsnet.pipeline.unmix import Prepared, Stages
from dscsnet.tools.field.frames import REGION
from dscsnet.tools.field.implant import CENTER, Samples

MERGE_RADIUS = 3.0  # the node's default, px
ALONG_SIDE = 16  # regions along a side of the frame that they are laid out to
PER_FRAME = ALONG_SIDE**2  # as many crops as the node runs at once by default


@dataclass(frozen=True)
class Speed:
    """Crops a second of processor time, hence of one core: of each stage, and of all together."""

    crop: float
    engine: float
    readout: float
    together: float


@dataclass(frozen=True, eq=False)
class Answers:
    """What the chain made of samples.

    Attributes:
        estimates: positions in region px; crop i is sample i.
        pixels: (n, s, s) float32 the crops, counts above background.
        told: (n,) PSF sigma that the engine was told, px.
        seconds: processor time of cropping with background, of the engine, and of the readout.
    """

    estimates: Estimates
    pixels: NDArray[np.float32]
    told: Float
    seconds: tuple[float, float, float]

    @property
    def speed(self) -> Speed:
        """Crops a second."""
        crop, engine, readout, together = (
            len(self.pixels) / max(spent, 1e-9) for spent in (*self.seconds, sum(self.seconds))
        )
        return Speed(crop, engine, readout, together)

    def head(self, number: int) -> Estimates:
        """The estimates of the first samples."""
        return self.estimates.slice(0, number)


def run_chain(engine: Engine, samples: Samples, told_over_true: float = 1.0) -> Answers:
    """Run all samples, `PER_FRAME` at a time, laid side by side in one frame with a candidate each.

    Args:
        told_over_true: factor on the true PSF sigma to tell the engine.
    """
    told = samples.psf * told_over_true
    stages = Stages(
        engine, merge_radius=MERGE_RADIUS, crops_per_frame=PER_FRAME, crops_per_run=PER_FRAME
    )
    parts, pixels, seconds = [], [], np.zeros(3)
    for rows in _frames_of(len(samples)):
        frame, number = lay_out(samples.regions[rows]), len(told[rows])
        marks = [time.process_time()]
        prepared = _prepare(stages, frame, number)
        batch = stages.gather([prepared], _both_axes(told[rows][prepared.good]))
        marks.append(time.process_time())
        outputs = stages.run(batch)
        marks.append(time.process_time())
        estimates = stages.read(outputs, batch)
        marks.append(time.process_time())
        seconds += np.diff(marks)
        parts.append(_to_region(estimates.spread(prepared.good, number), engine))
        pixels.append(prepared.crops.pixels)
    crop, run, read = seconds.tolist()
    return Answers(Estimates.join(parts), np.concatenate(pixels), told, (crop, run, read))


def _frames_of(count: int) -> Iterator[slice]:
    for first in range(0, count, PER_FRAME):
        yield slice(first, min(first + PER_FRAME, count))


def _prepare(stages: Stages, frame: NDArray[np.generic], number: int) -> Prepared:
    """The crops of the candidates at the centres of the first regions, in the regions' order."""
    row, column = np.divmod(np.arange(number), ALONG_SIDE)
    prepared = stages.prepare(frame, column * REGION + CENTER, row * REGION + CENTER)
    return prepared.take(np.argsort(prepared.plan.spot))


def lay_out(regions: Float) -> NDArray[np.generic]:
    """One frame of the regions, row by row: uint16, or float32 where a count does not fit.

    So nothing is clipped: a sensor would saturate where 14-bit frames get a bright implant.
    """
    lines = math.ceil(len(regions) / ALONG_SIDE)
    frame = np.zeros((lines * ALONG_SIDE, REGION, REGION))
    frame[: len(regions)] = regions
    blocks = frame.reshape(lines, ALONG_SIDE, REGION, REGION).swapaxes(1, 2)
    laid = blocks.reshape(lines * REGION, ALONG_SIDE * REGION)
    fits = laid.max(initial=0) <= np.iinfo(np.uint16).max
    return laid.astype(np.uint16 if fits else np.float32)


def _both_axes(told: Float) -> NDArray[np.float32]:
    return np.repeat(told.astype(np.float32)[:, None], 2, axis=1)


def _to_region(estimates: Estimates, engine: Engine) -> Estimates:
    x, y = (engine.grid.crop_to_frame(p, CENTER) for p in (estimates.x, estimates.y))
    return replace(estimates, x=x, y=y)

"""Joined frames to answers: crop, batch over frames and streams, run the engine, read out."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.engine import CropBatch, Engine, make_batch
from dscsnet.engines.errors import DscsnetError
from dscsnet.engines.estimates import Estimates
from dscsnet.engines.runtimes import DeviceError
from dscsnet.pipeline.cropping.cut import Crops, cut_crops
from dscsnet.pipeline.cropping.plan import CropPlan, plan_crops
from dscsnet.pipeline.join import Ticket
from dscsnet.pipeline.messages import EngineInfo, Targets
from dscsnet.pipeline.monitoring.stages import StageTimes
from dscsnet.pipeline.process.logs import RateLimitedLog
from dscsnet.pipeline.unmix.answers import plain_answer, unmixed_answer
from dscsnet.pipeline.unmix.psf_drift import PsfDrift

log = logging.getLogger(__name__)

Finish = Callable[[Ticket, Targets], None]


@dataclass(frozen=True)
class Prepared:
    """A frame whose crops are cut.

    Attributes:
        good: indices of the crops that have a usable pixel; only these are inferred.
    """

    ticket: Ticket
    plan: CropPlan
    crops: Crops
    good: NDArray[np.int64]


class Unmixer:
    """Turns tickets into answers; used by one thread.

    Args:
        merge_radius: candidates closer than this share a crop, px.
        crops_per_frame: crops cut from one frame, at most.
        crops_per_run: crops in one run of the engine, at most.
        bad_pixels: (H, W) bool mask, or None.

    Attributes:
        device_failure: why no batch can be inferred any more; None while all is well.
    """

    def __init__(
        self,
        engine: Engine,
        info: EngineInfo,
        *,
        merge_radius: float,
        crops_per_frame: int,
        crops_per_run: int,
        bad_pixels: NDArray[np.bool_] | None = None,
    ) -> None:
        self.engine, self.info = engine, info
        self.merge_radius, self.crops_per_frame = merge_radius, crops_per_frame
        self.crops_per_run, self.bad_pixels = crops_per_run, bad_pixels
        self.stages = StageTimes()
        self.psf_drift = PsfDrift()
        self.device_failure: str | None = None
        self._complain = RateLimitedLog(log)

    def process(self, tickets: Sequence[Ticket], finish: Finish) -> None:
        """Answer every ticket: a frame at fault gets an `error`, the others their targets."""
        prepared = []
        for ticket in tickets:
            try:
                prepared.append(self._prepare(ticket))
            except Exception as error:
                finish(ticket, self._failure(ticket, error))
        if prepared:
            self._infer(prepared, finish)

    def _prepare(self, ticket: Ticket) -> Prepared:
        started = time.perf_counter_ns()
        frame, found = ticket.frame, ticket.detections
        assert frame is not None, "a joined ticket has its frame"
        assert found is not None, "a joined ticket has its detections"
        geometry = self.engine.grid
        plan = plan_crops(
            np.array(found.x),
            np.array(found.y),
            score=None if found.score is None else np.array(found.score),
            width=None if found.width is None else np.array(found.width),
            height=None if found.height is None else np.array(found.height),
            frame_shape=frame.pixels.shape,
            crop_size=geometry.crop_size,
            field_size=geometry.field_size,
            merge_radius=self.merge_radius,
            max_crops=self.crops_per_frame,
        )
        crops = cut_crops(
            frame.pixels,
            plan,
            size=geometry.crop_size,
            bad_pixels=self._mask_for(frame.pixels.shape),
            saturation=frame.saturation,
        )
        self.stages.add("crop", time.perf_counter_ns() - started)
        return Prepared(ticket, plan, crops, np.flatnonzero(np.isfinite(crops.noise)))

    def _mask_for(self, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
        mask = self.bad_pixels
        if mask is not None and mask.shape != shape:
            raise DscsnetError(
                f"the bad-pixel mask is {mask.shape[1]}x{mask.shape[0]} px, "
                f"the frame {shape[1]}x{shape[0]}"
            )
        return mask

    def _infer(self, frames: list[Prepared], finish: Finish) -> None:
        """Run one batch; a failing one is halved until the frame at fault is alone."""
        try:
            estimates, infer_ns, readout_ns = self._run(frames)
        except DeviceError as error:
            self.device_failure = str(error)
            for frame in frames:
                finish(frame.ticket, self._failure(frame.ticket, error))
            return
        except Exception as error:
            if len(frames) > 1:
                middle = len(frames) // 2
                self._infer(frames[:middle], finish)
                self._infer(frames[middle:], finish)
            else:
                finish(frames[0].ticket, self._failure(frames[0].ticket, error))
            return
        first = 0
        for frame in frames:
            last = first + len(frame.good)
            self._answer(frame, estimates.slice(first, last), infer_ns, readout_ns, finish)
            first = last

    def _run(self, frames: list[Prepared]) -> tuple[Estimates, int, int]:
        """Estimates of all good crops, and the nanoseconds of engine and readout."""
        batch = self._gather(frames)
        parts, infer_ns, readout_ns = [], 0, 0
        # Without a good crop there is nothing to run: not every network takes an empty batch.
        for first in range(0, len(batch), self.crops_per_run):
            part = batch.part(first, first + self.crops_per_run)
            started = time.perf_counter_ns()
            output = self.engine.run(part)
            inferred = time.perf_counter_ns()
            parts.append(self.engine.read(output, part))
            self.psf_drift.add(parts[-1], part)
            infer_ns += inferred - started
            readout_ns += time.perf_counter_ns() - inferred
        self.stages.add("infer", infer_ns)
        self.stages.add("readout", readout_ns)
        self.stages.add_batch(len(batch), len(frames))
        return Estimates.join(parts) if parts else Estimates.none(), infer_ns, readout_ns

    def _gather(self, frames: list[Prepared]) -> CropBatch:
        """The good crops of several frames, one after another."""
        columns = (
            np.concatenate([getattr(frame.crops, name)[frame.good] for frame in frames])
            for name in ("pixels", "usable", "noise")
        )
        return make_batch(self.engine, *columns)

    def _answer(
        self, frame: Prepared, good: Estimates, infer_ns: int, readout_ns: int, finish: Finish
    ) -> None:
        try:
            answer = unmixed_answer(
                frame.ticket,
                frame.plan,
                frame.crops,
                good.spread(frame.good, len(frame.crops.noise)),
                self.engine.grid,
                self.info,
                infer_ns,
                readout_ns,
            )
        except Exception as error:
            answer = self._failure(frame.ticket, error)
        finish(frame.ticket, answer)

    def _failure(self, ticket: Ticket, error: Exception) -> Targets:
        known = isinstance(error, DscsnetError)
        kind = type(error).__name__
        reason = str(error) if known else f"internal error: {kind}: {error}"
        # Not every text can be sent: a foreign error message may hold half of a surrogate pair.
        reason = reason[:500].encode(errors="replace").decode()
        self._complain.error(
            kind,
            f"frame {ticket.key.stream}/{ticket.key.frame_id}: {reason}",
            None if known else error,
        )
        return plain_answer(ticket, "error", reason, self.info)

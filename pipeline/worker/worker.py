"""Tickets to answers: frames share runs of the engine, and a frame at fault fails alone."""

import logging
import time
from collections.abc import Callable, Sequence

from dscsnet.engines.errors import DscsnetError
from dscsnet.engines.estimates import Estimates
from dscsnet.engines.runtimes import DeviceError
from dscsnet.pipeline.join import Ticket
from dscsnet.pipeline.messages import EngineInfo, Targets
from dscsnet.pipeline.monitoring.stages import StageTimes
from dscsnet.pipeline.process.logs import RateLimitedLog
from dscsnet.pipeline.unmix import Prepared, Stages
from dscsnet.pipeline.worker.answers import plain_answer, unmixed_answer
from dscsnet.pipeline.worker.psf_drift import PsfDrift

log = logging.getLogger(__name__)

Finish = Callable[[Ticket, Targets], None]
Work = tuple[Ticket, Prepared]


class Worker:
    """Answers tickets with one engine; used by one thread.

    Args:
        unmixing: the engine, and how crops are cut for it.
        info: what the answers say of the engine.
        psf_drift: told what the engine finds; others with the same engine may share it.
        complaints: told of frames at fault, likewise.

    Attributes:
        device_failure: why no batch can be inferred any more; None while all is well.
    """

    def __init__(
        self,
        unmixing: Stages,
        info: EngineInfo,
        psf_drift: PsfDrift | None = None,
        complaints: RateLimitedLog | None = None,
    ) -> None:
        self.unmixing, self.info = unmixing, info
        self.stages = StageTimes()
        self.psf_drift = psf_drift or PsfDrift()
        self.device_failure: str | None = None
        self._complain = complaints or RateLimitedLog(log)

    def close(self) -> None:
        """Close the engine."""
        self.unmixing.engine.close()

    def process(self, tickets: Sequence[Ticket], finish: Finish) -> None:
        """Answer every ticket: a frame at fault gets an `error`, the others their targets."""
        work = []
        for ticket in tickets:
            try:
                work.append((ticket, self._prepare(ticket)))
            except Exception as error:
                finish(ticket, self._failure(ticket, error))
        if work:
            self._infer(work, finish)

    def _prepare(self, ticket: Ticket) -> Prepared:
        started = time.perf_counter_ns()
        frame, found = ticket.frame, ticket.detections
        assert frame is not None, "a joined ticket has its frame"
        assert found is not None, "a joined ticket has its detections"
        prepared = self.unmixing.prepare(
            frame.pixels,
            found.x,
            found.y,
            score=found.score,
            width=found.width,
            height=found.height,
            id=found.id or None,
            saturation=frame.saturation,
        )
        self.stages.add("crop", time.perf_counter_ns() - started)
        return prepared

    def _infer(self, work: list[Work], finish: Finish) -> None:
        """Run one batch; a failing one is halved until the frame at fault is alone."""
        try:
            estimates, infer_ns, readout_ns = self._run([prepared for _, prepared in work])
        except DeviceError as error:
            self.device_failure = str(error)
            for ticket, _ in work:
                finish(ticket, self._failure(ticket, error))
            return
        except Exception as error:
            if len(work) > 1:
                middle = len(work) // 2
                self._infer(work[:middle], finish)
                self._infer(work[middle:], finish)
            else:
                ticket, _ = work[0]
                finish(ticket, self._failure(ticket, error))
            return
        parts = self.unmixing.split([prepared for _, prepared in work], estimates)
        for (ticket, _), part in zip(work, parts, strict=True):
            finish(ticket, self._answer(ticket, *part, infer_ns, readout_ns))

    def _run(self, prepared: list[Prepared]) -> tuple[Estimates, int, int]:
        """Estimates of all good crops, and the nanoseconds of engine and readout."""
        batch = self.unmixing.gather(prepared)
        started = time.perf_counter_ns()
        outputs = self.unmixing.run(batch)
        inferred = time.perf_counter_ns()
        estimates = self.unmixing.read(outputs, batch)
        if len(batch):
            self.psf_drift.add(estimates, batch)
        infer_ns, readout_ns = inferred - started, time.perf_counter_ns() - inferred
        self.stages.add("infer", infer_ns)
        self.stages.add("readout", readout_ns)
        self.stages.add_batch(len(batch), len(prepared))
        return estimates, infer_ns, readout_ns

    def _answer(
        self,
        ticket: Ticket,
        prepared: Prepared,
        estimates: Estimates,
        infer_ns: int,
        readout_ns: int,
    ) -> Targets:
        try:
            result = self.unmixing.result(prepared, estimates)
            return unmixed_answer(
                ticket, result, self.info, infer_ns, readout_ns, blind=prepared.is_blind
            )
        except Exception as error:
            return self._failure(ticket, error)

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

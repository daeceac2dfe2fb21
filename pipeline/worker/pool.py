"""Workers that are alike, and the place where those in use are found and exchanged."""

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dscsnet.engines.model_engine import Fallback
from dscsnet.pipeline.messages import EngineInfo
from dscsnet.pipeline.worker.engine_loading import fallbacks
from dscsnet.pipeline.worker.worker import Worker

NO_ENGINE = EngineInfo(runtime="", model="", sha256="", psf_sigma=0.0)


class WorkerPool:
    """Workers with engines of the same kind, one for each batch at a time.

    Args:
        workers: at least one; they share what they know of the PSF's width.

    Attributes:
        idle: those that have no batch; the last one back is the next one out, for its memory is
            still in the caches.
    """

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = tuple(workers)
        self.idle = list(workers)

    @property
    def info(self) -> EngineInfo:
        """Of the engines."""
        return self._workers[0].info

    @property
    def fallbacks(self) -> tuple[Fallback, ...]:
        """Faster runtimes that `auto` passed over for these engines."""
        return fallbacks(self._workers[0].unmixing.engine)

    @property
    def is_idle(self) -> bool:
        """Whether none has a batch."""
        return len(self.idle) == len(self._workers)

    @property
    def psf_scale(self) -> float:
        """Fitted over told PSF width; NaN until enough spots were seen."""
        return self._workers[0].psf_drift.scale

    @property
    def device_failure(self) -> str | None:
        """Why one of them can infer nothing any more, if that is so."""
        found = (worker.device_failure for worker in self._workers)
        return next((reason for reason in found if reason), None)

    def close(self) -> None:
        """Close the engines."""
        for worker in self._workers:
            worker.close()


class WorkerSlot:
    """Where the workers of the engine in use are found, and where others can be put."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pool: WorkerPool | None = None
        self._closed = False

    @property
    def info(self) -> EngineInfo:
        """Of the engine in use; empty texts before the first."""
        return self._pool.info if self._pool else NO_ENGINE

    @property
    def psf_scale(self) -> float:
        """Fitted over told PSF width since this engine came; NaN until enough spots were seen."""
        return self._pool.psf_scale if self._pool else math.nan

    @property
    def device_failure(self) -> str | None:
        """Why the engine in use can do nothing any more, if that is so."""
        return self._pool.device_failure if self._pool else None

    def install(self, pool: WorkerPool) -> None:
        """Put in the first ones."""
        with self._changed:
            self._pool = pool
            self._changed.notify_all()

    def wait_for_idle(self, timeout_s: float) -> int:
        """How many workers have no batch, once one has none; 0 where none came back in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._pool is not None and self._pool.idle, timeout_s)
            return len(self._pool.idle) if self._pool is not None else 0

    @contextmanager
    def claimed(self) -> Iterator[Worker]:
        """A worker for one batch; there must be an idle one."""
        with self._changed:
            pool = self._pool
            assert pool is not None, "the first ones are installed before frames are taken"
            worker = pool.idle.pop()
        try:
            yield worker
        finally:
            with self._changed:
                pool.idle.append(worker)
                self._changed.notify_all()

    def exchange(self, pool: WorkerPool) -> bool:
        """Have these take all further batches, and close the old ones when the last has come back.

        Returns:
            False if the slot was closed before; then the new engines are closed.
        """
        left: WorkerPool | None = pool
        with self._changed:
            if taken := not self._closed:
                left, self._pool = self._pool, pool
                self._changed.notify_all()
                self._changed.wait_for(lambda: left is None or left.is_idle or self._closed)
        if left is not None:
            left.close()
        return taken

    def close(self) -> None:
        """Close the engines in use; no others will be taken. More calls do nothing."""
        with self._changed:
            pool, self._closed = None if self._closed else self._pool, True
            self._changed.notify_all()
        if pool is not None:
            pool.close()

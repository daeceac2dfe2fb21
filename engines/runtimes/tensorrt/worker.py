"""The engine's own thread: it alone talks to the GPU."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.errors import InferenceError
from dscsnet.engines.runtimes.base import Arrays, DeviceError
from dscsnet.engines.runtimes.split import split

#: A GPU that finishes nothing for so long is given up, s.
PATIENCE_S = 30.0
#: What a broken GPU is given to end in, s: it may hang.
FAREWELL_S = 5.0


class AnyLane(Protocol):
    """What the thread needs of a lane; see `Lane`."""

    def start(self, inputs: Arrays, first: int, last: int, bucket: int) -> None: ...
    def finish(self, outputs: dict[str, NDArray[np.float32]], first: int, last: int) -> None: ...
    def close(self) -> None: ...


@dataclass
class Job:
    """One batch on its way.

    Attributes:
        left: pieces that are not finished.
    """

    inputs: Arrays
    outputs: dict[str, NDArray[np.float32]]
    done: Future[None] = field(default_factory=Future)
    left: int = 0


@dataclass(frozen=True)
class Piece:
    """Rows of a job that are executed as one batch of the bucket's size."""

    job: Job
    first: int
    last: int
    bucket: int


class Worker:
    """Executes jobs of any thread on a few lanes, one after another, overlapping.

    Args:
        open_lanes: called on the thread before all else; returns lanes and what frees them.
        buckets: batch sizes, rising.
        device_errors: exceptions after which nothing works any more.

    Raises:
        Exception: whatever `open_lanes` raises.
    """

    def __init__(
        self,
        open_lanes: Callable[[], tuple[list[AnyLane], Callable[[], None]]],
        buckets: tuple[int, ...],
        device_errors: tuple[type[Exception], ...],
    ) -> None:
        self._buckets, self._device_errors = buckets, device_errors
        self._queue: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
        self._broken: str | None = None
        self._answered = time.monotonic()
        self._closing = self._ended = False
        self._lock = threading.Lock()
        opened: Future[None] = Future()
        # A daemon: a GPU that hangs must not keep the process.
        self._thread = threading.Thread(
            target=self._run, args=(open_lanes, opened), name="tensorrt", daemon=True
        )
        self._thread.start()
        opened.result()

    def execute(self, job: Job, number: int) -> None:
        """Run a batch of so many rows; returns when its outputs are there.

        Raises:
            InferenceError: it failed.
            DeviceError: nothing works any more.
        """
        pieces = split(number, self._buckets)
        if not pieces:
            return
        job.left = len(pieces)
        with self._lock:
            if self._broken or self._closing:
                raise DeviceError(self._broken or "the engine is closed")
            for first, last, bucket in pieces:
                self._queue.put(Piece(job, first, last, bucket))
        self._wait(job)

    def _wait(self, job: Job) -> None:
        left = PATIENCE_S
        while True:
            try:
                return job.done.result(left)
            except TimeoutError:
                # A long batch may take its time as long as its pieces come.
                left = self._answered + PATIENCE_S - time.monotonic()
                if left <= 0 and not job.done.done():
                    self._break(f"the GPU has not answered for {PATIENCE_S:g} s")
                    raise DeviceError(self._broken) from None

    def close(self) -> None:
        """Finish what was begun, free the lanes, end the thread."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self._queue.put(None)
        self._thread.join(FAREWELL_S if self._broken else PATIENCE_S)

    def _run(self, open_lanes: Any, opened: Future[None]) -> None:
        try:
            lanes, close = open_lanes()
        except BaseException as error:
            opened.set_exception(error)
            return
        opened.set_result(None)
        try:
            self._serve(deque(lanes))
        finally:
            close()

    def _serve(self, free: deque[AnyLane]) -> None:
        """Keep every lane busy; the oldest piece is finished when none is free or none waits."""
        busy: deque[tuple[AnyLane, Piece]] = deque()
        while True:
            if free and (piece := self._next(wait=not busy)):
                if piece.job.done.done():  # another piece of it failed
                    continue
                lane = free.popleft()
                rows = (piece.first, piece.last)
                start = partial(lane.start, piece.job.inputs, *rows, piece.bucket)
                if self._attempt(piece.job, start):
                    busy.append((lane, piece))
                else:
                    free.append(lane)
            elif busy:
                lane, piece = busy.popleft()
                rows = (piece.first, piece.last)
                if self._attempt(piece.job, partial(lane.finish, piece.job.outputs, *rows)):
                    _count(piece.job)
                free.append(lane)
            else:
                return

    def _next(self, *, wait: bool) -> Piece | None:
        """The next piece; None: none waits, or the end has come."""
        if self._ended:
            return None
        try:
            piece = self._queue.get(block=wait)
        except queue.Empty:
            return None
        self._ended = piece is None
        return piece

    def _attempt(self, job: Job, step: Callable[[], None]) -> bool:
        """Whether the step worked; if not, its job has failed."""
        try:
            step()
        except self._device_errors as error:
            self._break(f"the GPU failed: {' '.join(str(error).split())}")
            _fail(job, DeviceError(self._broken))
        except InferenceError as error:
            _fail(job, error)
        except Exception as error:  # a job at fault, like an array of a wrong shape
            _fail(job, InferenceError(f"TensorRT: {type(error).__name__}: {error}"))
        else:
            self._answered = time.monotonic()
            return True
        return False

    def _break(self, reason: str) -> None:
        """Every job that waits fails, and every later one."""
        with self._lock:
            self._broken = self._broken or reason
            ended = False
            while True:
                try:
                    piece = self._queue.get_nowait()
                except queue.Empty:
                    break
                if piece is None:
                    ended = True
                else:
                    _fail(piece.job, DeviceError(self._broken))
            if ended:
                self._queue.put(None)


def _count(job: Job) -> None:
    """One more piece of it is finished."""
    job.left -= 1
    if job.left == 0 and not job.done.done():
        job.done.set_result(None)


def _fail(job: Job, error: Exception) -> None:
    if not job.done.done():
        job.done.set_exception(error)

"""The thread that alone talks to the GPU: what it is asked for waits in a queue, under a lock."""

import queue
import threading
import time
from typing import Any

import numpy as np
import pytest

from dscsnet.engines.errors import InferenceError
from dscsnet.engines.runtimes.base import DeviceError
from dscsnet.engines.runtimes.tensorrt.worker import Job, Worker

BUCKETS = (1, 8, 64)


class GpuError(Exception):
    """What a dead GPU raises."""


class Lane:
    """Says what is begun and ended; `failures` are raised by the next starts."""

    def __init__(self, said: list[Any], failures: list[Exception]) -> None:
        self.said, self.failures = said, failures

    def start(self, inputs: Any, first: int, last: int, bucket: int) -> None:
        self.said.append(("start", first, last, bucket))
        if self.failures:
            raise self.failures.pop(0)

    def finish(self, outputs: Any, first: int, last: int) -> None:
        self.said.append(("finish", first, last))

    def close(self) -> None: ...


class Rig:
    """A worker on two lanes."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.failures: list[Exception] = []
        lanes: list[Any] = [Lane(self.said, self.failures) for _ in range(2)]
        closed = lambda: self.said.append("closed")  # noqa: E731
        self.worker = Worker(lambda: (lanes, closed), BUCKETS, (GpuError,))

    def execute(self, number: int) -> Job:
        job = Job({"crops": np.zeros((number, 1))}, {})
        self.worker.execute(job, number)
        return job


class Guarded:
    """A queue in front of another; nothing but the worker's own taking goes without the lock."""

    def __init__(self, worker: Worker) -> None:
        self._real, self._lock = worker._queue, worker._lock
        self.locked: list[bool] = []

    def put(self, piece: Any) -> None:
        self.locked.append(self._lock.locked())
        self._real.put(piece)

    def get(self, *, block: bool) -> Any:
        return self._real.get(block=block)

    def get_nowait(self) -> Any:
        self.locked.append(self._lock.locked())
        return self._real.get_nowait()


def test_asking_breaking_and_closing_exclude_each_other() -> None:
    """Else a batch could be put behind the end, where nobody takes it."""
    rig = Rig()
    rig.worker._queue = guarded = Guarded(rig.worker)  # type: ignore[assignment]
    rig.execute(1)
    assert guarded.locked == [True]
    rig.failures.append(GpuError("gone"))
    with pytest.raises(DeviceError, match=r"^the GPU failed: gone$"):
        rig.execute(1)
    assert guarded.locked == [True] * 3  # the last for what else waits
    rig.worker.close()
    assert guarded.locked == [True] * 4
    assert not rig.worker._lock.locked()
    assert not rig.worker._thread.is_alive()


def test_a_batch_without_rows_asks_for_nothing() -> None:
    rig = Rig()
    assert rig.execute(0).left == 0
    rig.worker.close()
    assert rig.said == ["closed"]
    rig.execute(0)  # of a closed one, too


def test_pieces_that_follow_a_failed_one_are_left_out() -> None:
    rig = Rig()
    rig.failures.append(InferenceError("no"))
    with pytest.raises(InferenceError, match=r"^no$"):
        rig.execute(64 * 3)
    rig.execute(2)
    rig.worker.close()
    assert [each for each in rig.said if each[0] == "start"] == [
        ("start", 0, 64, 64),
        ("start", 0, 2, 8),
    ]


def test_what_waits_behind_a_dead_gpu_fails_and_the_end_is_still_seen() -> None:
    """The queue as the worker's thread finds it: this batch, another, and the end."""
    rig, other, last = Rig(), Job({}, {}, left=1), Job({}, {}, left=1)
    taken = rig.worker._queue
    rig.worker.close()
    rig.worker._ended = False
    from dscsnet.engines.runtimes.tensorrt.worker import Piece

    for job in (other, last):
        taken.put(Piece(job, 0, 1, 1))
    taken.put(None)
    rig.worker._break("first")
    for job in (other, last):
        assert str(job.done.exception(0)) == "first"
    assert taken.get_nowait() is None
    with pytest.raises(queue.Empty):
        taken.get_nowait()
    rig.worker._break("second")
    assert rig.worker._broken == "first"


MODULE = "dscsnet.engines.runtimes.tensorrt.worker"


def test_a_gpu_that_does_not_answer_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{MODULE}.PATIENCE_S", 0.05)
    rig, go = Rig(), threading.Event()
    monkeypatch.setattr(Lane, "start", lambda *_: go.wait(60))
    for _ in range(2):
        with pytest.raises(DeviceError, match=r"^the GPU has not answered for 0\.05 s$"):
            rig.execute(1)
        # From then on nobody waits.
        monkeypatch.setattr(f"{MODULE}.PATIENCE_S", 60.0)
    go.set()
    rig.worker.close()
    assert not rig.worker._thread.is_alive()


def test_what_waits_behind_a_batch_that_hangs_fails_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{MODULE}.PATIENCE_S", 0.05)
    rig, go = Rig(), threading.Event()
    monkeypatch.setattr(Lane, "finish", lambda *_: go.wait(60))
    failures: list[str] = []

    def execute() -> None:
        with pytest.raises(DeviceError, match="has not answered") as caught:
            rig.execute(1)
        failures.append(str(caught.value))

    threads = [threading.Thread(target=execute) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failures) == 3
    go.set()
    rig.worker.close()


def test_a_long_batch_has_the_time_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every piece is in time, all of them together are not."""
    monkeypatch.setattr(f"{MODULE}.PATIENCE_S", 0.5)
    rig = Rig()
    monkeypatch.setattr(Lane, "start", lambda *_: time.sleep(0.05))
    started = time.monotonic()
    assert rig.execute(64 * 20).left == 0
    assert time.monotonic() - started > 0.5
    rig.worker.close()


def test_a_gpu_that_hangs_does_not_keep_the_node_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{MODULE}.PATIENCE_S", 0.05)
    monkeypatch.setattr(f"{MODULE}.FAREWELL_S", 0.05)
    rig, go = Rig(), threading.Event()
    monkeypatch.setattr(Lane, "start", lambda *_: go.wait(60))
    with pytest.raises(DeviceError):
        rig.execute(1)
    monkeypatch.setattr(f"{MODULE}.PATIENCE_S", 60.0)
    started = time.monotonic()
    rig.worker.close()
    assert time.monotonic() - started < 10
    go.set()


def test_what_cannot_be_opened_is_raised_where_it_was_asked_for() -> None:
    def fails() -> Any:
        raise GpuError("no context")

    with pytest.raises(GpuError, match=r"^no context$"):
        Worker(fails, BUCKETS, (GpuError,))

"""Workers that are alike: who is claimed, and when the engines of old ones are closed."""

import threading

import pytest

from dscsnet.pipeline.worker.pool import WorkerPool, WorkerSlot


class Engine:
    """Counts how often it is closed; stands for the worker and its engine."""

    def __init__(self, name: str = "", failure: str | None = None) -> None:
        self.name, self.device_failure, self.closed = name, failure, 0

    def close(self) -> None:
        self.closed += 1


def pool_of(*workers: Engine) -> WorkerPool:
    return WorkerPool(workers)  # type: ignore[arg-type]


def exchanging(slot: WorkerSlot, pool: WorkerPool) -> tuple[threading.Thread, list[bool]]:
    outcome: list[bool] = []
    thread = threading.Thread(target=lambda: outcome.append(slot.exchange(pool)))
    thread.start()
    while slot._pool is not pool and thread.is_alive():
        pass
    return thread, outcome


def test_the_last_one_back_is_the_next_one_out() -> None:
    one, two = Engine(), Engine()
    slot = WorkerSlot()
    assert slot.wait_for_idle(0) == 0
    slot.install(pool_of(one, two))
    assert slot.wait_for_idle(0) == 2
    with slot.claimed() as first:
        assert slot.wait_for_idle(0) == 1
        with slot.claimed() as second:
            assert {first, second} == {one, two}
            assert slot.wait_for_idle(0) == 0
    with slot.claimed() as again:
        assert again is first


def test_a_worker_comes_back_from_a_batch_that_failed() -> None:
    slot = WorkerSlot()
    slot.install(pool_of(Engine()))
    with pytest.raises(ValueError, match="batch"), slot.claimed():
        raise ValueError("batch")
    assert slot.wait_for_idle(0) == 1


def test_old_engines_are_closed_when_the_last_worker_has_left_them() -> None:
    old, new = (Engine(), Engine()), (Engine(), Engine())
    slot, fresh = WorkerSlot(), pool_of(*new)
    slot.install(pool_of(*old))
    with slot.claimed() as slow:
        with slot.claimed():
            thread, outcome = exchanging(slot, fresh)
        with slot.claimed() as next_one:  # all further batches are the new ones'
            assert next_one in new
        thread.join(0.05)
        assert thread.is_alive()
        assert slow.closed == 0  # type: ignore[attr-defined]
    thread.join(30)
    assert outcome == [True]
    assert [engine.closed for engine in (*old, *new)] == [1, 1, 0, 0]


def test_a_slot_that_was_closed_takes_no_engine() -> None:
    first, second, slot = Engine(), Engine(), WorkerSlot()
    slot.install(pool_of(first))
    slot.close()
    slot.close()
    assert not slot.exchange(pool_of(second))
    assert (first.closed, second.closed) == (1, 1)


def test_who_waits_for_a_change_is_told_of_the_end() -> None:
    """A worker that hangs in the old engine does not keep the node."""
    first, second, slot = Engine(), Engine(), WorkerSlot()
    slot.install(pool_of(first))
    with slot.claimed():
        thread, outcome = exchanging(slot, pool_of(second))
        slot.close()
        thread.join(30)
    assert outcome == [True]
    assert (first.closed, second.closed) == (1, 1)


def test_one_lost_device_is_told_of_whichever_worker_has_it() -> None:
    slot = WorkerSlot()
    assert slot.device_failure is None
    slot.install(pool_of(Engine(), Engine(failure="it is gone")))
    assert slot.device_failure == "it is gone"

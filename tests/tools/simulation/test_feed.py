"""The crops of a run: its own draws, those of processes beside it, and going on with either."""

import atexit
import os
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from dscsnet.tools.simulation import feed as module  # noqa: E402
from dscsnet.tools.simulation.feed import FieldRun, FieldStream, field_feed  # noqa: E402
from dscsnet.tools.simulation.field import FieldProtocol, FieldSimulator  # noqa: E402

PROTOCOL = FieldProtocol()


def same(first: Any, second: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_run_draws_by_the_seed_after_its_own() -> None:
    drawn = FieldRun(PROTOCOL, 4).give(3)
    assert same(drawn, FieldSimulator(PROTOCOL, seed=5).give(3))
    assert not same(drawn, FieldSimulator(PROTOCOL, seed=4).give(3))


def test_it_starts_from_crops_of_a_seed_of_their_own() -> None:
    run = FieldRun(PROTOCOL, 4)
    first = run.start_crops(5)
    assert same(first, FieldSimulator(PROTOCOL, seed=77).draw_clean(5))
    assert same(first, run.start_crops(5))
    assert same(run.give(3), FieldRun(PROTOCOL, 4).give(3))  # which took nothing from the others


def test_a_run_goes_on_where_it_was_stored() -> None:
    run, other = FieldRun(PROTOCOL, 4), FieldRun(PROTOCOL, 4)
    run.give(3)
    stored = deepcopy(run.state())
    following = run.give(3)
    other.restore(stored)
    assert same(other.give(3), following)


def test_of_processes_each_feed_has_a_seed_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """By how many batches were taken before: what was seen does not come again."""
    made: list[tuple[Any, ...]] = []

    def feed(
        protocol: FieldProtocol, batch: int, seed: tuple[int, ...], processes: int, *, pinned: bool
    ) -> Iterator[int]:
        assert protocol is PROTOCOL
        made.append((batch, seed, processes, pinned))
        return iter(range(100))

    monkeypatch.setattr(module, "field_feed", feed)
    run: Any = FieldRun(PROTOCOL, 4, 2, device="cuda")
    assert [run.give(8) for _ in range(3)] == [0, 1, 2]
    assert made == [(8, (4, 0), 2, True)]
    stored = run.state()
    assert stored["drawn"] == 3
    following: Any = FieldRun(PROTOCOL, 4, 1)
    following.restore(stored)
    assert [following.give(8), following.give(8)] == [0, 1]
    assert made[1:] == [(8, (4, 3), 1, False)]
    assert following.state()["drawn"] == 5
    del stored["drawn"]  # as a run of before stored it
    following.restore(stored)
    assert following.state()["drawn"] == 0


def test_each_process_draws_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    class Worker:
        id = 0

    def first() -> Any:
        return next(iter(FieldStream(PROTOCOL, 2, (5, 7))))

    alone = first()
    monkeypatch.setattr(module, "get_worker_info", Worker)
    assert same(first(), alone)
    Worker.id = 1
    assert not same(first(), alone)


def test_processes_are_started_afresh_and_wait_with_four_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: dict[str, Any] = {}

    def loader(stream: FieldStream, **settings: Any) -> Iterator[FieldStream]:
        given.update(settings)
        return iter([stream])

    monkeypatch.setattr(module, "DataLoader", loader)
    stream: Any = next(field_feed(PROTOCOL, 6, (1, 2), 3, pinned=True))
    assert (stream.protocol, stream.batch, stream.seed) == (PROTOCOL, 6, (1, 2))
    ends: list[tuple[Any, ...]] = []
    monkeypatch.setattr(atexit, "register", lambda *call: ends.append(call))
    given.pop("worker_init_fn")(2)
    assert ends == [(os._exit, 0)]
    assert given == {
        **{"batch_size": None, "num_workers": 3, "prefetch_factor": 4, "pin_memory": True},
        "multiprocessing_context": "spawn",
    }


@pytest.mark.parametrize(("processes", "compiled"), [(0, 1), (2, 0)])
def test_what_is_drawn_here_is_compiled(
    monkeypatch: pytest.MonkeyPatch, processes: int, compiled: int
) -> None:
    compilations: list[int] = []
    monkeypatch.setattr(FieldSimulator, "compile", lambda _: compilations.append(1))
    run = FieldRun(PROTOCOL, 4, processes)
    run.compile()
    assert compilations == []  # on a CPU, crop by crop
    run.at_once = run._simulator.at_once = not processes
    run.compile()
    assert len(compilations) == compiled

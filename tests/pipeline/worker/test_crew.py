"""Several workers at once: order, accounting, engine change, a lost device, slow ones, the end."""

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dscsnet.pipeline.config import Batching, Join, Overload
from dscsnet.pipeline.join import Joiner, Ledger, Ticket
from dscsnet.pipeline.messages import Detections, End, EngineInfo, Frame, Targets
from dscsnet.pipeline.worker import Crew, WorkerPool, WorkerSlot, plain_answer

EPOCH = bytes(16)
PATIENCE_S = 60
Serve = Callable[[list[Ticket]], None]


def info(model: str) -> EngineInfo:
    return EngineInfo(runtime="none", model=model, sha256="", psf_sigma=0.5)


class Played:
    """A worker that does as told before it answers.

    Args:
        serve: given the tickets; what it raises is no answer.
    """

    device_failure: str | None = None

    def __init__(self, model: str = "one", serve: Serve = lambda _: None) -> None:
        self.info, self._serve = info(model), serve
        self.batches: list[list[int]] = []
        self.closed = False

    def process(self, tickets: list[Ticket], finish: Callable[[Ticket, Targets], None]) -> None:
        assert not self.closed
        self.batches.append([ticket.key.frame_id for ticket in tickets])
        self._serve(tickets)
        for ticket in tickets:
            finish(ticket, plain_answer(ticket, "ok", "", self.info))

    def close(self) -> None:
        self.closed = True


class Running:
    """A joiner whose frames are answered by these workers, each in a thread."""

    def __init__(self, *workers: Played, **settings: Any) -> None:
        mode = settings.pop("mode", "lossless")
        batch = Batching(**{"max_crops": 4} | settings)
        join = Join(timeout_ms=60_000, max_frames=8, max_streams=8)
        self.joiner = Joiner(
            *(join, Overload(mode=mode, max_age_ms=60_000), batch, Ledger()),
            lambda ticket, status, reason: plain_answer(ticket, status, reason, info("none")),
        )
        self.slot, self.give_up = WorkerSlot(), threading.Event()
        self.slot.install(WorkerPool(workers))  # type: ignore[arg-type]
        self.crew = Crew(self.joiner, self.slot)
        self.answers: list[Targets | End] = []
        self.threads = [
            threading.Thread(target=self.crew.run, args=(self.give_up,), daemon=True)
            for _ in workers
        ]
        self.threads.append(threading.Thread(target=self._publish, daemon=True))
        for thread in self.threads:
            thread.start()

    def _publish(self) -> None:
        while not self.joiner.drained() and not self.give_up.is_set():
            self.answers += [due.message for due in self.joiner.due(0.05)]

    def feed(self, frames: range, streams: str = "a", candidates: int = 2) -> None:
        """Both parts of frames, as fast as a lossless joiner lets them in."""
        for frame_id in frames:
            for stream in streams:
                wait_until(lambda: not self.joiner.blocked()[0])
                x = [1.0] * candidates
                self.joiner.offer(Frame(stream, EPOCH, frame_id, 7, np.zeros((4, 4), np.uint8)))
                self.joiner.offer(Detections(stream, EPOCH, frame_id, 7, x=x, y=x))

    def end(self) -> None:
        self.joiner.close()
        for thread in self.threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def of_stream(answers: list[Targets | End], stream: str) -> list[int]:
    return [answer.frame_id for answer in answers if answer.stream == stream]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_nothing_is_lost_and_the_order_holds_whatever_is_slow(workers: int) -> None:
    chance = random.Random(workers)
    idle = threading.Event()
    crew = [
        Played(serve=lambda _: idle.wait(chance.choice([0, 0, 0.001, 0.004])) and None)
        for _ in range(workers)
    ]
    run = Running(*crew)
    run.feed(range(60), "abc")
    for stream in "abc":
        run.joiner.offer(End(stream, EPOCH, 59, 7))
    run.end()
    for stream in "abc":
        assert of_stream(run.answers, stream) == [*range(60), 59]  # the end comes last
    state = run.joiner.snapshot()
    assert state["received"] == state["published"] == 180
    assert state["by_status"] == {"ok": 180}
    assert state["lost_upstream"] == state["pending"] == 0


def test_a_slow_worker_holds_up_its_own_frames_only() -> None:
    """The others' answers wait for it where they are of its stream, and are not lost."""
    stuck, release = threading.Event(), threading.Event()

    def hang(tickets: list[Ticket]) -> None:
        if tickets[0].key == ("slow", EPOCH, 0):
            stuck.set()
            assert release.wait(PATIENCE_S)

    crew = [Played(serve=hang), Played(serve=hang)]
    run = Running(*crew)
    run.feed(range(1), ["slow"])  # type: ignore[arg-type]
    assert stuck.wait(PATIENCE_S)
    run.feed(range(1, 4), ["slow"])  # type: ignore[arg-type]
    run.feed(range(20), ["fast"])  # type: ignore[arg-type]
    wait_until(lambda: len(run.answers) >= 20)
    assert of_stream(run.answers, "slow") == []
    assert run.crew.silent_s() > 0
    release.set()
    run.end()
    assert of_stream(run.answers, "slow") == [0, 1, 2, 3]
    assert of_stream(run.answers, "fast") == list(range(20))


def test_idle_workers_share_what_is_worth_sharing() -> None:
    """Two frames of many candidates that come together are unmixed side by side."""
    both = threading.Barrier(2)

    def meet(_: list[Ticket]) -> None:
        both.wait(PATIENCE_S)

    crew = [Played(serve=meet), Played(serve=meet)]
    run = Running(*crew, max_crops=256)
    run.feed(range(2), candidates=100)
    run.end()
    assert sorted(crew[0].batches + crew[1].batches) == [[0], [1]]


@pytest.mark.parametrize(("candidates", "share"), [(2, 6), (3, 5), (8, 3), (20, 3)])
def test_a_share_is_no_smaller_than_a_run_is_worth(candidates: int, share: int) -> None:
    """Six frames, two idle workers: half of them, but sixteen candidates if there are so many."""
    run = Running(max_crops=256)
    run.feed(range(6), candidates=candidates)
    assert len(run.joiner.take(0, among=2)) == share
    assert len(run.joiner.take(0, among=1)) == 6 - share
    run.give_up.set()


def test_all_workers_change_over_and_no_later_frame_has_an_older_engine() -> None:
    idle = threading.Event()
    pools = [
        [Played(model, lambda _: idle.wait(0.001) and None) for _ in range(3)]
        for model in ("one", "two", "three")
    ]
    run = Running(*pools[0])
    feeding = threading.Thread(target=run.feed, args=(range(300), "ab"))
    feeding.start()
    for number, pool in enumerate(pools[1:], 1):
        wait_until(lambda n=number: len(run.answers) >= 150 * n)  # type: ignore[misc]
        assert run.slot.exchange(WorkerPool(pool))  # type: ignore[arg-type]
        assert all(worker.closed for worker in pools[number - 1])
    feeding.join(PATIENCE_S)
    run.end()
    for stream in "ab":
        answers = [a for a in run.answers if isinstance(a, Targets) and a.stream == stream]
        assert [answer.frame_id for answer in answers] == list(range(300))
        models = [answer.engine.model for answer in answers]
        changes = [k for k in range(1, 300) if models[k] != models[k - 1]]
        assert [models[0], *(models[k] for k in changes)] == ["one", "two", "three"]


def test_a_worker_that_hangs_keeps_no_other_from_ending() -> None:
    stuck, release = threading.Event(), threading.Event()

    def hang(_: list[Ticket]) -> None:
        stuck.set()
        release.wait(PATIENCE_S)

    run = Running(Played(serve=hang), Played(serve=hang))
    run.feed(range(1))
    assert stuck.wait(PATIENCE_S)
    run.joiner.close()
    run.give_up.set()
    one, other, publisher = run.threads
    assert _ends(publisher, PATIENCE_S)
    while one.is_alive() and other.is_alive():
        one.join(0.01)
    assert one.is_alive() != other.is_alive()
    release.set()
    assert _ends(one, PATIENCE_S)
    assert _ends(other, PATIENCE_S)


def _ends(thread: threading.Thread, seconds: float) -> bool:
    thread.join(seconds)
    return not thread.is_alive()


def test_a_thread_that_comes_round_is_not_silent() -> None:
    run = Running(Played(), Played())
    run.feed(range(4))
    run.end()
    assert run.crew.silent_s() == 0

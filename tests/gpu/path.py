"""Our TensorRT path over a stand-in for the library, and what must hold of it."""

import threading
from typing import Any, Protocol

import numpy as np
import pytest

from dscsnet.engines.model import Model, load_model
from dscsnet.engines.runtimes import DeviceError, Runtime
from dscsnet.engines.runtimes.tensorrt import BuildSettings, TensorRtRuntime, lane, runtime, worker
from dscsnet.engines.runtimes.tensorrt.graphs import Graphs
from tests.gpu.cards import check_batch, in_threads
from tests.gpu.stand_in import Place, StandIn

MODEL = "field-unfolded"
THREADS = 4
#: Root of the mean squared error over that of the outputs; fp32.
ALLOWED = 5e-5


class Checked:
    """A runtime, and the model that is in it."""

    def __init__(self, model: Model, runtime: Runtime) -> None:
        self.model, self.runtime = model, runtime

    def check(self, number: int, seed: int = 0) -> None:
        """So many golden crops, drawn at random, against the float64 reference."""
        crops = len(self.model.golden().inputs["crops"])
        rows = np.random.default_rng(seed).integers(0, crops, number)
        check_batch(self.model, self.runtime, rows, ALLOWED)


class Path(Checked):
    """A TensorRT runtime over the stand-in, with its lanes.

    Args:
        cuda: `pycuda.driver`, initialised, or a fake.
    """

    def __init__(
        self, place: Place, cuda: Any, graphs: Graphs, model: Model, buckets: tuple[int, ...]
    ) -> None:
        self.lanes: list[lane.Lane] = []
        self.library = StandIn(place, model, buckets)
        outer = self

        class NotedLane(lane.Lane):
            def __init__(self, *given: Any) -> None:
                super().__init__(*given)
                outer.lanes.append(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runtime, "Lane", NotedLane)
            settings = BuildSettings("fp32", buckets)
            opened = TensorRtRuntime(self.library, cuda, graphs, b"", settings)  # type: ignore[arg-type]
        super().__init__(model, opened)


class Bench(Protocol):
    """What the tests are run on: a card, or what stands for it."""

    buckets: tuple[int, ...]
    batches: int
    largest: int

    def open(self, model: Model) -> Path: ...
    def is_page_locked(self, array: np.ndarray) -> bool: ...
    def free_memory(self) -> int: ...
    def lose(self) -> None:
        """Break the GPU: whatever comes fails."""

    def disturb(self) -> None:
        """Use the default stream, as other libraries in the process do."""

    def occupy(self, path: Path, seconds: float) -> None:
        """Have both lanes do something that takes so long."""


class PathContract:
    """Tests of the path; a class that inherits them has a fixture `bench`."""

    def test_every_piece_of_every_batch_is_a_graph(self, bench: Bench) -> None:
        path = bench.open(load_model(MODEL))
        lanes, buckets = path.lanes, bench.buckets
        assert len(lanes) == runtime.LANES == 2
        assert [sorted(each._graphs) for each in lanes] == [sorted(buckets)] * 2
        # Once to set the library up, once to record; then never again.
        begun = path.library.engine.executions
        assert begun == 2 * len(lanes) * len(buckets)
        for number in (1, 2, *buckets, *(size + 1 for size in buckets), 3 * buckets[-1]):
            path.check(number, number)
        assert path.library.engine.executions == begun
        path.runtime.close()

    def test_memory_is_page_locked_and_each_lane_has_its_own(self, bench: Bench) -> None:
        path = bench.open(load_model(MODEL))
        slots = [slot for each in path.lanes for slot in each._slots.values()]
        assert all(bench.is_page_locked(slot.host) for slot in slots)
        assert not bench.is_page_locked(np.zeros(1000))
        assert len({int(slot.device) for slot in slots}) == len(slots)
        assert len({each._stream.handle for each in path.lanes}) == 2
        path.runtime.close()
        assert not any(each._held or each._graphs for each in path.lanes)

    def test_many_batches_of_random_sizes_from_four_threads(self, bench: Bench) -> None:
        path = bench.open(load_model(MODEL))
        path.check(1)
        before = bench.free_memory()

        def many(seed: int) -> None:
            generator = np.random.default_rng(seed)
            for index in range(bench.batches // THREADS):
                path.check(int(generator.integers(1, bench.largest)), 1000 * seed + index)

        in_threads(many, THREADS)
        assert before - bench.free_memory() < 2**20
        path.runtime.close()

    def test_an_engine_is_opened_while_another_works(self, bench: Bench) -> None:
        path, opened = bench.open(load_model(MODEL)), threading.Event()

        def either(number: int) -> None:
            if number == 0:
                try:
                    fresh = bench.open(load_model(MODEL))
                    assert all(each._graphs for each in fresh.lanes)
                    fresh.check(3)
                    fresh.runtime.close()
                finally:
                    opened.set()
            while not opened.is_set():
                if number == 1:
                    bench.disturb()
                else:
                    path.check(bench.buckets[-1] + 1, number)

        in_threads(either, 4)
        path.check(3)
        path.runtime.close()


def lost(bench: Bench, opened: Checked) -> str:
    """Lose the GPU between two batches; what the first batch after it says."""
    opened.check(1)
    bench.lose()
    return _failure(opened)


def hung(bench: Bench, path: Path) -> str:
    """Have the GPU hang; what the first batch after it says."""
    path.check(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "PATIENCE_S", 1.0)
        bench.occupy(path, 4.0)
        return _failure(path)


def _failure(opened: Checked) -> str:
    """What is said of two batches of which none comes back: the same, and of the GPU."""

    def attempt() -> str:
        with pytest.raises(DeviceError) as caught:
            opened.check(1)
        return str(caught.value)

    first = attempt()
    assert attempt() == first
    return first

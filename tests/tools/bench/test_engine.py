"""Speed of an engine: whole batches over time, by a clock of the test's own."""

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dscsnet.engines.engine import CropBatch
from dscsnet.engines.imaging import render
from dscsnet.engines.runtimes import RuntimeOptions
from dscsnet.tools.bench import engine as bench_engine
from dscsnet.tools.bench.engine import BENCH_PSF_SIGMA, bench_batch, rate


class Clock:
    """A call takes what the test says."""

    def __init__(self, *seconds: float) -> None:
        self.now, self.calls, self.seconds = 0.0, 0, seconds

    def perf_counter(self) -> float:
        return self.now

    def run(self) -> None:
        self.now += self.seconds[min(self.calls, len(self.seconds) - 1)]
        self.calls += 1


@pytest.fixture(autouse=True)
def _second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_engine, "SECONDS", 1.0)


def test_the_first_call_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(60.0, 0.25)
    monkeypatch.setattr(bench_engine, "time", clock)
    assert rate(clock.run, 8) == pytest.approx(4 * 8)
    assert clock.calls == 1 + 3 * 4


def test_the_best_of_three_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(0.0, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 1.0)
    monkeypatch.setattr(bench_engine, "time", clock)
    assert rate(clock.run, 3) == pytest.approx(4 * 3)


def test_a_batch_that_takes_longer_than_the_time_is_timed_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(2.5)
    monkeypatch.setattr(bench_engine, "time", clock)
    assert rate(clock.run, 10) == pytest.approx(4)


def test_crops_are_two_targets_near_the_middle_on_noise() -> None:
    batch = bench_batch(11, 300)
    assert batch.pixels.shape == (300, 11, 11)
    assert batch.usable.all()
    assert set(batch.noise) == {5}
    assert np.unique(batch.psf) == [np.float32(BENCH_PSF_SIGMA)]
    corners = batch.pixels[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.std() == pytest.approx(5, rel=0.1)
    light = batch.pixels.sum((1, 2))
    assert 600 - 250 < light.min() < 1000
    assert 1600 < light.max() < 2000 + 250
    mean = batch.pixels.mean(0)
    single = render([5], [5], [1], (11, 11), BENCH_PSF_SIGMA)
    assert mean[4:7, 4:7].sum() > 0.85 * mean.sum()  # within 1 px of the middle, each of them
    assert mean[5, 5] < 0.5 * single[5, 5] * mean.sum()
    np.testing.assert_array_equal(bench_batch(11, 300).pixels, batch.pixels)
    assert not np.array_equal(bench_batch(11, 300, seed=1).pixels, batch.pixels)


class FakeEngine:
    """Of 11 px and a model whose inputs are as told; counts what it did."""

    def __init__(self, threads: int, inputs: tuple[str, ...]) -> None:
        self.runtime, self.grid = SimpleNamespace(name="abacus"), SimpleNamespace(crop_size=11)
        card = SimpleNamespace(inputs=inputs)
        self.model = SimpleNamespace(folder=f"folder of {threads}", card=card)
        self.ran = self.read_ = self.closed = 0

    def run(self, batch: CropBatch) -> int:
        self.ran += 1
        return len(batch.pixels)

    def read(self, outputs: int, batch: CropBatch) -> None:
        assert outputs == len(batch.pixels)
        self.read_ += 1

    def close(self) -> None:
        self.closed += 1


def test_network_readout_and_peer_by_threads_and_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    engines: list[FakeEngine] = []
    given: list[tuple[object, ...]] = []
    threads: list[int] = []

    def open_model_engine(model: str, runtime: str, options: RuntimeOptions) -> FakeEngine:
        assert (model, runtime) == ("a model", "auto")
        inputs = ("crops",) if options.threads == 1 else ("crops", "noise", "psf_sigma")
        engines.append(FakeEngine(options.threads, inputs))
        return engines[-1]

    def network(*inputs: "torch.Tensor") -> None:
        given.append((torch.is_inference_mode_enabled(), *(tuple(each.shape) for each in inputs)))

    def rate(run: Callable[[], object], crops: int) -> float:
        run()
        return 10.0 * crops

    folders: list[str] = []
    monkeypatch.setattr(bench_engine, "open_model_engine", open_model_engine)
    monkeypatch.setattr(bench_engine, "rate", rate)
    monkeypatch.setattr(
        "dscsnet.engines.networks.stored.load_network",
        lambda folder: folders.append(folder) or network,
    )
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    speeds = list(bench_engine.bench_engine("a model", (2, 5), (1, 3)))
    peer = f"torch {torch.__version__} eager"
    assert [(each.what, each.batch) for each in speeds] == [
        (what, batch)
        for words in ("1 thread", "3 threads")
        for what, batch in (
            *((f"abacus, {words}: {kind}", n) for n in (2, 5) for kind in KINDS),
            *((f"{peer}, {words}: network", n) for n in (2, 5)),
        )
    ]
    assert [each.crops_per_s for each in speeds] == [10.0 * each.batch for each in speeds]
    assert [(each.ran, each.read_, each.closed) for each in engines] == [(4, 2, 1)] * 2
    assert threads == [1, 3]
    assert folders == ["folder of 1", "folder of 3"]
    alone = [(True, (n, 11, 11)) for n in (2, 5)]
    assert given == [*alone, *((True, (n, 11, 11), (n,), (n, 2)) for n in (2, 5))]


KINDS = ("network", "with readout")


def test_without_pytorch_there_is_no_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    engine: Any = FakeEngine(1, ("crops",))
    assert list(bench_engine._eager_peer(engine, (1,), 1)) == []


def test_each_repetition_takes_a_second_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(0.25)
    monkeypatch.setattr(bench_engine, "time", clock)
    rate(clock.run, 1, 0.5)
    assert clock.calls == 1 + 3 * 2

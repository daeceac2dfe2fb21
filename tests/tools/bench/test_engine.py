"""Speed of an engine: whole batches over time, by a clock of the test's own."""

import numpy as np
import pytest

from dscsnet.engines.imaging import render
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

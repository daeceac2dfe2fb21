"""Speeds in turn, by clocks of the test's own."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from dscsnet.tools.bench import in_turn as module
from dscsnet.tools.bench.in_turn import Speed, median_speed, speeds_in_turn


def test_turns_medians_and_both_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the calls of a round as many as fill its time; the clock runs twice as fast."""
    cpu, order = [0.0], []
    clock = SimpleNamespace(process_time=lambda: cpu[0], perf_counter=lambda: 2 * cpu[0])
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "ROUNDS", 3)
    monkeypatch.setattr(module, "SECONDS", 1.0)

    def takes(name: str, *seconds: float) -> Callable[[], None]:
        left = list(seconds)

        def run() -> None:
            order.append(name)
            cpu[0] += left.pop(0)

        return run

    runs = {"a": takes("a", 0.5, 0.5, 4, 1), "b": takes("b", 5, 2, 0.5, 0.25, 0.25)}
    # a: 2 calls in 1 s, 1 in 4 s, 1 in 1 s; b: 1 in 5 s, 1 in 2 s, 3 in 1 s.
    speeds = speeds_in_turn(runs, 10)
    assert order == [*"aab", *"ab", *"abbb"]
    assert speeds == {"a": Speed(10, 5), "b": Speed(5, 2.5)}


def test_the_median_is_of_each_kind_of_time() -> None:
    assert median_speed([Speed(1, 30), Speed(3, 10), Speed(2, 20)]) == Speed(2, 20)
    assert median_speed([Speed(1, 30), Speed(3, 40), Speed(9, 20)]) == Speed(3, 30)

"""Speeds of several things that take turns, so that what else the machine does meets all."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

ROUNDS = 3
#: Processor time of each in a round, s; a call that takes longer is made once.
SECONDS = 0.3


@dataclass(frozen=True)
class Speed:
    """Items a second.

    Attributes:
        cpu: of processor time, all threads together.
        wall: by the clock.
    """

    cpu: float
    wall: float


def median_speed(speeds: list[Speed]) -> Speed:
    """The median of each kind of time, apart."""
    cpu, wall = np.median([(speed.cpu, speed.wall) for speed in speeds], axis=0).tolist()
    return Speed(cpu, wall)


def speeds_in_turn(runs: Mapping[str, Callable[[], object]], number: int) -> dict[str, Speed]:
    """Median speed of each, in this process.

    Args:
        runs: each was called before: what is compiled or allocated then is not timed.
        number: items that one call does.
    """
    speeds: dict[str, list[Speed]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            speeds[name].append(_speed(run, number))
    return {name: median_speed(each) for name, each in speeds.items()}


def _speed(run: Callable[[], object], number: int) -> Speed:
    calls, cpu, wall = 0, time.process_time(), time.perf_counter()
    while True:
        run()
        calls += 1
        spent = time.process_time() - cpu
        if spent >= SECONDS:
            return Speed(calls * number / spent, calls * number / (time.perf_counter() - wall))

"""Due times are exact and absolute; a late frame shifts no other one."""

import threading
from fractions import Fraction

import pytest

from dscsnet.pipeline.replay.pacing import FINE_WAIT_NS, MAX_LAG_NS, Pacer, recorded_offset_ns


class FakeClock:
    """Time passes only by waiting; each wait overshoots by `overshoot_ns`."""

    def __init__(self, now_ns: int = 5_000, overshoot_ns: int = 0) -> None:
        self.now = now_ns
        self.overshoot_ns = overshoot_ns
        self.stop_at_ns: int | None = None

    def now_ns(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert 0 < seconds <= FINE_WAIT_NS * 1e-9
        self.now += max(round(seconds * 1e9), 1) + self.overshoot_ns

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.now += round(seconds * 1e9) + self.overshoot_ns
        if self.stop_at_ns is not None and self.now >= self.stop_at_ns:
            event.set()
        return event.is_set()


def test_ten_thousand_frames_at_a_crooked_rate_do_not_drift() -> None:
    clock = FakeClock(now_ns=123_456_789)
    pacer = Pacer(29.97, clock=clock)
    period = Fraction(10**9) / Fraction(2997, 100)
    for index in range(10_000):
        assert pacer.wait(index) == 0
        assert abs(clock.now - 123_456_789 - index * period) <= Fraction(1)
    assert pacer.moves == 0


def test_every_wait_overshooting_does_not_add_up() -> None:
    clock = FakeClock(now_ns=0, overshoot_ns=70_000)
    pacer = Pacer(100.0, clock=clock)
    lateness = [pacer.wait(index) for index in range(1000)]
    assert max(late for late in lateness if late is not None) <= 70_000
    assert clock.now == 999 * 10_000_000 + 70_000


def test_one_slow_frame_delays_no_later_frame() -> None:
    clock = FakeClock(now_ns=0)
    pacer = Pacer(100.0, clock=clock)
    released = []
    for index in range(20):
        pacer.wait(index)
        released.append(clock.now)
        if index == 5:
            clock.now += 35_000_000  # three and a half periods of 10 ms
    periods = [10_000_000 * index for index in range(20)]
    assert released[:6] == periods[:6]
    assert released[6:9] == [85_000_000] * 3
    assert released[9:] == periods[9:]


def test_a_long_halt_moves_the_schedule_instead_of_a_long_burst() -> None:
    clock = FakeClock(now_ns=0)
    pacer = Pacer(100.0, clock=clock)
    pacer.wait(0)
    clock.now += 60 * MAX_LAG_NS
    assert pacer.wait(1) == 60 * MAX_LAG_NS - 10_000_000
    resumed = clock.now
    for index in range(2, 10):
        assert pacer.wait(index) == 0
        assert clock.now == resumed + (index - 1) * 10_000_000
    assert pacer.moves == 1


def test_a_schedule_is_moved_where_it_is_more_than_a_second_behind() -> None:
    for late, moves in ((10**9, 0), (10**9 + 1, 1)):
        clock = FakeClock(now_ns=0)
        pacer = Pacer(100.0, clock=clock)
        pacer.wait(0)
        clock.now += 10_000_000 + late
        assert pacer.wait(1) == late
        assert pacer.moves == moves


def test_passes_follow_one_another_at_the_mean_interval() -> None:
    assert [recorded_offset_ns([5, 15], index) for index in range(5)] == [0, 10, 20, 30, 40]
    assert [recorded_offset_ns([5, 6, 15], index) for index in range(5)] == [0, 1, 10, 15, 16]


def test_recorded_times_are_played_at_their_own_intervals_and_speed() -> None:
    times = [1_700_000_000_000_000_000 + 1_000_000 * step for step in (0, 10, 15, 40)]
    clock = FakeClock(now_ns=0)
    pacer = Pacer(timestamps_ns=times, speed=2.0, clock=clock)
    released = []
    for index in range(8):
        pacer.wait(index)
        released.append(clock.now / 1e6)
    # The second pass begins one mean interval (40 / 3 ms) after the last frame of the first.
    gap = 40 + 40 / 3
    expected = [step / 2 for step in (0, 10, 15, 40, gap, gap + 10, gap + 15, gap + 40)]
    assert released == pytest.approx(expected, abs=2e-6)


def test_one_recorded_frame_repeats_at_once() -> None:
    assert [recorded_offset_ns([42], index) for index in range(3)] == [0, 0, 0]


def test_without_a_rate_every_frame_is_due_at_once() -> None:
    clock = FakeClock()
    stop = threading.Event()
    pacer = Pacer(None, clock=clock, stop=stop)
    assert [pacer.wait(index) for index in range(5)] == [0] * 5
    assert clock.now == 5_000
    stop.set()
    assert pacer.wait(5) is None


def test_stop_ends_a_wait_early() -> None:
    clock = FakeClock(now_ns=0)
    clock.stop_at_ns = 1
    pacer = Pacer(0.1, clock=clock, stop=threading.Event())
    assert pacer.wait(0) == 0
    assert pacer.wait(1) is None


def test_stop_from_another_thread_ends_a_real_wait() -> None:
    stop = threading.Event()
    pacer = Pacer(0.001, stop=stop)  # the second frame would be due after 1000 s
    assert pacer.wait(0) is not None
    timer = threading.Timer(0.01, stop.set)
    timer.start()
    assert pacer.wait(1) is None
    timer.join()


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_rates_that_are_none_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate_hz: expected a positive number"):
        Pacer(rate)
    with pytest.raises(ValueError, match="speed: expected a positive number"):
        Pacer(1.0, speed=rate)


def test_rate_and_timestamps_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="not both"):
        Pacer(1.0, timestamps_ns=[0, 1])

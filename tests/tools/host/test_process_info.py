"""What the kernel says of this very process."""

import os
import resource
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from dscsnet.tools.host import process_info
from dscsnet.tools.host.process_info import Process

OURS = Process(os.getpid())


def test_memory_is_what_the_page_counts_say() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    assert OURS.memory_mib() == pytest.approx(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, rel=0.2)


def test_threads_and_descriptors_come_and_go(tmp_path: Path) -> None:
    leave = threading.Event()
    threads, descriptors = OURS.threads(), OURS.descriptors()
    extra = [threading.Thread(target=leave.wait) for _ in range(3)]
    for thread in extra:
        thread.start()
    assert OURS.threads() == threads + 3
    leave.set()
    for thread in extra:
        thread.join()
    with (tmp_path / "a").open("w"), (tmp_path / "b").open("w"):
        assert OURS.descriptors() == descriptors + 2
        assert OURS.most_descriptors(0.0) == 0  # no while at all
        assert OURS.most_descriptors(0.05) == descriptors + 2
    assert OURS.descriptors() == descriptors


def test_processor_time_is_that_of_user_and_system() -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    assert OURS.cpu_s() == pytest.approx(usage.ru_utime + usage.ru_stime, abs=0.5)


def test_the_most_of_a_while_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock goes on by the naps between the looks; at the end itself nobody looks."""
    clock = SimpleNamespace(now=0.0, naps=[])
    clock.monotonic = lambda: clock.now

    def sleep(seconds: float) -> None:
        clock.naps.append(seconds)
        clock.now += 0.25

    clock.sleep = sleep
    numbers = iter([3, 9, 4, 5, 99])
    monkeypatch.setattr(process_info, "time", clock)
    monkeypatch.setattr(Process, "descriptors", lambda self: next(numbers))
    assert OURS.most_descriptors() == 9
    assert clock.naps == [0.02] * 4

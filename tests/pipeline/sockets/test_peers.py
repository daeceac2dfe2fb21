"""Publishers that wait: in slices, so that they can stop, and no longer than asked."""

import threading
from types import SimpleNamespace

import pytest

from dscsnet.pipeline.messages import End
from dscsnet.pipeline.sockets import peers as peers_module
from dscsnet.pipeline.sockets.peers import SLICE_MS, await_peers, send

END = End("cam", bytes(16), 0, 1)


class Peers:
    """A sender whose peers, or room, come after some waits; its clock goes on while it waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
        self.after, self.asked, self.now = after, list[float](), 100.0
        monkeypatch.setattr(peers_module, "time", SimpleNamespace(monotonic=lambda: self.now))

    def wait_for_peers(self, count: int, timeout_s: float) -> int:
        self.asked.append(timeout_s)
        self.now += timeout_s
        return count if len(self.asked) > self.after else count - 1

    def send(self, message: End, timeout_ms: int) -> bool:
        self.asked.append(timeout_ms)
        return len(self.asked) > self.after


@pytest.mark.parametrize(
    ("timeout_s", "after", "asked", "found"),
    [
        (10.0, 2, [0.05, 0.05, 0.05], 3),
        (0.125, 99, [0.05, 0.05, 0.025, 0.0], 2),
        (0.0, 99, [0.0], 2),
        (-5.0, 99, [0.0], 2),
    ],
)
def test_peers_are_awaited_in_slices_of_50_ms(
    monkeypatch: pytest.MonkeyPatch, timeout_s: float, after: int, asked: list[float], found: int
) -> None:
    sender = Peers(monkeypatch, after)
    there = await_peers(sender, 3, timeout_s, threading.Event())  # type: ignore[arg-type]
    assert there == found
    assert sender.asked == pytest.approx(asked)


def test_who_is_told_to_stop_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, sender = threading.Event(), Peers(monkeypatch, 0)
    stop.set()
    assert await_peers(sender, 3, 10.0, stop) == 0  # type: ignore[arg-type]
    assert not sender.asked


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("stopped", [True, False])
def test_only_a_lossless_message_waits_for_room_until_it_is_to_stop(
    monkeypatch: pytest.MonkeyPatch, lossless: bool, stopped: bool
) -> None:
    stop, sender = threading.Event(), Peers(monkeypatch, 2)
    if stopped:
        stop.set()
    sent = send(sender, END, lossless, stop)  # type: ignore[arg-type]
    assert sent == (lossless and not stopped)
    assert sender.asked == ([SLICE_MS] * (1 if stopped else 3) if lossless else [0])

"""A node as a process, and a client that sends it mutated messages: it goes on regardless."""

import re
import signal
from pathlib import Path

import numpy as np
import pytest

from dscsnet.pipeline.messages import Detections, Frame, new_epoch
from dscsnet.pipeline.sockets import Channel, Sender
from tests.fuzz.client import FuzzClient
from tests.pipeline.node.test_chaos import (
    MEMORY_GROWTH_MIB,
    Listener,
    Process,
    assert_books_balance,
    free_endpoints,
    get,
    running_node,
    wait_for,
)

SHORT_S, LONG_S = 2.0, 180.0
GOOD_FRAMES = 5
ANSWERED_S = 30.0
#: The ledger's account of what came and was refused, each at least once in the long run.
REASONS = {"parts", "topic", "header", "schema", "key", "field", "dimensions", "payload", "limits"}


class GoodPublisher:
    """A camera and a detector that follow the rules."""

    def __init__(self, endpoints: dict[str, str]) -> None:
        self._frames, self._detections = (
            Sender(Channel(endpoints[name], bind=False)) for name in ("frames", "detections")
        )
        for sender in (self._frames, self._detections):
            assert sender.wait_for_peers(1, 10) == 1
        self.epoch, self.sent = new_epoch(), 0
        self._pixels = np.random.default_rng(1).normal(1000, 5, (64, 64)).astype(np.uint16)
        self._pixels[30, 20] = 3000

    def send(self) -> None:
        """One frame with one candidate."""
        key = ("good", self.epoch, self.sent, 7)
        self._frames.send(Frame(*key, self._pixels))
        self._detections.send(Detections(*key, x=[20.0], y=[30.0]))
        self.sent += 1

    def close(self) -> None:
        """Leave."""
        self._frames.close()
        self._detections.close()


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(SHORT_S, id="short"),
        pytest.param(LONG_S, id="long", marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
)
def test_a_node_outlives_hostile_messages(tmp_path: Path, seconds: float) -> None:
    ports = free_endpoints("frames", "detections", "targets", "http")
    http = ports["http"].rpartition(":")[2]
    with (
        Listener(ports["targets"]) as listener,
        running_node(tmp_path, ports | {"http": http}) as node,
    ):
        process = Process(node.pid)
        wait_for(lambda: bool(listener.heartbeats), 60, "the first heartbeat")
        good, client = GoodPublisher(ports), FuzzClient(ports, seed=1)
        try:
            assert_good_frames_are_answered(good, listener)
            client.work(max(1.0, seconds / 3))
            before = process.memory_mib()
            client.work(seconds)
            after = process.memory_mib()
            assert node.poll() is None
            assert get(http, "healthz") == "ok\n"
            assert_good_frames_are_answered(good, listener)
        finally:
            client.close()
            good.close()
        node.send_signal(signal.SIGTERM)
        assert node.wait(60) == 0
    last = listener.heartbeats[-1]
    print(f"sent {dict(client.sent)}, rejected {last['rejected']}, by status {last['by_status']}")
    print(f"unanswered {last['unanswered']}; memory {before:.0f} to {after:.0f} MiB")
    # A stream beyond `max_streams` takes the place of one that is silent: where that comes back,
    # with the same epoch even, it begins anew. So only the good one's answers must be in order.
    assert [each for each in listener.faults if each.startswith(("heartbeat", "('good'"))] == []
    assert_books_balance(listener)
    assert after - before < MEMORY_GROWTH_MIB
    assert_log_is_calm((tmp_path / "node.log").read_text())
    if seconds == LONG_S:
        assert set(last["rejected"]) >= REASONS


def assert_good_frames_are_answered(good: GoodPublisher, listener: Listener) -> None:
    """Good frames are sent until so many more were answered; some may be dropped under load."""
    key = ("good", good.epoch)
    target = good.sent + GOOD_FRAMES - 1

    def answered() -> bool:
        good.send()
        return listener.epochs.get(key, -1) >= target

    wait_for(answered, ANSWERED_S, "answers to good frames")


def assert_log_is_calm(log: str) -> None:
    """Neither a traceback nor an internal error, and every line one of the logger's."""
    assert "Traceback" not in log
    assert "internal error" not in log
    for line in log.splitlines():
        assert re.match(r"\d\d:\d\d:\d\d (INFO|WARNING|ERROR) +[a-z_.]+: ", line), line
        assert line.isprintable(), line

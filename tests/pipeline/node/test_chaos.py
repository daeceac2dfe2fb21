"""The node as a process among peers that die, restart, lose, double, delay and damage messages."""

import itertools
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dscsnet.pipeline.messages import End, Status, Targets
from dscsnet.pipeline.sockets import Channel, Receiver
from dscsnet.tools.host.process_info import Process

ROOT = Path(__file__).parents[3]
PEERS = Path(__file__).with_name("chaos_peers.py")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}

SHORT_S, LONG_S = 10.0, 120.0
SAMPLE_S = 0.25
PEER_LIFE_S = 4.0  # mean time from one death to the next
MEMORY_GROWTH_MIB = 20.0
# The first includes the start of Python in the peers; the rule for the second is 5 s, on a machine
# that has the time.
FLOW_RETURNS_S, EXIT_S = 30.0, 15.0

# Batches no larger than those that the check at the start runs: the runtime keeps the memory of its
# largest batch, which may come late.
CONFIG = """
name: chaos
inputs:
  frames: {{endpoint: "{frames}", bind: true, high_water_mark: 1000}}
  detections: {{endpoint: "{detections}", bind: true, high_water_mark: 1000}}
output:
  targets: {{endpoint: "{targets}", bind: true, high_water_mark: 1000000}}
  expected_subscribers: 1
  wait_s: 60
batch: {{max_crops: 64}}
engine: {{threads: 1}}
http: {{port: {http}}}
"""


class Listener:
    """Receives all that the node publishes and notes what breaks the rules."""

    def __init__(self, endpoint: str) -> None:
        self.statuses: Counter[str] = Counter()
        self.ends = 0
        self.epochs: dict[tuple[str, bytes], int] = {}  # with the last frame_id of each
        self.heartbeats: list[dict] = []
        self.faults: list[str] = []
        self._channel = Channel(endpoint, bind=False, high_water_mark=1_000_000)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with Receiver(self._channel, kinds=("targets", "end", "status")) as receiver:
            # What is there is read to the last, also after the stop.
            while (message := receiver.receive(500)) is not None or not self._stop.is_set():
                if isinstance(message, Targets):
                    self._take(message)
                elif isinstance(message, End):
                    self.ends += 1
                elif isinstance(message, Status):
                    self._check(message.body)

    def _take(self, answer: Targets) -> None:
        self.statuses[answer.status] += 1
        epoch = (answer.stream, answer.epoch)
        before = self.epochs.get(epoch, -1)
        if answer.frame_id <= before:
            self.faults.append(f"{epoch}: {answer.frame_id} after {before}")
        self.epochs[epoch] = answer.frame_id

    def _check(self, body: dict) -> None:
        self.heartbeats.append(body)
        if body["received"] != body["published"] + body["pending"]:
            self.faults.append(f"heartbeat does not balance: {body}")

    def __enter__(self) -> "Listener":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


class Peers:
    """The publishers: killed at random, and started again when they are gone."""

    def __init__(self, ports: dict[str, str], seed: int) -> None:
        to_node = ports["frames"], ports["detections"]
        self._commands = {
            **{f"cam{n}": ["camera", to_node[0], ports["to_detector"]] for n in range(3)},
            "detector0": ["detector", to_node[1], ports["to_detector"]],
            "vandal0": ["vandal", *to_node],
        }
        self._running: dict[str, subprocess.Popen] = {}
        self._chance = random.Random(seed)
        self._lives = itertools.count()
        self.deaths: Counter[str] = Counter()

    def tend(self, *, kill: bool = True) -> None:
        """Start who is missing; kill each with the chance that its mean life gives."""
        for name, (role, *endpoints) in self._commands.items():
            process = self._running.get(name)
            if process is None or process.poll() is not None:
                assert process is None or process.returncode in (0, -signal.SIGKILL)
                life = str(next(self._lives))
                command = [sys.executable, str(PEERS), role, name, life, *endpoints]
                self._running[name] = subprocess.Popen(command, env=ENVIRONMENT)
            elif kill and self._chance.random() < SAMPLE_S / PEER_LIFE_S:
                process.send_signal(signal.SIGKILL)
                self.deaths[name] += 1

    def kill_all(self) -> None:
        """Leave none alive."""
        for process in self._running.values():
            process.kill()
            process.wait()


def free_endpoints(*names: str) -> dict[str, str]:
    """Endpoints on ports that were free a moment ago, all different."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return {name: f"tcp://127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)}


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def most_descriptors(process: Process, threads: int) -> int:
    """Most descriptors in a second at rest: a page that is still being served holds one more."""
    wait_for(lambda: process.threads() <= threads, 10, f"back to {threads} threads")
    return process.most_descriptors()


def await_descriptors(process: Process, most: int) -> None:
    """Wait until no more descriptors are open than were before the peers came."""
    deadline = time.monotonic() + 20
    while (number := process.descriptors()) > most:
        assert time.monotonic() < deadline, f"{number} descriptors at the end, {most} before"
        time.sleep(0.05)


def get(port: str, page: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=60) as response:
        return response.read().decode()


def is_ready(port: str) -> bool:
    try:
        return get(port, "readyz") == "ok\n"
    except urllib.error.HTTPError:
        return False


@contextmanager
def running_node(folder: Path, ports: dict[str, str]) -> Iterator[subprocess.Popen]:
    """The node as a user starts it, its log in `node.log`."""
    config = folder / "node.yaml"
    config.write_text(CONFIG.format(**ports))
    command = [sys.executable, "-m", "dscsnet.pipeline", "node", "-c", str(config)]
    with (folder / "node.log").open("w") as log:
        node = subprocess.Popen(command, cwd=ROOT, stderr=log)
        try:
            yield node
        finally:
            node.kill()
            node.wait()


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(SHORT_S, id="short"),
        pytest.param(LONG_S, id="long", marks=[pytest.mark.slow, pytest.mark.timeout(400)]),
    ],
)
def test_chaos(tmp_path: Path, seconds: float) -> None:
    ports = free_endpoints("frames", "detections", "targets", "to_detector", "http")
    ports["http"] = ports["http"].rpartition(":")[2]
    peers = Peers(ports, seed=1)
    with Listener(ports["targets"]) as listener, running_node(tmp_path, ports) as node:
        process = Process(node.pid)
        wait_for(lambda: bool(listener.heartbeats), 60, "the first heartbeat")
        threads = process.threads()
        wait_for(lambda: is_ready(ports["http"]), 60, "readiness")
        descriptors = most_descriptors(process, threads)
        try:
            await_flow(peers, listener)
            samples = endure(seconds, peers, process)
            peers.kill_all()
            await_descriptors(process, descriptors)
            assert get(ports["http"], "healthz") == "ok\n"
            await_flow(peers, listener)
            stopped = time.monotonic()
            node.send_signal(signal.SIGTERM)
            assert node.wait(EXIT_S) == 0
            exit_s = time.monotonic() - stopped
        finally:
            peers.kill_all()
    memory = [row[0] for row in samples]
    report(listener, peers, memory, exit_s)
    assert listener.faults == []
    assert_books_balance(listener)
    if seconds == LONG_S:
        assert_everything_happened(listener.heartbeats[-1])
    assert max(row[1] for row in samples) <= threads + 1  # one while a page is served
    assert growth(memory) < MEMORY_GROWTH_MIB
    assert "Traceback" not in (tmp_path / "node.log").read_text()


def await_flow(peers: Peers, listener: Listener) -> None:
    """Start all peers, and wait until frames are unmixed."""
    peers.tend(kill=False)
    answered = listener.statuses["ok"]
    wait_for(lambda: listener.statuses["ok"] > answered + 9, FLOW_RETURNS_S, "flow")


def endure(seconds: float, peers: Peers, process: Process) -> list[tuple[float, int]]:
    """Let the peers live and die; returns the node's memory, MiB, and threads over time."""
    samples = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        peers.tend()
        samples.append((process.memory_mib(), process.threads()))
        time.sleep(SAMPLE_S)
    return samples


def growth(memory: list[float]) -> float:
    """From the end of the first third, which warms up, to the end; medians of a tenth each."""
    third, tenth = len(memory) // 3, max(1, len(memory) // 10)
    before, after = memory[third : third + tenth], memory[-tenth:]
    return statistics.median(after) - statistics.median(before)


def assert_books_balance(listener: Listener) -> None:
    last = listener.heartbeats[-1]
    assert last["pending"] == last["unsent"] == 0
    assert last["by_status"] == dict(listener.statuses)
    assert last["received"] == last["published"] == sum(listener.statuses.values())
    assert last["ends"] == listener.ends
    assert sum(last["rejected"].values()) > 0


def assert_everything_happened(last: dict) -> None:
    """The long test is worth nothing without its faults."""
    assert set(last["by_status"]) >= {"ok", "empty", "no_detections", "no_frame"}
    assert set(last["rejected"]) >= {"schema", "header", "payload", "topic", "key", "parts"}
    assert set(last["unanswered"]) >= {"late", "duplicate", "stale_epoch"}
    assert set(last["drops"]) >= {"timeout", "new_epoch"}
    assert last["ends"] > 0
    assert last["lost_upstream"] > 0


def report(listener: Listener, peers: Peers, memory: list[float], exit_s: float) -> None:
    """A short table of what happened."""
    last = listener.heartbeats[-1]
    streams = Counter(stream for stream, _ in listener.epochs)
    rows = {
        "heartbeats": len(listener.heartbeats),
        "messages": last["messages"],
        "epochs": dict(streams),
        "killed": dict(peers.deaths),
        "received, published": (last["received"], last["published"]),
        "by status": last["by_status"],
        "drops": last["drops"],
        "unanswered": last["unanswered"],
        "rejected": last["rejected"],
        "memory, MiB": f"{memory[0]:.0f} to {memory[-1]:.0f}, grew by {growth(memory):+.1f}",
        "exit, s": f"{exit_s:.2f}",
    }
    for name, value in rows.items():
        print(f"{name:<20} {value}")

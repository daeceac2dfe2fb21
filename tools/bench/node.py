"""Speed of the whole node as a process of its own: throughput and latency, beside a plain loop.

The peer, `dscsnet.Unmixer`, does the same work on the same frames (plan, cut, infer, read out)
without sockets, messages, threads or accounting: the difference is what those cost.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from dscsnet.engines.errors import DscsnetError
from dscsnet.engines.imaging import render
from dscsnet.pipeline.config import (
    Batching,
    EngineSettings,
    Http,
    Inputs,
    Join,
    NodeConfig,
    Output,
    Overload,
)
from dscsnet.pipeline.messages import Detections, Frame, Message, Targets, new_epoch
from dscsnet.pipeline.recording.settings import Recording
from dscsnet.pipeline.sockets import Channel, Receiver, Sender
from dscsnet.pipeline.unmix import Unmixer
from dscsnet.tools.bench.engine import BENCH_PSF_SIGMA
from dscsnet.tools.host.processes import Programs, free_ports

SHAPE = (512, 640)
DISTINCT_FRAMES = 8
START_S = 180.0
ANSWER_S = 30.0
PERCENTILES = (50, 90, 99, 100)
#: Threads of the node; then those of ZeroMQ, and the runtime's and all others.
PARTS = ("intake", "worker", "outlet")
NETWORK, OTHER = "network", "other"
MOST_STREAMS = 10_000


@dataclass(frozen=True)
class NodeSpeed:
    """Figures for one number of candidates a frame.

    Attributes:
        frames_per_s: lossless, as fast as it goes.
        loop_frames_per_s: the plain loop.
        latency_ms: p50, p90, p99 and the maximum from sending the detections to the answer in
            hand, at `rate_hz`, the frame having been sent just before.
        overhead_ms: median time in the node outside the join's wait and the engine's run.
        cpu_us: processor time of a frame at that throughput, by part of the node.
    """

    candidates: int
    frames_per_s: float
    loop_frames_per_s: float
    rate_hz: float
    latency_ms: tuple[float, ...]
    overhead_ms: float
    cpu_us: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Load:
    """Frames and candidates that are sent again and again."""

    frames: list[np.ndarray]
    x: list[float]
    y: list[float]

    def messages(self, stream: str, epoch: bytes, frame_id: int) -> tuple[Frame, Detections]:
        """The two parts of one frame."""
        now = time.time_ns()
        pixels = self.frames[frame_id % len(self.frames)]
        return (
            Frame(stream, epoch, frame_id, now, pixels),
            Detections(stream, epoch, frame_id, now, self.x, self.y),
        )


def make_load(candidates: int, seed: int = 0, shape: tuple[int, int] = SHAPE) -> Load:
    """16-bit frames; every candidate is a pair of targets, none near another.

    Args:
        shape: height and width, px; one candidate needs 14 x 14 px.

    Raises:
        ValueError: the frame has no room for so many.
    """
    generator = np.random.default_rng(seed)
    step = 14
    places = [
        (x, y) for y in range(12, shape[0] - 12, step) for x in range(12, shape[1] - 12, step)
    ]
    chosen = generator.choice(len(places), candidates, replace=False)
    x, y = np.array(places, float)[chosen].T + generator.uniform(-0.4, 0.4, (2, candidates))
    targets_x, targets_y = (np.concatenate([v - 0.4, v + 0.4]) for v in (x, y))
    image = render(targets_x, targets_y, np.full(2 * candidates, 2000.0), shape, BENCH_PSF_SIGMA)
    frames = [
        np.round(image + generator.normal(8000, 8, shape)).astype(np.uint16)
        for _ in range(DISTINCT_FRAMES)
    ]
    return Load(frames, x.tolist(), y.tolist())


def bench_node(
    model: str,
    candidates: tuple[int, ...],
    *,
    frames: int,
    threads: int,
    workers: int = 0,
    streams: int = 1,
) -> Iterator[NodeSpeed]:
    """One result for each number of candidates.

    Args:
        workers: `batch.workers`.
        streams: in which frames are sent in turn for the throughput; the latency is that of one.
    """
    for number in candidates:
        load = make_load(number)
        loop = _plain_loop(model, load, frames, threads)
        with running_node(model, "lossless", threads, workers=workers) as chain:
            fast = chain.throughput(load, frames, streams)
            cpu_us = chain.cpu_us
        rate = min(50.0, 0.3 * fast)
        with running_node(model, "live", threads, workers=workers) as chain:
            chain.paced(load, 20, rate)
            latency, overhead = chain.paced(load, frames, rate)
        spread = tuple(float(v) for v in np.percentile(latency, PERCENTILES))
        yield NodeSpeed(number, fast, loop, rate, spread, overhead, cpu_us)


class Chain:
    """A running node with this process as its publishers and listener."""

    def __init__(
        self,
        frames: Sender,
        detections: Sender,
        targets: Receiver,
        cpu_seconds: Callable[[], float],
        thread_seconds: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self._frames, self._detections, self._targets = frames, detections, targets
        self.cpu_seconds, self._thread_seconds = cpu_seconds, thread_seconds
        self.cpu_us: dict[str, float] = {}

    def throughput(self, load: Load, frames: int, streams: int = 1) -> float:
        """Frames a second, sent as fast as the node takes them; a tenth before is not timed.

        Afterwards `cpu_us` holds the node's processor time of a frame, by its parts.
        """
        frames_per_s, self.cpu_us = timed_answers(
            lambda number: self._send_all(load, number, streams),
            *(self._answer, self._thread_seconds, frames),
        )
        return frames_per_s

    def paced(self, load: Load, frames: int, rate_hz: float) -> tuple[np.ndarray, float]:
        """Latency of each frame, ms, and the median overhead, ms."""
        epoch, latency, overhead = new_epoch(), [], []
        started = time.perf_counter()
        for frame_id in range(frames):
            frame, detections = load.messages("bench", epoch, frame_id)
            time.sleep(max(0.0, started + frame_id / rate_hz - time.perf_counter()))
            self._frames.send(frame)
            sent = time.perf_counter()
            self._detections.send(detections)
            timing = self._answer().timing
            latency.append((time.perf_counter() - sent) * 1e3)
            overhead.append((timing.total - timing.join - timing.infer) / 1e6)
        return np.array(latency), float(np.median(overhead))

    def _send_all(self, load: Load, frames: int, streams: int) -> None:
        epoch = new_epoch()
        for number in range(frames):
            frame_id, stream = divmod(number, streams)
            name = f"bench{stream}" if stream else "bench"
            frame, detections = load.messages(name, epoch, frame_id)
            self._frames.send(frame)
            self._detections.send(detections)

    def _answer(self) -> Targets:
        message: Message | None = self._targets.receive(int(ANSWER_S * 1000))
        if message is None:
            raise DscsnetError(f"the node gave no answer within {ANSWER_S:g} s")
        if not isinstance(message, Targets) or message.status not in ("ok", "empty"):
            raise DscsnetError(f"unexpected answer: {getattr(message, 'reason', message)}")
        return message


def timed_answers(
    send: Callable[[int], object],
    answer: Callable[[], object],
    thread_seconds: Callable[[], Mapping[str, float]],
    frames: int,
) -> tuple[float, dict[str, float]]:
    """Answers a second while all is sent as fast as it is taken; a tenth before is not timed.

    Args:
        send: sends so many frames, in a thread of its own.
        answer: waits for one answer.
        thread_seconds: of the program that answers.

    Returns:
        Frames a second, and its processor time of a frame as `cpu_by_part` has it.
    """
    warm = max(1, frames // 10)
    sender = threading.Thread(target=send, args=(frames + warm,))
    sender.start()
    for _ in range(warm):
        answer()
    before, started = thread_seconds(), time.perf_counter()
    for _ in range(frames):
        answer()
    elapsed, after = time.perf_counter() - started, thread_seconds()
    sender.join()
    return frames / elapsed, cpu_by_part(before, after, frames)


def cpu_by_part(
    before: Mapping[str, float], after: Mapping[str, float], frames: int
) -> dict[str, float]:
    """Processor time of a frame, microseconds, by part of the node.

    Args:
        before, after: seconds by the names of threads.
    """
    parts = dict.fromkeys((*PARTS, NETWORK, OTHER), 0.0)
    for thread, seconds in after.items():
        part = thread if thread in PARTS else NETWORK if thread.startswith("ZMQbg") else OTHER
        parts[part] += (seconds - before.get(thread, 0.0)) * 1e6 / frames
    return parts


@contextmanager
def running_node(
    model: str,
    mode: str,
    threads: int,
    *,
    workers: int = 0,
    record: Recording | None = None,
    protect: Callable[[Channel], Channel] = lambda plain: plain,
) -> Iterator[Chain]:
    """A node process on free ports, ready, with a recorder if one is given.

    Args:
        workers: `batch.workers`.
        protect: applied to every end of its channels.
    """
    endpoints = [f"tcp://127.0.0.1:{port}" for port in free_ports(3)]
    lossless = mode == "lossless"
    config = NodeConfig(
        inputs=Inputs(
            frames=protect(Channel(endpoints[0], bind=False, high_water_mark=16)),
            detections=protect(Channel(endpoints[1], bind=False, high_water_mark=64)),
        ),
        output=Output(targets=protect(Channel(endpoints[2], bind=True)), wait_s=60),
        join=Join(timeout_ms=10_000, max_streams=MOST_STREAMS),
        batch=Batching(workers=workers),
        overload=Overload(mode="lossless" if lossless else "live", max_age_ms=10_000),
        engine=EngineSettings(model=model, threads=threads, psf_sigma=BENCH_PSF_SIGMA),
        record=record or Recording(),
        http=Http(enabled=False),
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        Programs(Path(folder)) as programs,
        Sender(
            protect(Channel(endpoints[0], bind=True, high_water_mark=16)), lossless=lossless
        ) as frames,
        Sender(protect(Channel(endpoints[1], bind=True)), lossless=lossless) as detections,
        Receiver(protect(Channel(endpoints[2], bind=False)), kinds=("targets",)) as targets,
    ):
        file = Path(folder) / "node.yaml"
        file.write_bytes(msgspec.yaml.encode(config))
        programs.start("node", "dscsnet.pipeline", "node", "-c", str(file))
        if not (frames.wait_for_peers(1, START_S) and detections.wait_for_peers(1, START_S)):
            raise programs.failure("node", f"did not get ready within {START_S:g} s")
        yield Chain(
            *(frames, detections, targets),
            cpu_seconds=lambda: programs.cpu_seconds("node"),
            thread_seconds=lambda: programs.thread_seconds("node"),
        )
        programs.stop()


def _plain_loop(model: str, load: Load, frames: int, threads: int) -> float:
    """Frames a second of the same work in this process, frame after frame."""
    with Unmixer(BENCH_PSF_SIGMA, model, threads=threads) as unmixer:

        def run(number: int) -> None:
            for index in range(number):
                unmixer.frame(load.frames[index % len(load.frames)], load.x, load.y)

        run(5)
        started = time.perf_counter()
        run(frames)
        return frames / (time.perf_counter() - started)

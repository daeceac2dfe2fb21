"""What the recorder costs the node: two nodes, with and without, loaded in turn within one run."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from dscsnet.pipeline.recording.reader import RecordingReader, recording_files
from dscsnet.pipeline.recording.settings import Recording
from dscsnet.tools.bench.node import Chain, Load, make_load, running_node

#: A machine's speed drifts: pairs measured one right after the other are compared.
WARM_FRAMES = 20
Measured = TypeVar("Measured")


@dataclass(frozen=True)
class RecorderCost:
    """Figures for one number of candidates a frame; pairs are (off, on).

    Attributes:
        frames_per_s: lossless, as fast as it goes, medians over the rounds.
        throughput_cost: frames a second lost, %, median over the pairs.
        cpu_ms: processor time of the node a frame meanwhile, ms, medians over the rounds.
        cpu_cost: processor time gained, %, median over the pairs.
        rate_hz: of the frames whose latency was measured.
        median_ms, slow_ms: 50th and 99th percentile of the latency, medians over the rounds.
        latency_cost: median latency gained, %, median over the pairs.
        recorded: frames in the files, % of those sent.
    """

    candidates: int
    frames_per_s: tuple[float, float]
    throughput_cost: float
    cpu_ms: tuple[float, float]
    cpu_cost: float
    rate_hz: float
    median_ms: tuple[float, float]
    slow_ms: tuple[float, float]
    latency_cost: float
    recorded: float


def bench_recorder(
    model: str,
    candidates: tuple[int, ...],
    *,
    frames: int,
    threads: int,
    rounds: int,
    record: Recording,
) -> Iterator[RecorderCost]:
    """One result for each number of candidates; `record.file` is chosen here."""
    for number in candidates:
        load = make_load(number)
        with tempfile.TemporaryDirectory() as folder:
            fast_file, live_file = (
                msgspec.structs.replace(record, file=str(Path(folder) / f"{name}.mcap"))
                for name in ("fast", "live")
            )
            speed = _throughput(model, load, frames, threads, rounds, fast_file)
            fast, cpu = speed[:, :, 0], speed[:, :, 1]
            rate = min(50.0, 0.3 * float(np.median(fast[:, 0])))
            paced = _latency(model, load, frames, threads, rounds, rate, live_file)
            recorded = _recorded_frames(folder)
        sent = rounds * (2 * frames + max(1, frames // 10)) + WARM_FRAMES
        yield RecorderCost(
            candidates=number,
            frames_per_s=_pair(fast),
            throughput_cost=100 * float(np.median(1 - fast[:, 1] / fast[:, 0])),
            cpu_ms=_pair(cpu),
            cpu_cost=100 * float(np.median(cpu[:, 1] / cpu[:, 0] - 1)),
            rate_hz=rate,
            median_ms=_pair(paced[:, :, 0]),
            slow_ms=_pair(paced[:, :, 1]),
            latency_cost=100 * float(np.median(paced[:, 1, 0] / paced[:, 0, 0] - 1)),
            recorded=100 * recorded / sent,
        )


def _throughput(
    model: str, load: Load, frames: int, threads: int, rounds: int, record: Recording
) -> np.ndarray:
    """Frames a second, and processor time a frame, ms; (rounds, 2, 2): off, on."""

    def measure(chain: Chain) -> list[float]:
        before = chain.cpu_seconds()
        rate = chain.throughput(load, frames)
        all_frames = frames + max(1, frames // 10)
        return [rate, (chain.cpu_seconds() - before) * 1e3 / all_frames]

    with (
        running_node(model, "lossless", threads) as off,
        running_node(model, "lossless", threads, record=record) as on,
    ):
        return np.array([_in_turn(turn, off, on, measure) for turn in range(rounds)])


def _latency(
    model: str,
    load: Load,
    frames: int,
    threads: int,
    rounds: int,
    rate_hz: float,
    record: Recording,
) -> np.ndarray:
    """Percentiles 50 and 99 of the latency, ms, (rounds, 2, 2): off, on."""

    def measure(chain: Chain) -> list[float]:
        latency, _overhead = chain.paced(load, frames, rate_hz)
        return [float(value) for value in np.percentile(latency, (50, 99))]

    with (
        running_node(model, "live", threads) as off,
        running_node(model, "live", threads, record=record) as on,
    ):
        for chain in (off, on):
            chain.paced(load, WARM_FRAMES, rate_hz)
        return np.array([_in_turn(turn, off, on, measure) for turn in range(rounds)])


def _in_turn(
    turn: int, off: Chain, on: Chain, measure: Callable[[Chain], Measured]
) -> list[Measured]:
    """Measure both, the first one last in the next round; returns (off, on)."""
    if turn % 2:
        second = measure(on)
        return [measure(off), second]
    return [measure(off), measure(on)]


def _pair(values: np.ndarray) -> tuple[float, float]:
    off, on = np.median(values, axis=0)
    return float(off), float(on)


def _recorded_frames(folder: str) -> int:
    return len(RecordingReader(recording_files([folder])).times(("frame",)))

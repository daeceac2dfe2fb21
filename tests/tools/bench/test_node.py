"""The node's benchmark against a node that is played: what is sent, what is timed."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from dscsnet.engines.errors import DscsnetError
from dscsnet.engines.imaging import render
from dscsnet.pipeline.config import NodeConfig, load_config
from dscsnet.pipeline.join import Ticket
from dscsnet.pipeline.messages import (
    Detections,
    EngineInfo,
    Frame,
    FrameKey,
    Message,
    Targets,
    Timing,
)
from dscsnet.pipeline.recording.settings import Recording
from dscsnet.pipeline.sockets import Channel
from dscsnet.pipeline.worker import plain_answer
from dscsnet.tools.bench import node as bench_node
from dscsnet.tools.bench import recorder as bench_recorder
from dscsnet.tools.bench.node import BENCH_PSF_SIGMA, Chain, make_load

ENGINE = EngineInfo(runtime="none", model="none", sha256="", psf_sigma=0.5)
SHAPE = (64, 80)
MS = 1_000_000


class PlayedNode:
    """Clock, publishers' socket and answers; a frame takes it `busy_s`."""

    def __init__(self, busy_s: float) -> None:
        self.now, self.busy_s = 50.0, busy_s
        self.sent: list[tuple[Message, float]] = []
        self.slept: list[float] = []
        self.status: Any = "ok"
        self.answered = 0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def time_ns(self) -> int:
        return int(self.now * 1e9)

    def send(self, message: Message) -> None:
        self.sent.append((message, self.now))

    def receive(self, timeout_ms: int) -> Targets | None:
        assert timeout_ms == 30_000
        self.now += self.busy_s
        self.answered += 1
        ticket = Ticket(FrameKey("bench", bytes(16), self.answered), 0, 0)
        answer = plain_answer(ticket, self.status, "because", ENGINE)
        total = (20 + self.answered) * MS
        timing = Timing(join=1 * MS, queue=2 * MS, infer=4 * MS, readout=8 * MS, total=total)
        return structs.replace(answer, timing=timing)


def chain_of(node: Any) -> Chain:
    return Chain(node, node, node, lambda: 0.0)


@pytest.fixture(name="node")
def _node(monkeypatch: pytest.MonkeyPatch) -> PlayedNode:
    node = PlayedNode(0.01)
    monkeypatch.setattr(bench_node, "time", node)
    return node


def test_a_load_is_of_pairs_none_near_another() -> None:
    load = make_load(6, shape=SHAPE)
    x, y = np.array(load.x), np.array(load.y)
    gaps = np.hypot(x[:, None] - x, y[:, None] - y)
    assert gaps[~np.eye(6, dtype=bool)].min() > 14 - 0.8 * 2**0.5
    assert min(x.min(), y.min(), (80 - x).min(), (64 - y).min()) > 11
    assert len(load.frames) == 8
    image = np.mean(load.frames, axis=0) - 8000
    both = [np.concatenate([v - 0.4, v + 0.4]) for v in (x, y)]
    clean = render(*both, np.full(12, 2000.0), SHAPE, BENCH_PSF_SIGMA)
    assert (image - clean).std() == pytest.approx(8 / 8**0.5, rel=0.05)
    assert abs((image - clean).mean()) < 0.2
    with pytest.raises(ValueError, match="larger sample"):
        make_load(1000, shape=SHAPE)


def test_a_candidate_needs_14_pixels_each_way() -> None:
    # Of 64 x 80 px all but 12 along each side: 3 rows of 4.
    load = make_load(12, shape=SHAPE)
    places = {(round(x), round(y)) for x, y in zip(load.x, load.y, strict=True)}
    assert places == {(x, y) for x in (12, 26, 40, 54) for y in (12, 26, 40)}
    off = np.array([load.x, load.y]) - np.rint([load.x, load.y])
    assert 0.2 < np.abs(off).max() <= 0.4
    with pytest.raises(ValueError, match="larger sample"):
        make_load(13, shape=SHAPE)
    assert make_load(3, shape=SHAPE).x == make_load(3, 0, SHAPE).x != make_load(3, 1, SHAPE).x
    assert make_load(1).frames[0].shape == (512, 640)


def test_the_parts_of_a_frame_have_one_key_and_come_round_again(node: PlayedNode) -> None:
    load = make_load(2, shape=SHAPE)
    frame, detections = load.messages("s", bytes(16), 11)
    assert frame.key == detections.key == FrameKey("s", bytes(16), 11)
    assert frame.timestamp_ns == detections.timestamp_ns == int(50e9)
    assert frame.pixels is load.frames[3]
    assert (detections.x, detections.y) == (load.x, load.y)


@pytest.mark.parametrize(("frames", "warm"), [(30, 3), (5, 1)])
def test_throughput_leaves_out_the_first_tenth(node: PlayedNode, frames: int, warm: int) -> None:
    assert chain_of(node).throughput(make_load(1, shape=SHAPE), frames) == pytest.approx(100)
    assert node.answered == frames + warm
    kinds = [type(message) for message, _ in node.sent]
    assert kinds == [Frame, Detections] * (frames + warm)
    assert [m.key.frame_id for m, _ in node.sent[::2]] == list(range(frames + warm))
    assert len({message.key.epoch for message, _ in node.sent}) == 1


def test_frames_without_candidates_have_empty_answers(node: PlayedNode) -> None:
    node.status = "empty"
    load = make_load(0, shape=SHAPE)
    assert (load.x, load.y) == ([], [])
    assert chain_of(node).throughput(load, 5) == pytest.approx(100)


def test_latency_is_from_the_detections_to_the_answer_at_the_rate(node: PlayedNode) -> None:
    latency, overhead = chain_of(node).paced(make_load(1, shape=SHAPE), 5, 20.0)
    np.testing.assert_allclose(latency, 10)
    at = [moment - 50 for message, moment in node.sent if isinstance(message, Frame)]
    np.testing.assert_allclose(at, [0, 0.05, 0.1, 0.15, 0.2])
    # Of totals of 21 to 25 ms the middle one, less what was waited for and inferred.
    assert overhead == pytest.approx(23 - 1 - 4)


def test_a_node_that_is_late_is_not_waited_for(node: PlayedNode) -> None:
    node.busy_s = 0.2
    chain_of(node).paced(make_load(1, shape=SHAPE), 3, 20.0)
    assert node.slept == [0.0] * 3


def test_no_answer_and_a_bad_one_end_it(node: PlayedNode) -> None:
    load = make_load(1, shape=SHAPE)
    node.status = "error"
    with pytest.raises(DscsnetError, match="unexpected answer: because"):
        chain_of(node).paced(load, 1, 20.0)
    node.receive = lambda timeout_ms: None  # type: ignore[method-assign]
    with pytest.raises(DscsnetError, match="no answer within 30 s"):
        chain_of(node).paced(load, 1, 20.0)


class PlayedChain:
    """Figures of a node, and what was asked of it."""

    def __init__(self, asked: list[Any], mode: str, speed: float, record: bool) -> None:
        self.asked, self.speed, self.what = asked, speed, (mode, "on" if record else "off")
        self.cpu = 0.0

    def cpu_seconds(self) -> float:
        self.cpu += 0.3 if self.what[1] == "on" else 0.2
        return self.cpu

    def throughput(self, load: Any, frames: int, streams: int = 1) -> float:
        self.asked.append((*self.what, "throughput", frames, *([streams] if streams > 1 else [])))
        self.cpu_us = {"intake": 10.0 * streams}
        return self.speed * (0.8 if self.what[1] == "on" else 1)

    def paced(self, load: Any, frames: int, rate: float) -> tuple[np.ndarray, float]:
        self.asked.append((*self.what, frames, rate))
        slower = 1 if self.what[1] == "on" else 0
        return np.arange(101.0) + slower, 0.5


@pytest.fixture(name="played")
def _played(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    played = SimpleNamespace(asked=[], speed=100.0, workers=0)

    @contextlib.contextmanager
    def running(
        model: str, mode: str, threads: int, record: Recording | None = None, workers: int = 0
    ) -> Iterator[PlayedChain]:
        assert (model, threads, workers) == ("m", 3, played.workers)
        yield PlayedChain(played.asked, mode, played.speed, record is not None)

    for module in (bench_node, bench_recorder):
        monkeypatch.setattr(module, "running_node", running)
    monkeypatch.setattr(bench_node, "_plain_loop", lambda *given: 222.0)
    monkeypatch.setattr(bench_recorder, "_recorded_frames", lambda folder: 57)
    return played


@pytest.mark.parametrize(("speed", "rate"), [(100.0, 30.0), (1000.0, 50.0)])
def test_latency_is_measured_at_no_more_than_a_third_of_the_throughput(
    played: SimpleNamespace, speed: float, rate: float
) -> None:
    played.speed = speed
    (found,) = bench_node.bench_node("m", (2,), frames=40, threads=3)
    assert (found.candidates, found.frames_per_s, found.loop_frames_per_s) == (2, speed, 222)
    assert found.rate_hz == pytest.approx(rate)
    assert found.latency_ms == (50, 90, 99, 100)
    assert found.overhead_ms == 0.5
    assert played.asked == [
        ("lossless", "off", "throughput", 40),
        ("live", "off", 20, pytest.approx(rate)),
        ("live", "off", 40, pytest.approx(rate)),
    ]


def test_workers_and_streams_are_those_that_were_asked_for(played: SimpleNamespace) -> None:
    played.workers = 2
    (found,) = bench_node.bench_node("m", (2,), frames=40, threads=3, workers=2, streams=5)
    assert played.asked[0] == ("lossless", "off", "throughput", 40, 5)
    assert found.cpu_us == {"intake": 50}


def test_processor_time_is_that_of_the_timed_frames_by_part() -> None:
    before = {"intake": 1.0, "worker": 2.0, "ZMQbg/IO/0": 0.5, "python": 3.0}
    after = {"intake": 1.5, "worker": 4.0, "outlet": 0.1, "ZMQbg/IO/0": 0.6, "python": 3.0}
    found = bench_node.cpu_by_part(before, {**after, "ZMQbg/Reaper": 0.1}, 1000)
    assert found == pytest.approx(
        {"intake": 500, "worker": 2000, "outlet": 100, "network": 200, "other": 0}
    )


def test_streams_take_turns_and_each_counts_its_own_frames(node: PlayedNode) -> None:
    chain_of(node).throughput(make_load(1, shape=SHAPE), 6, 3)
    keys = [message.key for message, _ in node.sent[::2]]
    assert [(key.stream, key.frame_id) for key in keys] == [
        *[("bench", 0), ("bench1", 0), ("bench2", 0)],
        *[("bench", 1), ("bench1", 1), ("bench2", 1), ("bench", 2)],
    ]


def test_the_recorder_is_measured_off_and_on_in_turn(played: SimpleNamespace) -> None:
    (found,) = bench_recorder.bench_recorder(
        "m", (2,), frames=10, threads=3, rounds=3, record=Recording()
    )
    order = [what[1] for what in played.asked]
    assert order == ["off", "on", "on", "off", "off", "on", "off", "on", *order[:6]]
    assert found.frames_per_s == (100, 80)
    assert found.throughput_cost == pytest.approx(20)
    # 0.2 and 0.3 s of processor time for 10 frames and the one before.
    assert found.cpu_ms == pytest.approx((200 / 11, 300 / 11))
    assert found.cpu_cost == pytest.approx(50)
    assert found.rate_hz == pytest.approx(30)
    assert (found.median_ms, found.slow_ms) == ((50, 51), (99, 100))
    assert found.latency_cost == pytest.approx(2)
    # Of 3 rounds of 10 and 1 and 10 frames, and 20 before.
    assert found.recorded == pytest.approx(100 * 57 / (3 * 21 + 20))


@pytest.mark.parametrize(("speed", "rate"), [(150.0, 45.0), (1000.0, 50.0)])
def test_frames_with_a_recorder_come_at_50_hz_at_most(
    played: SimpleNamespace, speed: float, rate: float
) -> None:
    played.speed = speed
    (found,) = bench_recorder.bench_recorder(
        "m", (2,), frames=10, threads=3, rounds=1, record=Recording()
    )
    assert found.rate_hz == pytest.approx(rate)


class PlayedEnd:
    """A socket whose peer comes or not."""

    def __init__(self, channel: Channel, **options: Any) -> None:
        self.channel, self.options = channel, options

    def __enter__(self) -> "PlayedEnd":
        return self

    def __exit__(self, *_: object) -> None: ...
    def wait_for_peers(self, number: int, seconds: float) -> bool:
        assert (number, seconds) == (1, 180.0)
        return self.channel.endpoint not in DEAF


DEAF: set[str] = set()


class PlayedPrograms:
    """Keeps the configuration of what is started."""

    started: NodeConfig
    stopped = False

    def __init__(self, folder: Path) -> None:
        type(self).stopped = False

    def __enter__(self) -> "PlayedPrograms":
        return self

    def __exit__(self, *_: object) -> None: ...
    def start(self, name: str, module: str, *arguments: str) -> None:
        assert (name, module, arguments[:2]) == ("node", "dscsnet.pipeline", ("node", "-c"))
        type(self).started = load_config(Path(arguments[2]))

    def failure(self, name: str, what: str) -> DscsnetError:
        return DscsnetError(f"the {name} {what}")

    def cpu_seconds(self, name: str) -> float:
        return 4.5

    def stop(self) -> None:
        type(self).stopped = True


@pytest.fixture(name="ends")
def _ends(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Endpoints of frames, detections and targets."""
    monkeypatch.setattr(bench_node, "Programs", PlayedPrograms)
    monkeypatch.setattr(bench_node, "free_ports", lambda number: [4001, 4002, 4003][:number])
    for name in ("Sender", "Receiver"):
        monkeypatch.setattr(bench_node, name, PlayedEnd)
    DEAF.clear()
    return [f"tcp://127.0.0.1:{port}" for port in (4001, 4002, 4003)]


@pytest.mark.parametrize("deaf", [0, 1])
def test_a_node_must_take_both_inputs(ends: list[str], deaf: int) -> None:
    DEAF.add(ends[deaf])
    with (
        pytest.raises(DscsnetError, match="the node did not get ready within 180 s"),
        bench_node.running_node("psf-fit", "live", 1),
    ):
        pass
    assert not PlayedPrograms.stopped


@pytest.mark.parametrize("mode", ["lossless", "live"])
def test_the_nodes_configuration_fits_the_benchmarks_ends(ends: list[str], mode: str) -> None:
    told: list[Channel] = []
    with bench_node.running_node(
        "psf-fit", mode, 3, protect=lambda channel: told.append(channel) or channel
    ) as chain:
        assert chain.cpu_seconds() == 4.5
    assert PlayedPrograms.stopped
    config = PlayedPrograms.started
    assert config.overload.mode == mode
    assert (config.engine.model, config.engine.threads) == ("psf-fit", 3)
    assert config.engine.psf_sigma == BENCH_PSF_SIGMA
    assert not config.http.enabled
    # No frame is given up for its age: the benchmark's answers all have to come.
    assert config.join.timeout_ms == config.overload.max_age_ms == 10_000
    assert config.output.wait_s == 60
    nodes = (config.inputs.frames, config.inputs.detections, config.output.targets)
    assert [each.endpoint for each in nodes] == ends
    assert [each.bind for each in nodes] == [False, False, True]
    assert [each.high_water_mark for each in nodes[:2]] == [16, 64]
    for end in ends:
        assert sorted(each.bind for each in told if each.endpoint == end) == [False, True]
    assert {each.high_water_mark for each in told if each.endpoint == ends[0]} == {16}
    assert config.record == Recording()
    assert chain._targets.options == {"kinds": ("targets",)}  # type: ignore[attr-defined]
    senders = (chain._frames, chain._detections)
    assert [each.options for each in senders] == [{"lossless": mode == "lossless"}] * 2  # type: ignore[attr-defined]


def test_a_recorder_that_is_given_records(ends: list[str]) -> None:
    record = Recording(file="a.mcap", compression="lz4")
    with bench_node.running_node("psf-fit", "live", 1, record=record):
        pass
    assert PlayedPrograms.started.record == record


def test_the_plain_loop_does_the_same_frame_by_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    clock = SimpleNamespace(perf_counter=lambda: float(len(seen)))

    class Unmixer:
        def __init__(self, *given: Any, **more: Any) -> None:
            assert (given, more) == ((BENCH_PSF_SIGMA, "m"), {"threads": 3})

        def __enter__(self) -> "Unmixer":
            return self

        def __exit__(self, *_: object) -> None: ...
        def frame(self, pixels: Any, x: Any, y: Any) -> None:
            assert (x, y) == (load.x, load.y)
            seen.append(next(k for k, each in enumerate(load.frames) if each is pixels))

    load = make_load(1, shape=SHAPE)
    monkeypatch.setattr(bench_node, "Unmixer", Unmixer)
    monkeypatch.setattr(bench_node, "time", clock)
    # The clock goes on by a second with every frame; the first five are not timed.
    assert bench_node._plain_loop("m", load, 10, 3) == 1.0
    assert seen == [0, 1, 2, 3, 4, *range(8), 0, 1]

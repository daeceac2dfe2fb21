import json
import queue
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq

from dscsnet.detector_stub.config import FaultSettings, SimulatorConfig
from dscsnet.detector_stub.scene import Scene
from dscsnet.detector_stub.scene_config import CloudSettings, ClusterSettings, SceneConfig
from dscsnet.detector_stub.simulator import MAX_LAG_S, _Schedule, run_simulator
from dscsnet.pipeline.errors import ChannelError, ConfigError
from dscsnet.pipeline.messages import Detections, End, Frame, Message
from dscsnet.pipeline.sockets import Channel, Receiver

WAIT_MS = 10_000
ANY_PORT = Channel("tcp://127.0.0.1:*", bind=True)
SCENE = SceneConfig(
    width=64, height=48, clouds=CloudSettings(texture_size=64), clusters=ClusterSettings(count=2)
)
CONFIG = SimulatorConfig(
    frames=ANY_PORT, detections=ANY_PORT, mode="lossless", rate_hz=None, frame_count=6, scene=SCENE
)


class Bench:
    """A running simulator and its two subscribers."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        self.result: Future[Counter[str]]

    def start(self, **changes: object) -> None:
        endpoints: queue.Queue[tuple[str, str | None]] = queue.Queue()
        config = msgspec.structs.replace(CONFIG, **changes)
        self.result = self._pool.submit(
            run_simulator,
            config,
            self.stop,
            ready=lambda *given: endpoints.put(given),
        )
        frames, detections = endpoints.get(timeout=60)
        # detections first: the frames start as soon as theirs is there
        self.detections = self._subscribe(detections, "detections")
        self.frames = self._subscribe(frames, "frame")

    def _subscribe(self, endpoint: str | None, kind: str) -> Receiver:
        assert endpoint is not None
        channel = Channel(endpoint, bind=False, high_water_mark=1000)
        return Receiver(channel, kinds=(kind, "end"))

    def close(self) -> None:
        self.stop.set()
        self._pool.shutdown()
        self.frames.close()
        self.detections.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def take_all(receiver: Receiver) -> list[Message]:
    """Everything up to and with the end."""
    taken: list[Message] = []
    while not taken or not isinstance(taken[-1], End):
        message = receiver.receive(WAIT_MS)
        assert message is not None
        taken.append(message)
    return taken


def test_frames_truth_and_detections_belong_together(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    bench.start(first_frame=3, truth=str(path))
    *frames, frames_end = take_all(bench.frames)
    *detections, detections_end = take_all(bench.detections)
    counts = bench.result.result(10)
    assert (counts["frames"], counts["detections"], counts["unsent"]) == (6, 6, 0)

    scene = Scene(SCENE)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(frames) == len(detections) == len(lines) == 6
    for number, (frame, found, line) in enumerate(zip(frames, detections, lines, strict=True), 3):
        truth = scene.truth(number)
        assert isinstance(frame, Frame)
        assert isinstance(found, Detections)
        np.testing.assert_array_equal(frame.pixels, scene.frame(number).pixels)
        assert frame.saturation == 2**14 - 1
        assert frame.key == found.key
        assert frame.frame_id == number
        assert frame.timestamp_ns == found.timestamp_ns == line["timestamp_ns"]
        assert line["frame_id"] == number
        assert line["epoch"] == frame.epoch.hex()
        assert line["noise_sigma"] == scene.noise_sigma
        targets = np.array([line["targets"][name] for name in ("cluster", "x", "y", "intensity")])
        np.testing.assert_array_equal(targets, [truth.cluster, truth.x, truth.y, truth.intensity])
        clusters = truth.clusters()
        assert found.x == line["clusters"]["x"] == clusters.x.tolist()
        assert found.y == line["clusters"]["y"] == clusters.y.tolist()
        assert line["clusters"]["count"] == clusters.count.tolist()
    assert frames_end == detections_end
    assert frames_end.key == frames[-1].key


def test_a_new_start_is_a_new_epoch_with_the_same_pixels(bench: Bench) -> None:
    runs = []
    for _ in range(2):
        bench.start(frame_count=1)
        runs.append(take_all(bench.frames)[0])
        take_all(bench.detections)
        bench.result.result(10)
        bench.frames.close()
        bench.detections.close()
    first, second = runs
    assert isinstance(first, Frame)
    assert isinstance(second, Frame)
    assert first.epoch != second.epoch
    assert first.pixels.tobytes() == second.pixels.tobytes()


def test_delayed_detections_do_not_hold_up_the_frames(bench: Bench) -> None:
    bench.start(faults=FaultSettings(delay_ms=1000.0), frame_count=5)
    assert len(take_all(bench.frames)) == 6
    assert bench.detections.receive(0) is None
    delayed = take_all(bench.detections)
    assert [message.key.frame_id for message in delayed] == [0, 1, 2, 3, 4, 4]


def test_faults_are_those_of_the_configuration(bench: Bench) -> None:
    bench.start(faults=FaultSettings(miss_probability=1.0, false_alarms_per_frame=3.0))
    take_all(bench.frames)
    *detections, _ = take_all(bench.detections)
    counts = [len(d.x) for d in detections if isinstance(d, Detections)]
    assert len(counts) == 6
    assert len(set(counts)) > 1


def test_frames_keep_their_rate(bench: Bench) -> None:
    bench.start(rate_hz=50.0, frame_count=20, mode="live")
    *frames, _ = take_all(bench.frames)
    stamps = [frame.timestamp_ns for frame in frames if isinstance(frame, Frame)]
    assert len(stamps) == 20
    # 380 ms, less what the first was late by; unpaced it takes some 20 ms
    assert stamps[-1] - stamps[0] > 200_000_000


def test_stopped_it_says_where_the_stream_ends(bench: Bench) -> None:
    bench.start(frame_count=None, rate_hz=200.0, mode="live")
    for _ in range(3):
        assert isinstance(bench.frames.receive(WAIT_MS), Frame)
    bench.stop.set()
    *_, last, end = [None, *take_all(bench.frames)]
    counts = bench.result.result(10)
    assert isinstance(end, End)
    assert end.frame_id == counts["frames"] - 1
    assert last is None or last.key == end.key
    assert take_all(bench.detections)[-1] == end


def test_a_schedule_has_no_drift_and_gives_up_long_delays() -> None:
    schedule = _Schedule(0.02, 100.0)
    assert schedule.due(50) == 101.0
    assert schedule.catch_up(50, 101.3) == pytest.approx(0.3)
    assert schedule.due(51) == pytest.approx(101.02)  # made up for
    assert schedule.catch_up(51, 101.02 + 5) > MAX_LAG_S
    assert schedule.due(51) == pytest.approx(106.02)  # given up
    assert schedule.due(52) == pytest.approx(106.04)


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "none" / "truth.jsonl")
    with pytest.raises(ConfigError, match=r"truth: .*truth.jsonl cannot be written: "):
        run_simulator(msgspec.structs.replace(CONFIG, truth=missing), threading.Event())
    with zmq.Context() as context, context.socket(zmq.PUB) as holder:
        holder.bind("tcp://127.0.0.1:*")
        taken = Channel(holder.getsockopt_string(zmq.LAST_ENDPOINT), bind=True)
        with pytest.raises(ChannelError, match="in use"):
            run_simulator(msgspec.structs.replace(CONFIG, frames=taken), threading.Event())

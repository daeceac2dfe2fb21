import queue
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import zmq
from msgspec.structs import replace

from dscsnet.detector_stub import detector as module
from dscsnet.detector_stub.config import DetectorConfig
from dscsnet.detector_stub.detector import run_detector
from dscsnet.detector_stub.spots import Candidates
from dscsnet.engines.imaging import render
from dscsnet.pipeline.errors import ConfigError
from dscsnet.pipeline.messages import Detections, End, Frame, Message, new_epoch
from dscsnet.pipeline.sockets import Channel, Receiver, Sender

WAIT_MS = 10_000
ANY_PORT = "tcp://127.0.0.1:*"
EPOCH = new_epoch()


def frame(frame_id: int, x: float | None = 40.25, epoch: bytes = EPOCH) -> Frame:
    rng = np.random.default_rng(frame_id)
    image = 500 + 5 * rng.standard_normal((64, 80))
    if x is not None:
        image += render([x], [30.0], [900.0], image.shape, 0.6)
    return Frame("cam0", epoch, frame_id, 1000 + frame_id, np.rint(image).astype(np.uint16))


class Bench:
    """A frame publisher and a detections subscriber about a running detector."""

    def __init__(self, context: zmq.Context, transport: str = "tcp") -> None:
        tcp = transport == "tcp"
        # with contexts of their own, as in separate processes; inproc needs a common one
        self.context = None if tcp else context
        self.frames = Sender(
            Channel(ANY_PORT if tcp else "inproc://frames", bind=True),
            context=self.context,
        )
        self.detections = Receiver(
            Channel(ANY_PORT if tcp else "inproc://detections", bind=True, high_water_mark=1000),
            kinds=("detections", "end"),
            context=self.context,
        )
        self.stop = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        self.result: Future[Counter[str]]

    def start(self, **changes: object) -> None:
        config = DetectorConfig(
            frames=Channel(self.frames.endpoint, bind=False, high_water_mark=1000),
            detections=Channel(self.detections.endpoint, bind=False),
            **changes,
        )
        self.result = self._pool.submit(run_detector, config, self.stop, context=self.context)
        # libzmq takes new peers into a bound SUB, and subscribes to them, only while it is used
        while self.frames.wait_for_peers(1, 0.02) == 0:
            assert not self.result.done()
            self.detections.socket.get(zmq.EVENTS)

    def receive(self) -> Message:
        message = self.detections.receive(WAIT_MS)
        assert message is not None
        return message

    def close(self) -> None:
        self.stop.set()
        self._pool.shutdown()
        self.frames.close()
        self.detections.close()


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    with zmq.Context() as given:
        yield given


@pytest.fixture
def bench(context: zmq.Context) -> Iterator[Bench]:
    made = Bench(context)
    yield made
    made.close()


@pytest.mark.parametrize("mode", ["live", "lossless"])
def test_every_frame_is_answered_with_its_key_and_the_end_passed_on(
    bench: Bench, mode: str
) -> None:
    bench.start(mode=mode, exit_on_end=True)
    for frame_id in range(4):
        sent = frame(frame_id, 20.25 + 10 * frame_id if frame_id else None)
        bench.frames.send(sent)
        answer = bench.receive()
        assert isinstance(answer, Detections)
        assert answer.key == sent.key
        assert answer.timestamp_ns == sent.timestamp_ns
        if frame_id == 0:
            assert answer.x == []  # said, not left out
        else:
            assert answer.x == pytest.approx([20.25 + 10 * frame_id], abs=0.2)
            assert answer.y == pytest.approx([30.0], abs=0.2)
            assert answer.score is not None
            assert answer.score[0] > 6.5
            assert answer.width is not None
            assert 1 <= answer.width[0] < 11
    end = End("cam0", EPOCH, 3, 1003)
    bench.frames.send(end)
    assert bench.receive() == end
    counts = bench.result.result(10)
    assert (counts["frames"], counts["candidates"], counts["ended"]) == (4, 3, 1)


def test_it_goes_on_after_an_end_and_stops_when_told(bench: Bench) -> None:
    bench.start()
    bench.frames.send(frame(0))
    bench.receive()
    bench.frames.send(End("cam0", EPOCH, 0, 1000))
    assert isinstance(bench.receive(), End)
    again = frame(0, epoch=new_epoch())
    bench.frames.send(again)
    assert bench.receive().key == again.key
    bench.stop.set()
    assert bench.result.result(10)["frames"] == 2


def test_malformed_messages_are_counted_and_survived(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.start(exit_on_end=True)
    for _ in range(20):
        bench.frames.socket.send_multipart([b"frame/cam0", b"\x81\xa1", b"junk"])
    bench.frames.send(frame(0))
    assert isinstance(bench.receive(), Detections)
    bench.frames.send(End("cam0", EPOCH, 0, 1000))
    assert bench.result.result(10)["rejected"] == 20
    reports = [r for r in caplog.records if "message_rejected" in r.getMessage()]
    assert len(reports) == 1


def test_a_frame_that_does_not_fit_the_mask_is_rejected(bench: Bench, tmp_path: Path) -> None:
    mask = np.zeros((64, 80), np.uint8)
    mask[25:36, 35:46] = 255
    path = str(tmp_path / "mask.png")
    cv2.imwrite(path, mask)
    bench.start(bad_pixels=path, exit_on_end=True)
    bench.frames.send(Frame("cam0", EPOCH, 0, 0, np.zeros((5, 6), np.uint8)))
    bench.frames.send(frame(1))
    answer = bench.receive()
    assert answer.key == frame(1).key
    assert isinstance(answer, Detections)
    assert answer.x == []  # the target lies under the mask
    bench.frames.send(End("cam0", EPOCH, 1, 1000))
    assert bench.result.result(10)["rejected_mask"] == 1


def test_a_mask_that_is_none_is_a_configuration_error(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(b"no image")
    for given in (path, tmp_path / "missing.png"):
        config = DetectorConfig(bad_pixels=str(given))
        with pytest.raises(ConfigError, match=r"^bad_pixels: .*expected a one-channel image"):
            run_detector(config, threading.Event())


class SlowDetector:
    """Holds the first frame until released, so that the others pile up."""

    left_out = 0
    entered = threading.Event()
    release = threading.Event()

    def __init__(self, settings: object) -> None:
        self.entered.clear()
        self.release.clear()

    def detect(self, *args: object) -> Candidates:
        self.entered.set()
        assert self.release.wait(60)
        return Candidates.empty()


@pytest.mark.parametrize(("mode", "expected"), [("live", [0, 8, 9]), ("lossless", list(range(10)))])
def test_late_it_skips_to_the_newest_frames_only_in_live_mode(
    context: zmq.Context,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    expected: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "SpotDetector", SlowDetector)
    # in one process a message is in the receiver's queue when send() returns
    bench = Bench(context, "inproc")
    try:
        bench.start(mode=mode, exit_on_end=True, max_waiting=2)
        bench.frames.send(frame(0))
        assert SlowDetector.entered.wait(60)
        for frame_id in range(1, 10):
            bench.frames.send(frame(frame_id))
        bench.frames.send(End("cam0", EPOCH, 9, 1009))
        SlowDetector.release.set()
        answered = [bench.receive().key.frame_id for _ in expected]
        assert answered == expected
        assert isinstance(bench.receive(), End)
        assert bench.result.result(10)["skipped"] == 10 - len(expected)
        said = [text for text in caplog.messages if text.startswith("frames_skipped")]
        assert len(said) == (mode == "live")  # the others within the same period
        assert all(text.endswith("total=1 why=detector_too_slow") for text in said)
    finally:
        bench.close()


def test_with_several_streams_it_exits_at_the_end_of_the_last(bench: Bench) -> None:
    bench.start(exit_on_end=True)
    for stream in ("cam0", "cam1"):
        bench.frames.send(replace(frame(0), stream=stream))
        assert bench.receive().key.stream == stream
    bench.frames.send(End("cam0", EPOCH, 0, 1000))
    assert bench.receive().key.stream == "cam0"
    bench.frames.send(replace(frame(1), stream="cam1"))
    assert bench.receive().key.frame_id == 1
    bench.frames.send(End("cam1", EPOCH, 1, 1001))
    assert isinstance(bench.receive(), End)
    assert bench.result.result(10)["ended"] == 2


def test_flow_resumes_when_the_frame_publisher_restarts(bench: Bench) -> None:
    bench.start()
    bench.frames.send(frame(0))
    bench.receive()
    endpoint = bench.frames.endpoint
    bench.frames.close()
    bench.frames = Sender(Channel(endpoint, bind=True))
    assert bench.frames.wait_for_peers(1, 10) == 1
    restarted = frame(0, epoch=new_epoch())
    bench.frames.send(restarted)
    assert bench.receive().key == restarted.key


def test_ready_gives_the_endpoints_and_stop_ends_the_wait_for_subscribers() -> None:
    stop = threading.Event()
    endpoints: queue.Queue[tuple[str, str]] = queue.Queue()
    config = DetectorConfig(
        frames=Channel("tcp://127.0.0.1:*", bind=True),
        detections=Channel("tcp://127.0.0.1:*", bind=True),
        wait_timeout_s=1000.0,
    )
    stop.set()
    counts = run_detector(config, stop, ready=lambda *given: endpoints.put(given))
    assert counts["frames"] == 0
    assert all(endpoint.startswith("tcp://127.0.0.1:") for endpoint in endpoints.get_nowait())


def test_what_cannot_be_sent_is_counted_as_unsent_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bool] = []
    monkeypatch.setattr(module, "send", lambda *_: sent.pop(0))
    unused: Any = None
    loop = module._Loop(DetectorConfig(mode="live"), unused, unused, None, threading.Event())
    for number, outcome in enumerate((True, False, False, True)):
        sent.append(outcome)
        loop._answer(frame(number))
    sent.append(False)
    loop._answer(End("cam0", EPOCH, 3, 0))
    assert {name: loop.counts[name] for name in ("frames", "candidates", "unsent", "ended")} == {
        **{"frames": 2, "candidates": 2, "unsent": 3},
        "ended": 1,
    }

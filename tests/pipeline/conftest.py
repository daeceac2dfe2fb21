"""A whole node between senders and a receiver, for the tests of the node."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dscsnet.pipeline.config import Http, Inputs, NodeConfig, Output
from dscsnet.pipeline.messages import (
    Detections,
    End,
    EngineInfo,
    Frame,
    Message,
    Spots,
    Status,
    Targets,
    TargetTable,
    Timing,
    encode,
    new_epoch,
)
from dscsnet.pipeline.node import Node
from dscsnet.pipeline.recording.layout import ChannelName
from dscsnet.pipeline.recording.recorder import Recorder
from dscsnet.pipeline.recording.settings import Recording
from dscsnet.pipeline.sockets import Channel, Receiver, Sender

WAIT_MS = 60_000
LOCAL = "tcp://127.0.0.1:*"


class Harness:
    """A node between two senders and a receiver, on ports of its own.

    Args:
        file: what the node takes for its configuration file when it is to read it again.
        settings: sections of `NodeConfig`.
    """

    def __init__(self, stack: ExitStack, file: Path | None = None, **settings: Any) -> None:
        self.stack = stack
        self.epoch = new_epoch()
        self.frames = stack.enter_context(Sender(Channel(LOCAL, bind=True)))
        self.detections = stack.enter_context(Sender(Channel(LOCAL, bind=True)))
        config = NodeConfig(
            inputs=Inputs(
                frames=Channel(self.frames.endpoint, bind=False),
                detections=Channel(self.detections.endpoint, bind=False),
            ),
            output=Output(targets=Channel(LOCAL, bind=True), expected_subscribers=0),
            http=Http(port=0),
            **settings,
        )
        self.stop = threading.Event()
        self.node = Node(config, file)
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        stack.callback(self._finish)
        deadline = time.monotonic() + 60
        while not self.node.ready.wait(0.05):  # a node that could not start has ended
            assert self.thread.is_alive(), self.error
            assert time.monotonic() < deadline, "the node is not ready"
        self.targets = stack.enter_context(
            Receiver(
                Channel(self.node.targets_endpoint, bind=False), kinds=("targets", "end", "status")
            )
        )
        self.heartbeat()  # the subscription is in force
        assert self.frames.wait_for_peers(1, 60)
        assert self.detections.wait_for_peers(1, 60)

    def _run(self) -> None:
        try:
            self.node.run(self.stop)
        except BaseException as error:
            self.error = error

    def _finish(self) -> None:
        self.stop.set()
        self.thread.join(60)
        assert not self.thread.is_alive()

    def receive(self) -> Targets | End:
        """The next answer or end."""
        while True:
            message = self.targets.receive(WAIT_MS)
            assert message is not None, "no answer"
            if isinstance(message, Targets | End):
                return message

    def heartbeat(self) -> Status:
        """The next heartbeat."""
        while True:
            message = self.targets.receive(WAIT_MS)
            assert message is not None, "no heartbeat"
            if isinstance(message, Status):
                return message

    def send_frame(self, frame_id: int, pixels: np.ndarray, stream: str = "cam") -> None:
        self.frames.send(Frame(stream, self.epoch, frame_id, 7, pixels))

    def send_detections(
        self, frame_id: int, x: list[float], y: list[float], stream: str = "cam"
    ) -> None:
        self.detections.send(Detections(stream, self.epoch, frame_id, 7, x=x, y=y))

    def get(self, page: str) -> tuple[int, str]:
        """Status and text of one of the node's pages."""
        url = f"http://127.0.0.1:{self.node.http_port}/{page}"
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@contextmanager
def _harness(**settings: Any) -> Iterator[Harness]:
    with ExitStack() as stack:
        yield Harness(stack, **settings)


@pytest.fixture(scope="session")
def harness() -> Callable[..., AbstractContextManager[Harness]]:
    """Starts a node; takes sections of `NodeConfig`."""
    return _harness


class Scene:
    """Messages of a small recording, whose values follow from stream, epoch and frame number."""

    def __init__(self, stream: str = "cam", epoch: bytes = b"e" * 16) -> None:
        self.stream, self.epoch = stream, epoch

    def frame(self, number: int) -> Frame:
        pixels = np.full((4, 6), number, np.uint16)
        return Frame(self.stream, self.epoch, number, 1000 + number, pixels)

    def detections(self, number: int) -> Detections:
        return Detections(self.stream, self.epoch, number, 1000 + number, [1.5], [2.0])

    def targets(self, number: int, x: float = 1.25) -> Targets:
        return Targets(
            stream=self.stream,
            epoch=self.epoch,
            frame_id=number,
            timestamp_ns=1000 + number,
            status="ok",
            spots=Spots([7], [1.5], [2.0], [1], [10.0], [1.0], [float("nan")], [0]),
            targets=TargetTable([0], [x], [2.0], [500.0], [0.9], [0.1], [0.1], [float("nan")]),
            engine=EngineInfo("runtime", "model", "0" * 64, 0.5),
            timing=Timing(1, 2, 3, 4, number),
        )

    def end(self, number: int) -> End:
        return End(self.stream, self.epoch, number, 1000 + number)

    def all(self, frames: int) -> list[tuple[ChannelName, Message]]:
        """Frames, detections, targets in turn, then the ends that a node sees."""
        messages: list[tuple[ChannelName, Message]] = []
        for number in range(frames):
            messages += [
                ("frames", self.frame(number)),
                ("detections", self.detections(number)),
                ("targets", self.targets(number)),
            ]
        return [*messages, ("frames", self.end(frames - 1)), ("targets", self.end(frames - 1))]


def _write(path: Path, messages: list[tuple[ChannelName, Message]], **settings: Any) -> Path:
    settings = {"segment_s": 0, "segment_mib": 0, "sync": False} | settings
    with Recorder(Recording(file=str(path), **settings), close_s=30) as recorder:
        for source, message in messages:
            recorder.offer(source, message, encode(message))
    return path


@pytest.fixture(scope="session")
def scene() -> type[Scene]:
    """Makes the messages of a recording."""
    return Scene


@pytest.fixture(scope="session")
def write_recording() -> Callable[..., Path]:
    """Writes messages to a recording; takes settings of `Recording`."""
    return _write

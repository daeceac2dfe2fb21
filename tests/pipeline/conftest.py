"""A whole node between senders and a receiver, for the tests of the node."""

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.channel import Channel
from pipeline.config import Http, Inputs, NodeConfig, Output
from pipeline.messages import Detections, End, Frame, Status, Targets, new_epoch
from pipeline.node import Node
from pipeline.sockets import Receiver, Sender

WAIT_MS = 10_000
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
        assert self.node.ready.wait(60), self.error
        self.targets = stack.enter_context(
            Receiver(
                Channel(self.node.targets_endpoint, bind=False), kinds=("targets", "end", "status")
            )
        )
        self.heartbeat()  # the subscription is in force
        assert self.frames.wait_for_peers(1, 5)
        assert self.detections.wait_for_peers(1, 5)

    def _run(self) -> None:
        try:
            self.node.run(self.stop)
        except BaseException as error:
            self.error = error

    def _finish(self) -> None:
        self.stop.set()
        self.thread.join(10)
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
            with urllib.request.urlopen(url, timeout=5) as response:
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

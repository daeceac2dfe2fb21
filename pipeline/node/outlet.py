"""The publishing thread: answers in order, ends of streams, and the heartbeat."""

import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from dscsnet.pipeline.join import Due, Joiner
from dscsnet.pipeline.messages import Message, Status, Targets
from dscsnet.pipeline.monitoring.stages import StageTimes
from dscsnet.pipeline.sockets import Sender

HEARTBEAT_S = 1.0
#: A lossless output that is full is tried again this often.
RETRY_MS = 100


class Outlet:
    """Publishes what the joiner has due.

    Args:
        sender: the targets channel.
        lossless: wait for a slow subscriber instead of letting it miss messages.
        name: the node's name in heartbeats.
        body: makes the content of a heartbeat.
    """

    def __init__(
        self,
        sender: Sender,
        joiner: Joiner,
        *,
        lossless: bool,
        name: str,
        body: Callable[[], dict[str, Any]],
    ) -> None:
        self._sender, self._joiner, self._lossless = sender, joiner, lossless
        self._name, self._body = name, body
        self._beats = 0
        self._next_beat = time.monotonic()
        self.stages = StageTimes()
        self.unsent = 0

    def run(self, give_up: threading.Event) -> None:
        """Publish until the input is closed and all is out, or `give_up` is set."""
        while not self._joiner.drained() and not give_up.is_set():
            wait_s = max(0.0, self._next_beat - time.monotonic())
            for due in self._joiner.due(min(wait_s, 0.2)):
                self._publish(due, give_up)
            if time.monotonic() >= self._next_beat:
                self.beat()
        self.beat()

    def beat(self) -> None:
        """Publish one heartbeat; it is never waited for."""
        self._next_beat = time.monotonic() + HEARTBEAT_S
        status = Status(
            node=self._name,
            frame_id=self._beats,
            timestamp_ns=time.time_ns(),
            body=self._body(),
        )
        self._beats += 1
        self._sender.send(status, timeout_ms=0)

    def _publish(self, due: Due, give_up: threading.Event) -> None:
        message: Message = due.message
        if isinstance(message, Targets) and due.ticket is not None:
            total = time.monotonic_ns() - due.ticket.received_ns
            timing = msgspec.structs.replace(message.timing, total=total)
            message = msgspec.structs.replace(message, timing=timing)
            for stage in ("join", "queue", "total"):
                self.stages.add(stage, getattr(timing, stage))
        sent = self._sender.send(message, timeout_ms=0)
        while not sent and self._lossless and not give_up.is_set():
            sent = self._sender.send(message, timeout_ms=RETRY_MS)
        if not sent:
            self.unsent += 1

"""The health pages where the machine runs out of what they need."""

import errno
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from dscsnet.pipeline.config import Http
from dscsnet.pipeline.monitoring.health import RETRY_S, HealthServer


class Exhausted:
    """A listening socket whose clients cannot be accepted until there are descriptors again."""

    def __init__(self, socket: Any) -> None:
        self._socket, self.refused, self.enough = socket, 0, False

    def accept(self) -> Any:
        if self.enough:
            return self._socket.accept()
        self.refused += 1
        raise OSError(errno.EMFILE, "Too many open files")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


def test_without_descriptors_it_waits_and_serves_who_waited() -> None:
    with HealthServer(Http(port=0), CollectorRegistry(), lambda: None, lambda: None) as server:
        socket = Exhausted(server._server.socket)
        server._server.socket = socket  # type: ignore[assignment]
        page, started = f"http://127.0.0.1:{server.port}/healthz", time.monotonic()
        with pytest.raises(TimeoutError):
            urllib.request.urlopen(page, timeout=0.7)
        assert 1 <= socket.refused <= (time.monotonic() - started) / RETRY_S + 2
        socket.enough = True
        with urllib.request.urlopen(page, timeout=60) as answer:
            assert answer.status == 200


def test_afterwards_nobody_is_served_and_a_stalled_client_is_left_after_5_s() -> None:
    with HealthServer(Http(port=0), CollectorRegistry(), lambda: None, lambda: None) as server:
        assert server._server.RequestHandlerClass.timeout == 5  # type: ignore[attr-defined]
        page = f"http://127.0.0.1:{server.port}/healthz"
    assert not server._thread.is_alive()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(page, timeout=60)

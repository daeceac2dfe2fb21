"""/healthz, /readyz and /metrics over HTTP."""

import logging
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from dscsnet.pipeline.config import Http
from dscsnet.pipeline.errors import ChannelError
from dscsnet.pipeline.security import is_local_host

log = logging.getLogger(__name__)

RETRY_S = 0.2

#: A reason why not, or None when all is well.
Probe = Callable[[], str | None]


class HealthServer:
    """Serves the three pages from a thread of its own, until closed.

    Args:
        alive: /healthz is 503 with its reason, if it gives one.
        ready: /readyz likewise.

    Raises:
        ChannelError: the port is in use.
    """

    def __init__(self, http: Http, registry: CollectorRegistry, alive: Probe, ready: Probe) -> None:
        pages: dict[str, Callable[[], tuple[int, str, bytes]]] = {
            "/healthz": lambda: _probe(alive),
            "/readyz": lambda: _probe(ready),
            "/metrics": lambda: (200, CONTENT_TYPE_LATEST, generate_latest(registry)),
        }
        try:
            self._server = _Server((http.host, http.port), _handler(pages))
        except OSError as error:
            raise ChannelError(
                f"http: cannot listen on {http.host}:{http.port}: {error.strerror}; "
                "choose another http.port, or http.enabled: false"
            ) from None
        if not is_local_host(http.host):
            log.warning("http: anyone who reaches %s:%d can read these pages", http.host, self.port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name="http", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A stalled client must not hold up the shutdown.
    block_on_close = False

    def get_request(self) -> Any:
        """Accept a client; where that fails, not at once again.

        Out of file descriptors it would be tried without end, for the client waits in the queue.
        """
        try:
            return super().get_request()
        except OSError:
            time.sleep(RETRY_S)
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no event worth a traceback."""


def _probe(probe: Probe) -> tuple[int, str, bytes]:
    reason = probe()
    return (503 if reason else 200), "text/plain; charset=utf-8", f"{reason or 'ok'}\n".encode()


def _handler(
    pages: dict[str, Callable[[], tuple[int, str, bytes]]],
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            status, kind, body = (
                page() if page else (404, "text/plain", b"there are /healthz, /readyz, /metrics\n")
            )
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Requests are not logged: probes come every few seconds for months."""

    return Handler

"""The recorder: a bounded queue, and a thread that writes it to files.

Whoever hands messages in is never kept waiting: what the disk cannot take is dropped and counted.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from dscsnet.pipeline.messages import Message
from dscsnet.pipeline.recording.files import SegmentFiles
from dscsnet.pipeline.recording.layout import Buffer, ChannelName, Item
from dscsnet.pipeline.recording.names import RecordingError
from dscsnet.pipeline.recording.settings import MEBIBYTE, Recording

log = logging.getLogger(__name__)

#: The queue is emptied this often: fewer turns of the thread leave more to the others.
POLL_S = 0.05
#: What was taken in is in the file after this time, at most, plus what the disk needs.
FLUSH_S = 0.5
#: After an error of the disk it is tried again this often.
RETRY_S = 5.0
#: A node that is stopped has so long left for the queue.
CLOSE_S = 1.0

Tap = Callable[[Message, Sequence[Any]], None]


class Recorder:
    """Records messages from any thread until closed; a context manager.

    Args:
        settings: `file` must be set.
        go_on: number the files on where some of this name are there, instead of refusing.
        close_s: `close` waits so long for the queue to be written.

    Raises:
        RecordingError: the file cannot be created, or is there already.
    """

    def __init__(
        self, settings: Recording, *, go_on: bool = False, close_s: float = CLOSE_S
    ) -> None:
        if settings.file is None:
            raise RecordingError("record.file is not set")
        self._settings, self._close_s = settings, close_s
        self._files = SegmentFiles(Path(settings.file), settings, go_on=go_on)
        self._max_bytes = int(settings.queue_mib * MEBIBYTE)
        self._queue: deque[Item] = deque()
        self._queued_bytes = 0
        self._last_time = 0
        self._dropped: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._retry_at = 0.0
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()
        log.info("recording to %s", self._files.path)

    def tap(self, source: ChannelName) -> Tap:
        """Return what a socket calls with each message and its parts, in the order of arrival."""
        return lambda message, parts: self.offer(source, message, parts)

    def offer(self, source: ChannelName, message: Message, parts: Sequence[Any]) -> None:
        """Take a message in, or drop it; never waits.

        Args:
            parts: bytes, memoryviews or `zmq.Frame`s, which must stay as they are.
        """
        # Buffers of a frame are kept as they are; small parts are copied, since ZeroMQ holds many
        # of them in one buffer.
        held: list[Buffer] = [bytes(memoryview(part)) for part in parts[:2]]
        held += [memoryview(part) for part in parts[2:]]
        size = sum(len(part) for part in held)
        with self._lock:
            if self._closing.is_set():
                self._dropped["closed"] += 1
            elif (
                len(self._queue) >= self._settings.queue_messages
                or self._queued_bytes + size > self._max_bytes
            ):
                self._dropped["queue"] += 1
            else:
                # Rising, whatever the clock does: the order of arrival is the order of times.
                self._last_time = max(time.time_ns(), self._last_time + 1)
                self._queue.append(Item(source, message, held, self._last_time, size))
                self._queued_bytes += size

    def snapshot(self) -> dict[str, Any]:
        """Counters of one moment, for heartbeats and metrics."""
        with self._lock:
            dropped = self._dropped + Counter(self._files.lost.copy())
            return {
                "file": self._files.path.name,
                "files": self._files.count,
                "written": dict(self._files.written),
                "bytes": self._files.bytes,
                "queued": len(self._queue),
                "queued_bytes": self._queued_bytes,
                "dropped": dict(dropped),
                "error": self._files.error,
            }

    def close(self) -> None:
        """Write what is queued, for a bounded time, finish the file and say what was recorded."""
        if self._closing.is_set():
            return
        with self._lock:
            self._closing.set()
        self._thread.join(self._close_s)
        state = self.snapshot()
        dropped = ", ".join(f"{name} {number}" for name, number in state["dropped"].items())
        log.log(
            logging.WARNING if dropped or self._thread.is_alive() else logging.INFO,
            "recorded %d messages, %.1f MiB in %d files, the last %s; dropped: %s%s",
            sum(state["written"].values()),
            state["bytes"] / MEBIBYTE,
            state["files"],
            self._files.path,
            dropped or "none",
            "; the disk did not take the rest in time" if self._thread.is_alive() else "",
        )

    def __enter__(self) -> Self:
        """Return itself; leaving the block closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    # The writing thread

    def _run(self) -> None:
        try:
            while not self._closing.wait(POLL_S):
                self._write_queue()
            self._write_queue()
        except BaseException:
            # The node goes on; its counters tell that nothing is written any more.
            log.exception("the recorder failed")
            self._files.error = "the recorder failed; see the log"
            with self._lock:
                self._closing.set()
        finally:
            self._files.close()

    def _write_queue(self) -> None:
        now = time.monotonic()
        if self._files.error and now >= self._retry_at:
            self._files.error = ""
        for _ in range(len(self._queue)):
            with self._lock:
                item = self._queue.popleft()
                self._queued_bytes -= item.size
            self._guarded(self._files.add, item, now)
        self._guarded(self._files.flush, now, FLUSH_S)

    def _guarded(self, act: Callable[..., None], *arguments: Any) -> None:
        """An error of the disk ends recording for a while, never the node."""
        try:
            act(*arguments)
        except OSError as error:
            text = error.strerror or str(error)
            log.error(
                "recording to %s stopped: %s; tried again in %g s", self._files.path, text, RETRY_S
            )
            self._files.error = text
            self._retry_at = time.monotonic() + RETRY_S

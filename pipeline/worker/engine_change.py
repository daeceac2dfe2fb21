"""Another engine takes the place of the running one, between two batches and without a pause.

The configuration file is read again; its engine is loaded and checked in a process of its own, then
loaded, checked and warmed up in a thread of this one, while the old one works on; the worker
changes over when it comes for its next batch. What fails on the way leaves the old engine where it
is.
"""

import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from dscsnet.engines.errors import DscsnetError
from dscsnet.pipeline.config import EngineSettings, NodeConfig, load_config
from dscsnet.pipeline.errors import ConfigError
from dscsnet.pipeline.messages import EngineInfo
from dscsnet.pipeline.worker.rehearsal import rehearse
from dscsnet.pipeline.worker.worker import Worker

log = logging.getLogger(__name__)

NO_ENGINE = EngineInfo(runtime="", model="", sha256="", psf_sigma=0.0)
#: Sections and keys that a running node can change.
LIVE_KEYS = ("engine", "log.level")
LONGEST_REASON = 500


class WorkerSlot:
    """Where the worker of the engine in use is found, and where another one can be put."""

    def __init__(self) -> None:
        self._exchanged = threading.Condition()
        self._current: Worker | None = None
        self._next: Worker | None = None
        self._closed = False

    @property
    def info(self) -> EngineInfo:
        """Of the engine in use; empty texts before the first."""
        return self._current.info if self._current else NO_ENGINE

    @property
    def psf_scale(self) -> float:
        """Fitted over told PSF width since this engine came; NaN until enough spots were seen."""
        return self._current.psf_drift.scale if self._current else math.nan

    @property
    def device_failure(self) -> str | None:
        """Why the engine in use can do nothing any more, if that is so."""
        return self._current.device_failure if self._current else None

    def install(self, worker: Worker) -> None:
        """Put in the first one."""
        self._current = worker

    def current(self) -> Worker:
        """The one to use for the next batch; for the worker only, who then leaves any other."""
        if self._next is not None:
            with self._exchanged:
                self._current, self._next = self._next or self._current, None
                self._exchanged.notify_all()
        assert self._current is not None, "the first one is installed before the worker starts"
        return self._current

    def exchange(self, worker: Worker) -> bool:
        """Wait until the worker has changed over, and close the old engine.

        Returns:
            False if the slot was closed before; then the new engine is closed.
        """
        with self._exchanged:
            old, self._next = self._current, worker
            self._exchanged.wait_for(lambda: self._next is None or self._closed)
            taken, self._next = self._next is None, None
        left = old if taken else worker
        if left is not None:
            left.close()
        return taken

    def close(self) -> None:
        """Close the engine in use; no other will be taken. More calls do nothing."""
        with self._exchanged:
            current, self._closed = None if self._closed else self._current, True
            self._exchanged.notify_all()
        if current is not None:
            current.close()


class ChangeState(msgspec.Struct, frozen=True):
    """What is told of changes; replaced as a whole, so that no reader sees half of one."""

    done: int = 0
    failed: int = 0
    loading: bool = False
    error: str = ""


class EngineChange:
    """Changes the engine on request, one change after another, in one thread: `run`.

    Args:
        file: the configuration file; None: the node was started without one.
        config: what was read from it at the start.
        load: makes a worker that is ready for its first frame.
        slot: where it goes.
    """

    def __init__(
        self,
        file: Path | None,
        config: NodeConfig,
        load: Callable[[EngineSettings], Worker],
        slot: WorkerSlot,
    ) -> None:
        self._file, self._config, self._load, self._slot = file, config, load, slot
        self._level = config.log.level
        # An event could not be set from a signal's handler: the handler may interrupt itself.
        self._requests: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._state = ChangeState()

    def request(self) -> None:
        """Ask for a change, also from a signal's handler.

        What is asked while an engine is being loaded comes after it, and once, however often.
        """
        self._requests.put(True)

    def close(self) -> None:
        """Let `run` end; what was asked before is not begun any more, nor told."""
        self._closed.set()
        self._requests.put(False)

    def snapshot(self) -> dict[str, Any]:
        """For heartbeats and metrics; `error` says why the last change failed, if it did."""
        return msgspec.structs.asdict(self._state)

    def run(self) -> None:
        """Serve requests until closed."""
        while self._requests.get():
            try:
                while self._requests.get_nowait():
                    pass
            except queue.Empty:
                self._change()
            else:
                return

    def _change(self) -> None:
        self._tell(loading=True)
        before, started = self._slot.info, time.monotonic()
        try:
            config = self._read()
            rehearse(config, self._closed)
            if not self._slot.exchange(self._load(config.engine)):
                self._tell(loading=False)
                return
        except DscsnetError as error:
            self._fail(str(error), before)
        except Exception as error:
            log.debug("loading the engine failed", exc_info=True)
            self._fail(f"internal error: {type(error).__name__}: {error}", before)
        else:
            self._tell(done=self._state.done + 1, loading=False, error="")
            log.info(
                "engine changed from %s to %s after %.1f s beside it",
                *(describe(before), describe(self._slot.info), time.monotonic() - started),
            )

    def _tell(self, **changes: Any) -> None:
        self._state = msgspec.structs.replace(self._state, **changes)

    def _fail(self, reason: str, engine: EngineInfo) -> None:
        if self._closed.is_set():
            self._tell(loading=False)
            return
        # It is sent in heartbeats: a file's name may hold what no text can carry.
        reason = reason[:LONGEST_REASON].encode(errors="replace").decode()
        self._tell(failed=self._state.failed + 1, loading=False, error=reason)
        log.error("engine not changed, %s works on: %s", describe(engine), reason)

    def _read(self) -> NodeConfig:
        if self._file is None:
            raise ConfigError("no configuration file to read: start the node with -c FILE")
        config = load_config(self._file)
        if fixed := [key for key in changed_keys(self._config, config) if not _is_live(key)]:
            log.warning(
                "%s: %s changed: only engine and log.level change without a restart of the node",
                *(self._file, ", ".join(fixed)),
            )
        if config.log.level != self._level:
            self._level = config.log.level
            logging.getLogger().setLevel(self._level.upper())
        return config


def describe(info: EngineInfo) -> str:
    """An engine in a few words."""
    digest = f"sha256 {info.sha256[:12]}, " if info.sha256 else ""
    return f"{info.model} ({digest}PSF sigma {info.psf_sigma:g} px, {info.runtime})"


def changed_keys(before: NodeConfig, after: NodeConfig) -> list[str]:
    """Paths of the keys whose values differ, such as `join.timeout_ms`."""
    old, new = _flat(msgspec.to_builtins(before)), _flat(msgspec.to_builtins(after))
    return [key for key in {**old, **new} if old.get(key) != new.get(key)]


def _flat(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{path}{key}.")
        else:
            flat[path + key] = value
    return flat


def _is_live(key: str) -> bool:
    return any(key == live or key.startswith(f"{live}.") for live in LIVE_KEYS)

"""Another engine takes the place of the running one, between two batches and without a pause.

The configuration file is read again; its engine is loaded and checked in a process of its own, then
loaded, checked and warmed up in a thread of this one, once for each worker, while the old one works
on; every batch that is taken after that is given to the new one. What fails on the way leaves the
old engine where it is.
"""

import logging
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
from dscsnet.pipeline.worker.pool import WorkerPool, WorkerSlot
from dscsnet.pipeline.worker.rehearsal import rehearse

log = logging.getLogger(__name__)

#: Sections and keys that a running node can change.
LIVE_KEYS = ("engine", "log.level")
LONGEST_REASON = 500


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
        load: makes workers that are ready for their first frame.
        slot: where they go.
    """

    def __init__(
        self,
        file: Path | None,
        config: NodeConfig,
        load: Callable[[EngineSettings], WorkerPool],
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

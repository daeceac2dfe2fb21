"""The node: it only wires. Its threads meet in the joiner:

intake (sockets) -> joiner -> workers (crop, batch, engine, readout) -> joiner -> outlet (socket)
"""

import contextlib
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.cold_start import announced
from dscsnet.engines.errors import DscsnetError
from dscsnet.pipeline.config import EngineSettings, NodeConfig
from dscsnet.pipeline.cropping.bad_pixels import load_bad_pixels
from dscsnet.pipeline.join import Joiner, Ledger, Ticket
from dscsnet.pipeline.messages import Targets, TargetsStatus
from dscsnet.pipeline.monitoring.health import HealthServer
from dscsnet.pipeline.monitoring.metrics import NodeMetrics
from dscsnet.pipeline.node.intake import Intake
from dscsnet.pipeline.node.outlet import Outlet
from dscsnet.pipeline.process.threads import name_thread
from dscsnet.pipeline.recording.recorder import Recorder
from dscsnet.pipeline.security import count_refusals
from dscsnet.pipeline.sockets import Sender
from dscsnet.pipeline.sockets.end import SocketEnd
from dscsnet.pipeline.sockets.peers import await_peers
from dscsnet.pipeline.worker import (
    Crew,
    EngineChange,
    WorkerPool,
    WorkerSlot,
    load_pool,
    plain_answer,
    worker_number,
)

log = logging.getLogger(__name__)

#: After a stop what was accepted is unmixed for so long; the rest is answered as dropped.
DRAIN_S = 2.0
#: Then publishing ends, and last the engine is no longer waited for: with what the sockets need to
#: close, the node is gone within 5 s.
PUBLISH_S, LEAVE_S = 3.0, 3.5
#: Python hands the interpreter from thread to thread this often; its default of 5 ms would be
#: most of a frame's latency.
SWITCH_INTERVAL_S = 0.0005
#: The main thread wakes up this often: Python would otherwise run the handler of a signal that
#: came just before the thread fell asleep only when the next signal comes.
SIGNAL_S = 0.2
#: A stage that has not come round for this long makes /healthz fail.
STALLED_S = 30.0


class Node:
    """One node, from configuration to exit.

    Args:
        file: where the configuration was read, for `reload`.

    Attributes:
        ready: set while frames are being read.
        targets_endpoint, http_port: where it can be reached, once `ready`.
    """

    def __init__(self, config: NodeConfig, file: Path | None = None) -> None:
        self.config = config
        self.ready = threading.Event()
        self.targets_endpoint = ""
        self.http_port: int | None = None
        self._unready_reason = "starting"
        self._failure: BaseException | None = None
        self._bad_pixels: NDArray[np.bool_] | None = None
        self._slot = WorkerSlot()
        self._change = EngineChange(file, config, self._load_workers, self._slot)
        self._joiner = Joiner(
            config.join, config.overload, config.batch, Ledger(), self._plain_answer
        )
        self._crew = Crew(self._joiner, self._slot)
        self._fallbacks: Counter[tuple[str, str]] = Counter()
        self._outlet: Outlet | None = None
        self._recorder: Recorder | None = None
        self._ends: dict[str, SocketEnd] = {}
        self._metrics = NodeMetrics(self.snapshot)

    def run(self, stop: threading.Event) -> None:
        """Start, serve until `stop` is set, drain.

        Raises:
            DscsnetError: the node could not start, or a part of it failed.
        """
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        with contextlib.ExitStack() as stack:
            self._start_health(stack)
            if self.config.record.file is not None:
                self._recorder = stack.enter_context(Recorder(self.config.record, go_on=True))
            lossless = self.config.overload.mode == "lossless"
            sender = stack.enter_context(
                Sender(self.config.output.targets, lossless=lossless, linger_ms=1000)
            )
            self.targets_endpoint = sender.endpoint
            self._ends["targets"] = sender
            self._start_engine(stack)
            self._outlet = Outlet(
                sender,
                self._joiner,
                lossless=lossless,
                name=self.config.name,
                body=self.snapshot,
            )
            self._outlet.stages.subscribe(self._metrics.observe)
            self._wait_for_subscribers(sender, stop)
            intake = Intake(self.config.inputs, self._joiner)
            stack.enter_context(contextlib.closing(intake))
            if self._recorder is not None:
                intake.frames.tap = self._recorder.tap("frames")
                intake.detections.tap = self._recorder.tap("detections")
                sender.tap = self._recorder.tap("targets")
            self._ends |= {"frames": intake.frames, "detections": intake.detections}
            self._serve(intake, self._outlet, stop)
        if self._failure is not None:
            raise DscsnetError(f"the node stopped: {self._failure}") from self._failure

    def reload(self) -> None:
        """Have the configuration's file read again and its engine changed to, while frames flow.

        Returns at once, and may be called by the handler of a signal.
        """
        self._change.request()

    def snapshot(self) -> dict[str, Any]:
        """Counters, queue depths and engine: the content of heartbeats and metrics."""
        info = self._slot.info
        return {
            **self._joiner.snapshot(),
            "unsent": self._outlet.unsent if self._outlet else 0,
            "refused_connections": count_refusals(self._ends),
            "ready": self.ready.is_set(),
            "engine": {
                "runtime": info.runtime,
                "model": info.model,
                "sha256": info.sha256,
                "psf_sigma": info.psf_sigma,
            },
            **({"recorder": self._recorder.snapshot()} if self._recorder else {}),
            "engine_changes": self._change.snapshot(),
            "fallbacks": [
                {"runtime": runtime, "cause": cause, "times": times}
                for (runtime, cause), times in self._fallbacks.items()
            ],
            "psf_scale": self._slot.psf_scale,
        }

    def _plain_answer(self, ticket: Ticket, status: TargetsStatus, reason: str) -> Targets:
        return plain_answer(ticket, status, reason, self._slot.info)

    # Start

    def _start_health(self, stack: contextlib.ExitStack) -> None:
        http = self.config.http
        if http.enabled:
            server = HealthServer(http, self._metrics.registry, self._dead, self._unready)
            stack.enter_context(server)
            self.http_port = server.port

    def _start_engine(self, stack: contextlib.ExitStack) -> None:
        self._unready_reason = "loading and checking the engine"
        self._bad_pixels = load_bad_pixels(self.config.crop.bad_pixels)
        self._slot.install(self._load_workers(self.config.engine))
        stack.callback(self._slot.close)
        log.info("engine: %s on %s", self._slot.info.model, self._slot.info.runtime)

    def _load_workers(self, settings: EngineSettings) -> WorkerPool:
        with announced(log.info):
            pool = load_pool(
                *(settings, self.config.batch.workers, self.config.crop),
                crops_per_run=self.config.batch.max_crops,
                bad_pixels=self._bad_pixels,
                observe=self._metrics.observe,
            )
        self._fallbacks.update((each.runtime, each.cause) for each in pool.fallbacks)
        return pool

    def _wait_for_subscribers(self, sender: Sender, stop: threading.Event) -> None:
        output, expected = self.config.output, self.config.output.expected_subscribers
        self._unready_reason = "waiting for subscribers"
        found = await_peers(sender, expected, output.wait_s, stop)
        if found < expected and not stop.is_set():
            log.warning(
                "%d of %d subscribers came within %g s; starting all the same",
                found,
                expected,
                output.wait_s,
            )

    # Service

    def _serve(self, intake: Intake, outlet: Outlet, stop: threading.Event) -> None:
        give_up = threading.Event()
        workers = worker_number(self.config.batch.workers)
        receiving, *draining = [
            # Daemons: an engine that hangs must not keep the process.
            threading.Thread(target=self._guard(part, stop), name=name, daemon=True)
            for name, part in (
                ("intake", lambda: intake.run(stop)),
                *[("worker", lambda: self._crew.run(give_up))] * workers,
                ("outlet", lambda: outlet.run(give_up)),
            )
        ]
        changing = threading.Thread(target=self._change.run, name="engine", daemon=True)
        for thread in (receiving, *draining, changing):
            thread.start()
        self.ready.set()
        log.info("ready: targets at %s", self.targets_endpoint)
        while not stop.wait(SIGNAL_S):
            pass
        self._unready_reason = "stopping"
        self.ready.clear()
        stopped = time.monotonic()
        self._change.close()
        receiving.join()
        self._joiner.close()
        _join_until(draining, stopped + DRAIN_S)
        self._joiner.abandon()
        _join_until(draining, stopped + PUBLISH_S)
        give_up.set()
        for thread in _join_until(draining, stopped + LEAVE_S):
            self._failure = self._failure or DscsnetError(f"the {thread.name} did not end in time")
        self._slot.close()
        _join_until([changing], stopped + LEAVE_S)
        self._report()

    def _guard(self, part: Callable[[], None], stop: threading.Event) -> Callable[[], None]:
        """A part that fails stops the node: half a node would lose messages silently."""

        def guarded() -> None:
            name_thread()
            try:
                part()
            except BaseException as error:
                log.exception("%s failed", threading.current_thread().name)
                self._failure = error
                stop.set()

        return guarded

    def _dead(self) -> str | None:
        if self._failure is not None:
            return f"failed: {self._failure}"
        # Only a new process gets a lost GPU back.
        if self._slot.device_failure:
            return self._slot.device_failure
        silent = self._crew.silent_s()
        if self.ready.is_set() and silent > STALLED_S:
            return f"the engine has not answered for {silent:.0f} s"
        return None

    def _unready(self) -> str | None:
        return self._slot.device_failure if self.ready.is_set() else self._unready_reason

    def _report(self) -> None:
        state = self._joiner.snapshot()
        log.info(
            "stopped: %s frame keys received, %s published, %s pending, %s lost upstream; %s",
            state["received"],
            state["published"],
            state["pending"],
            state["lost_upstream"],
            ", ".join(f"{status} {n}" for status, n in state["by_status"].items()) or "no answers",  # type: ignore[attr-defined]
        )


def _join_until(threads: list[threading.Thread], deadline: float) -> list[threading.Thread]:
    """Wait for threads; returns those that still run at the deadline (monotonic, s)."""
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [thread for thread in threads if thread.is_alive()]

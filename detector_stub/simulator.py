"""The simulator process: publishes a scene's frames, its truth and, if wished, its detections."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec
import zmq

from dscsnet.detector_stub.config import SimulatorConfig
from dscsnet.detector_stub.faults import DelayLine, degrade
from dscsnet.detector_stub.logs import waiting_line
from dscsnet.detector_stub.scene import Scene, Truth
from dscsnet.pipeline.errors import ConfigError
from dscsnet.pipeline.messages import Detections, End, Frame, FrameKey, new_epoch
from dscsnet.pipeline.process.logs import RateLimitedLog, line
from dscsnet.pipeline.sockets import Sender
from dscsnet.pipeline.sockets.peers import SLICE_MS, await_peers, send

logger = logging.getLogger(__name__)

MAX_LAG_S = 1.0  # a delay up to this is made up for; a longer one shifts the schedule
NAP_S = SLICE_MS / 1000

#: Called once the sockets are there, with the endpoints in use of frames and detections.
Ready = Callable[[str, str | None], None]


def run_simulator(
    config: SimulatorConfig,
    stop: threading.Event,
    *,
    ready: Ready | None = None,
    context: zmq.Context | None = None,
) -> Counter[str]:
    """Publish a scene under a new epoch until it is complete or told to stop; then send `end`.

    Args:
        config: all settings.
        stop: ends the run within a fraction of a second.
        ready: called once, when the sockets are there and before subscribers are awaited.
        context: to share one between sockets.

    Returns:
        Counts: `frames` and `detections` published, `late` frames, `unsent` messages.

    Raises:
        ChannelError: a socket cannot be bound or connected.
        ConfigError: the file of the truth cannot be written.
    """
    scene = Scene(config.scene)
    lossless = config.mode == "lossless"
    with ExitStack() as stack:
        truth = None if config.truth is None else stack.enter_context(_open(config.truth))
        frames = stack.enter_context(Sender(config.frames, lossless=lossless, context=context))
        detections = None
        if config.detections is not None:
            detections = stack.enter_context(
                Sender(config.detections, lossless=lossless, context=context)
            )
        if ready is not None:
            ready(frames.endpoint, detections.endpoint if detections else None)
        _await_subscribers(config, frames, detections, stop)
        run = _Run(config, scene, frames, detections, truth=truth, stop=stop)
        run.publish()
        if stop.is_set():
            for sender in filter(None, (frames, detections)):
                sender.hurry()
    logger.info(line("simulator_stopped", **run.counts))
    return run.counts


def _open(path: str) -> IO[bytes]:
    try:
        return Path(path).open("wb")
    except OSError as error:
        raise ConfigError(f"truth: {path} cannot be written: {error.strerror}") from None


def _await_subscribers(
    config: SimulatorConfig, frames: Sender, detections: Sender | None, stop: threading.Event
) -> None:
    """Wait for subscribers of the frames, and for one of the detections; log what came of it."""
    begin = time.monotonic()
    if config.wait_subscribers:
        logger.info(waiting_line(config.wait_subscribers, config.wait_timeout_s))
    peers = await_peers(frames, config.wait_subscribers, config.wait_timeout_s, stop)
    logger.info(line("simulator_ready", frames=frames.endpoint, subscribers=peers))
    if detections is not None:
        left = config.wait_timeout_s - (time.monotonic() - begin)
        peers = await_peers(detections, min(1, config.wait_subscribers), max(0.0, left), stop)
        logger.info(line("detections_ready", detections=detections.endpoint, subscribers=peers))


@dataclass
class _Schedule:
    """When frames are due, on the monotonic clock: errors do not add up."""

    period_s: float
    start_s: float

    def due(self, index: int) -> float:
        return self.start_s + index * self.period_s

    def catch_up(self, index: int, now: float) -> float:
        """Return how late frame `index` is; what exceeds `MAX_LAG_S` is given up."""
        lag = now - self.due(index)
        if lag > MAX_LAG_S:
            self.start_s += lag
        return lag


class _Run:
    """One run: renders, waits, publishes; delayed detections go out while it waits."""

    def __init__(
        self,
        config: SimulatorConfig,
        scene: Scene,
        frames: Sender,
        detections: Sender | None,
        *,
        truth: IO[bytes] | None,
        stop: threading.Event,
    ) -> None:
        self.counts: Counter[str] = Counter(frames=0, detections=0, late=0)
        self._config, self._scene, self._truth, self._stop = config, scene, truth, stop
        self._frames, self._detections = frames, detections
        self._lossless = config.mode == "lossless"
        self._epoch = new_epoch()
        self._delayed: DelayLine[Detections | End] = DelayLine()
        self._log = RateLimitedLog(logger, config.report_interval_s)

    def publish(self) -> None:
        """Publish all frames, what is still delayed, and the end."""
        first, count, rate = (
            self._config.first_frame,
            self._config.frame_count,
            self._config.rate_hz,
        )
        schedule = None if rate is None else _Schedule(1 / rate, time.monotonic())
        index, last = 0, None
        while not self._stop.is_set() and (count is None or index < count):
            rendered = self._scene.frame(first + index)
            if schedule is not None:
                self._keep(schedule, index)
            key = FrameKey(self._config.stream, self._epoch, first + index)
            now = time.time_ns()
            frame = Frame(*key, now, rendered.pixels, float(self._scene.full_scale))
            if not self._send_frame(frame):
                break
            self._follow_up(key, now, rendered.truth)
            last, index = frame, index + 1
        if last is not None:
            self._finish(last)

    def _keep(self, schedule: _Schedule, index: int) -> None:
        """Wait until a frame is due; report it where that time has passed."""
        lag = schedule.catch_up(index, time.monotonic())
        if lag > schedule.period_s:
            self.counts["late"] += 1
            self._log.event("frames_late", total=self.counts["late"], lag_ms=1000 * lag)
        self._deliver_until(schedule.due(index))

    def _deliver_until(self, deadline: float) -> None:
        """Send delayed detections as they fall due, until `deadline`."""
        while not self._stop.is_set():
            self._deliver_due()
            now, due = time.monotonic(), self._delayed.next_due
            if now >= deadline:
                return
            pause = min(deadline, deadline if due is None else due) - now
            # Short naps and not stop.wait(): a signal handler in this thread that sets the event
            # while the wait holds the event's lock would never return.
            time.sleep(min(max(pause, 0), NAP_S))

    def _deliver_due(self) -> None:
        for message in self._delayed.pop_due(time.monotonic()):
            self._send_detections(message)

    def _send_frame(self, frame: Frame) -> bool:
        """Send a frame; a blocked one must not hold up the detections that it waits for."""
        if not self._lossless:
            return self._frames.send(frame, timeout_ms=0) or self._count_unsent()
        while not self._frames.send(frame, timeout_ms=SLICE_MS if not self._delayed else 5):
            self._deliver_due()
            if self._stop.is_set():
                return False
        return True

    def _follow_up(self, key: FrameKey, timestamp_ns: int, truth: Truth) -> None:
        """Write the truth of a frame that was sent, and publish its detections or delay them."""
        self.counts["frames"] += 1
        if self._truth is not None:
            self._truth.write(truth_line(key, timestamp_ns, truth))
        if self._detections is not None:
            clusters, faults, scene = truth.clusters(), self._config.faults, self._config.scene
            shape = (scene.height, scene.width)
            found = degrade(
                clusters.x, clusters.y, shape, faults, seed=scene.seed, frame_id=truth.frame_id
            )
            message = Detections(*key, timestamp_ns, found.x.tolist(), found.y.tolist())
            self._delayed.push(message, time.monotonic() + faults.delay_ms / 1000)
            self._deliver_due()

    def _finish(self, last: Frame) -> None:
        """Send what is delayed, at once where told to stop, and the end on both channels."""
        end = End(*last.key, last.timestamp_ns)
        send(self._frames, end, self._lossless, self._stop)
        while self._delayed and not self._stop.is_set():
            self._deliver_until(self._delayed.next_due or 0)
        for message in self._delayed.pop_due(float("inf")):
            self._send_detections(message)
        if self._detections is not None:
            send(self._detections, end, self._lossless, self._stop)

    def _send_detections(self, message: Detections | End) -> None:
        assert self._detections is not None, "without that channel nothing is delayed"
        if send(self._detections, message, self._lossless, self._stop):
            self.counts["detections"] += 1
        else:
            self._count_unsent()

    def _count_unsent(self) -> bool:
        """Count a message that a live channel had no room for; return True: the run goes on."""
        self.counts["unsent"] += 1
        self._log.event("messages_unsent", total=self.counts["unsent"])
        return True


def truth_line(key: FrameKey, timestamp_ns: int, truth: Truth) -> bytes:
    """Encode the truth of a frame as one line of JSON.

    Returns:
        An object with the frame's key (`epoch` in hexadecimal), `timestamp_ns`, `noise_sigma`,
        `targets` (columns `cluster`, `x`, `y`, `intensity`) and `clusters` (columns `id`, `x`,
        `y`, `count`).
    """
    clusters = truth.clusters()
    record = {
        "stream": key.stream,
        "epoch": key.epoch.hex(),
        "frame_id": key.frame_id,
        "timestamp_ns": timestamp_ns,
        "noise_sigma": truth.noise_sigma,
        "targets": {
            "cluster": truth.cluster.tolist(),
            "x": truth.x.tolist(),
            "y": truth.y.tolist(),
            "intensity": truth.intensity.tolist(),
        },
        "clusters": {
            "id": clusters.id.tolist(),
            "x": clusters.x.tolist(),
            "y": clusters.y.tolist(),
            "count": clusters.count.tolist(),
        },
    }
    return msgspec.json.encode(record) + b"\n"

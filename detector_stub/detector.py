"""The detector process: frames in, detections out, one message a frame."""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable

import numpy as np
import zmq
from numpy.typing import NDArray

from dscsnet.detector_stub.config import DetectorConfig
from dscsnet.detector_stub.logs import waiting_line
from dscsnet.detector_stub.spots import FrameError, SpotDetector
from dscsnet.pipeline.cropping.bad_pixels import load_bad_pixels
from dscsnet.pipeline.errors import MessageError
from dscsnet.pipeline.messages import Detections, End, Frame
from dscsnet.pipeline.process.logs import RateLimitedLog, line
from dscsnet.pipeline.sockets import Receiver, Sender
from dscsnet.pipeline.sockets.peers import await_peers, send

logger = logging.getLogger(__name__)

POLL_MS = 50
MAX_DRAIN = 256  # messages taken in one go: a flood must not keep the newest frame waiting

#: Called once the sockets are there, with the endpoints in use of frames and detections.
Ready = Callable[[str, str], None]


def run_detector(
    config: DetectorConfig,
    stop: threading.Event,
    *,
    ready: Ready | None = None,
    context: zmq.Context | None = None,
) -> Counter[str]:
    """Detect spots in frames until told to stop.

    The frames are subscribed to once the detections have their subscribers, so that a frame
    publisher which waits for its own subscribers starts when the whole chain is there.

    Args:
        config: all settings.
        stop: ends the run within a fraction of a second.
        ready: called once, when both sockets are there.
        context: to share one between sockets.

    Returns:
        Counts: `frames` answered, `candidates`, `skipped`, `rejected`, `unsent`, `ended`.

    Raises:
        ConfigError: the bad pixel mask cannot be read.
        ChannelError: a socket cannot be bound or connected.
    """
    bad_pixels = load_bad_pixels(config.bad_pixels, "bad_pixels")
    lossless = config.mode == "lossless"
    with Sender(config.detections, lossless=lossless, context=context) as sender:
        if config.wait_subscribers:
            logger.info(waiting_line(config.wait_subscribers, config.wait_timeout_s))
        peers = await_peers(sender, config.wait_subscribers, config.wait_timeout_s, stop)
        with Receiver(
            config.frames, kinds=("frame", "end"), streams=config.streams, context=context
        ) as receiver:
            logger.info(
                line(
                    "detector_ready",
                    frames=receiver.endpoint,
                    detections=sender.endpoint,
                    subscribers=peers,
                    mode=config.mode,
                )
            )
            if ready is not None:
                ready(receiver.endpoint, sender.endpoint)
            loop = _Loop(config, receiver, sender, bad_pixels, stop)
            loop.run()
        if stop.is_set():
            sender.hurry()
    logger.info(line("detector_stopped", **loop.counts))
    return loop.counts


class _Loop:
    """Takes what has come, skips what is too old in live mode, answers the oldest kept."""

    def __init__(
        self,
        config: DetectorConfig,
        receiver: Receiver,
        sender: Sender,
        bad_pixels: NDArray[np.bool_] | None,
        stop: threading.Event,
    ) -> None:
        self.counts: Counter[str] = Counter(frames=0, candidates=0, skipped=0, rejected=0)
        self._config, self._bad_pixels, self._stop = config, bad_pixels, stop
        self._receiver, self._sender = receiver, sender
        self._lossless = config.mode == "lossless"
        self._spots = SpotDetector(config.spots)
        self._waiting: deque[Frame | End] = deque()
        self._open_streams: set[str] = set()
        self._log = RateLimitedLog(logger, config.report_interval_s)

    def run(self) -> None:
        """Work until told to stop, or until the end where the configuration says so."""
        while not self._stop.is_set():
            if self._lossless:
                self._take(POLL_MS)
            else:
                self._take_newest()
            if self._waiting and self._answer(self._waiting.popleft()):
                return

    def _take(self, timeout_ms: int) -> bool:
        """Queue the next message; return False where none came in time."""
        try:
            message = self._receiver.receive(timeout_ms)
        except MessageError as error:
            self._reject(error.reason, str(error))
            return True
        if isinstance(message, Frame | End):
            self._waiting.append(message)
        return message is not None

    def _take_newest(self) -> None:
        """Queue all that has come and skip the oldest frames beyond `max_waiting`."""
        timeout_ms = 0 if self._waiting else POLL_MS
        for _ in range(MAX_DRAIN):
            if not self._take(timeout_ms):
                break
            timeout_ms = 0
            self._skip_oldest()

    def _skip_oldest(self) -> None:
        frames = [item for item in self._waiting if isinstance(item, Frame)]
        if len(frames) <= self._config.max_waiting:
            return
        self._waiting.remove(frames[0])
        self.counts["skipped"] += 1
        self._log.event("frames_skipped", total=self.counts["skipped"], why="detector_too_slow")

    def _answer(self, message: Frame | End) -> bool:
        """Publish the detections of a frame, or pass on an end; return whether that is all."""
        if isinstance(message, Frame):
            self._open_streams.add(message.stream)
            self._detect(message)
            return False
        self.counts["ended"] += 1
        self._open_streams.discard(message.stream)
        self._publish(message)
        logger.info(line("stream_ended", stream=message.stream, frame_id=message.frame_id))
        return self._config.exit_on_end and not self._open_streams

    def _detect(self, frame: Frame) -> None:
        try:
            found = self._spots.detect(frame.pixels, self._bad_pixels, frame.saturation)
        except FrameError as error:
            self._reject("mask", str(error))
            return
        detections = Detections(
            *frame.key,
            frame.timestamp_ns,
            found.x.tolist(),
            found.y.tolist(),
            score=found.score.tolist(),
            width=found.width.tolist(),
            height=found.height.tolist(),
        )
        if self._spots.left_out:
            self.counts["left_out"] += self._spots.left_out
            self._log.event(
                "candidates_left_out",
                total=self.counts["left_out"],
                why=f"spots.max_candidates_{self._config.spots.max_candidates}",
            )
        if self._publish(detections):
            self.counts["frames"] += 1
            self.counts["candidates"] += len(found)

    def _publish(self, message: Detections | End) -> bool:
        sent = send(self._sender, message, self._lossless, self._stop)
        if not sent:
            self.counts["unsent"] += 1
            self._log.event("detections_unsent", total=self.counts["unsent"])
        return sent

    def _reject(self, reason: str, detail: str) -> None:
        self.counts["rejected"] += 1
        self.counts[f"rejected_{reason}"] += 1
        self._log.event("message_rejected", reason=reason, detail=detail)

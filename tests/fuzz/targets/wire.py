"""Messages: decoding, what listeners show of them, and what the node and the detector do."""

import functools
from typing import Any

import msgpack
import numpy as np

from dscsnet.detector_stub.config import SpotSettings
from dscsnet.detector_stub.spots import SpotDetector
from dscsnet.engines.opening import open_engine
from dscsnet.pipeline.cropping.cut import warm_up
from dscsnet.pipeline.errors import MessageError
from dscsnet.pipeline.join import Ticket
from dscsnet.pipeline.listen import json_line
from dscsnet.pipeline.listen.display import row, text_line
from dscsnet.pipeline.messages import Detections, Frame, Message, Targets
from dscsnet.pipeline.messages.bounds import Limits
from dscsnet.pipeline.messages.codec import REJECTIONS, decode, encode
from dscsnet.pipeline.unmix import Stages
from dscsnet.pipeline.worker import Worker, engine_info
from tests.fuzz.contract import ContractError, attempt, check_line

MODEL = "field-mlp"
#: Small frames: what a large one costs is its publisher's affair.
LIMITS = Limits(max_frame_bytes=2**16, max_candidates=500)


def parts_of(data: bytes) -> list[bytes]:
    """A msgpack list of byte strings as message parts; other bytes are a frame's map."""
    try:
        parts = msgpack.unpackb(data)
    except (ValueError, msgpack.exceptions.UnpackException):
        parts = None
    if isinstance(parts, list) and all(isinstance(part, bytes) for part in parts):
        return parts
    return [b"frame/a", data, bytes(8)]


def _decoded(parts: list[bytes], limits: Limits) -> Message | None:
    try:
        return decode(parts, limits)
    except MessageError as error:
        if error.reason not in REJECTIONS:
            raise ContractError(f"unknown reason {error.reason!r}") from error
        raise


def message(data: bytes) -> None:
    """Decode; what is valid is encoded to the same again, and can be shown."""
    parts = parts_of(data)
    decoded = attempt(lambda: _decoded(parts, Limits()))
    if decoded is None:
        return
    again = decode([bytes(part) for part in encode(decoded)])
    if repr(again) != repr(decoded):
        raise ContractError(f"{decoded!r} came back as {again!r}"[:1000])
    if not isinstance(decoded, Frame | Detections):
        for line in (json_line(decoded), text_line(row(decoded))):
            check_line(line[:500])


@functools.cache
def _worker() -> Worker:
    engine = open_engine(MODEL, threads=1)
    engine.check(batch_sizes=(1, 8))
    warm_up(engine.grid.crop_size)
    stages = Stages(engine, merge_radius=3.0, crops_per_frame=20, crops_per_run=16)
    return Worker(stages, engine_info(engine))


def unmix(data: bytes) -> None:
    """A frame and detections, msgpack lists of parts one after the other, through the worker."""
    parts = parts_of(data)
    pair = attempt(lambda: (_decoded(parts[:3], LIMITS), _decoded(parts[3:], LIMITS)))
    if pair is None or not (isinstance(pair[0], Frame) and isinstance(pair[1], Detections)):
        return
    frame, detections = pair
    ticket = Ticket(frame.key, 0, 0, frame=frame, detections=detections)
    answers: list[Targets] = []
    worker = _worker()
    attempt(lambda: worker.process([ticket], lambda _, answer: answers.append(answer)))
    (answer,) = answers
    if "internal error" in answer.reason:
        raise ContractError(answer.reason)
    encode(answer)


@functools.cache
def _spots() -> SpotDetector:
    return SpotDetector(SpotSettings())


def detector(data: bytes) -> None:
    """A frame through the spot detector; its candidates make a message."""
    frame = attempt(lambda: _decoded(parts_of(data), LIMITS))
    if not isinstance(frame, Frame):
        return
    pixels, saturation = frame.pixels, frame.saturation
    found = attempt(lambda: _spots().detect(pixels, None, saturation))
    if found is not None:
        columns: dict[str, Any] = {
            name: np.asarray(getattr(found, name)).tolist()
            for name in ("x", "y", "score", "width", "height")
        }
        Detections(*frame.key, frame.timestamp_ns, **columns)

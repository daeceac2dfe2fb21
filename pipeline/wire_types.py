"""The messages of wire format version 1 as types; each checks itself when it is built.

Pixel convention: x is the column, y the row; integers are pixel centres; (0, 0) is the centre of
the top-left pixel. Import these through `pipeline.messages`.
"""

import enum
import os
import re
from collections.abc import Mapping, Sequence
from math import inf, isnan
from typing import Any, ClassVar, Literal, NamedTuple, NoReturn

import msgspec
import numpy as np

from pipeline.errors import MessageError

SCHEMA_VERSION = 1
EPOCH_BYTES = 16
MAX_FRAME_ID = 2**64 - 1
MAX_TIMESTAMP_NS = 2**63 - 1
MAX_POSITION = 2.0**31  # pixels; any accepted position fits a 32-bit pixel index
MIN_ID, MAX_ID = -(2**63), 2**63 - 1  # of a candidate
MAX_COUNT = 2**31 - 1  # of targets in a spot; also bounds the flags
MAX_BODY_DEPTH = 6  # nested maps and lists in the body of a status

PIXEL_DTYPES = ("uint8", "uint16", "float32")
TargetsStatus = Literal["ok", "empty", "no_detections", "no_frame", "dropped", "error"]
STATUSES: tuple[str, ...] = ("ok", "empty", "no_detections", "no_frame", "dropped", "error")
Kind = Literal["frame", "detections", "end", "targets", "status"]

STREAM_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NUMBERS = frozenset({int, float})
_INTEGERS = frozenset({int})


class SpotFlag(enum.IntFlag):
    """Bits of `Spots.flags`: why a spot deserves doubt."""

    EDGE = 1
    SATURATED = 2
    BAD_PIXELS = 4
    NOT_CONVERGED = 8
    MERGED = 16
    TRUNCATED = 32


class FrameKey(NamedTuple):
    """Names one frame: the stream, the start of its publisher, the count within that start."""

    stream: str
    epoch: bytes
    frame_id: int


def new_epoch() -> bytes:
    """Return 16 random bytes; a publisher draws them once, when it starts."""
    return os.urandom(EPOCH_BYTES)


_PROCESS_EPOCH = new_epoch()


def _field_error(name: str, expected: str, got: object) -> NoReturn:
    text = repr(got)
    raise MessageError("field", f"{name}: expected {expected}, got {text[:60]}")


def _check_integer(name: str, value: object, low: int, high: int, reason: str = "field") -> None:
    # type() and not isinstance(): a bool is no number on this wire
    if type(value) is not int or not low <= value <= high:
        text = repr(value)[:60]
        raise MessageError(reason, f"{name}: expected an integer in {low}..{high}, got {text}")


def _check_columns(name: str, columns: Mapping[str, list[Any]], integers: tuple[str, ...]) -> None:
    """Check that columns are lists of one length, holding only Python numbers."""
    for key, column in columns.items():
        if type(column) is not list:
            _field_error(f"{name}{key}", "a list of Python numbers", type(column).__name__)
        allowed = _INTEGERS if key in integers else _NUMBERS
        if not allowed.issuperset(map(type, column)):
            what = "integers" if key in integers else "Python numbers (use array.tolist())"
            foreign = sorted(kind.__name__ for kind in set(map(type, column)) - allowed)
            _field_error(f"{name}{key}", f"only {what}", ", ".join(foreign))
    if len(set(map(len, columns.values()))) > 1:
        described = ", ".join(f"{key} {len(column)}" for key, column in columns.items())
        raise MessageError("field", f"{name}columns must have equal lengths, got {described}")


def _check_extent(name: str, column: Sequence[float], low: float, high: float) -> None:
    """Check that every value is within low..high, which a NaN and an infinity are not."""
    # min and max may pass over a NaN, the sum of finite values this small cannot hide one
    if column and not (low <= min(column) and max(column) <= high and not isnan(sum(column))):
        value = next(value for value in column if not low <= value <= high)
        raise MessageError("field", f"{name}: expected values in {low:g}..{high:g}, got {value}")


def _check_positions(name: str, x: list[float], y: list[float]) -> None:
    _check_extent(f"{name}x", x, -MAX_POSITION, MAX_POSITION)
    _check_extent(f"{name}y", y, -MAX_POSITION, MAX_POSITION)


def _check_key(stream: str, epoch: bytes, frame_id: int, timestamp_ns: int) -> None:
    if type(stream) is not str or not STREAM_PATTERN.fullmatch(stream):
        got = repr(stream)[:80]
        raise MessageError("key", f"stream: expected 1 to 64 of A-Za-z0-9._-, got {got}")
    if type(epoch) is not bytes or len(epoch) != EPOCH_BYTES:
        got = repr(epoch)[:80]
        raise MessageError("key", f"epoch: expected {EPOCH_BYTES} bytes, got {got}")
    _check_integer("frame_id", frame_id, 0, MAX_FRAME_ID, "key")
    _check_integer("timestamp_ns", timestamp_ns, 0, MAX_TIMESTAMP_NS, "key")


class Keyed(msgspec.Struct, frozen=True):
    """What every message carries.

    Attributes:
        stream: 1 to 64 of `A-Za-z0-9._-`.
        epoch: 16 bytes, new each time the publisher of the stream starts.
        frame_id: unsigned 64-bit, +1 per frame.
        timestamp_ns: UTC nanoseconds since 1970, mid-exposure.

    Raises:
        MessageError: a value is out of its range (`reason` is "key").
    """

    stream: str
    epoch: bytes
    frame_id: int
    timestamp_ns: int

    def __post_init__(self) -> None:
        """Check the key."""
        _check_key(self.stream, self.epoch, self.frame_id, self.timestamp_ns)

    @property
    def key(self) -> FrameKey:
        """The key by which the parts of a frame are joined."""
        return FrameKey(self.stream, self.epoch, self.frame_id)


class Frame(Keyed, frozen=True, eq=False):
    """One full frame.

    Attributes:
        pixels: (height, width) uint8, uint16 or float32 counts; NaN marks a bad pixel. Read-only
            where it was decoded: it then lies in the received buffer.
        saturation: count at which a pixel saturates, or None where unknown.
    """

    kind: ClassVar[Kind] = "frame"

    pixels: np.ndarray
    saturation: float | None = None

    def __post_init__(self) -> None:
        """Check the key, the pixels' type and shape, and the saturation level."""
        Keyed.__post_init__(self)
        pixels, saturation = self.pixels, self.saturation
        if not isinstance(pixels, np.ndarray) or pixels.dtype.name not in PIXEL_DTYPES:
            got = getattr(pixels, "dtype", type(pixels).__name__)
            _field_error("pixels", f"an array of {', '.join(PIXEL_DTYPES)}", got)
        if pixels.ndim != 2 or pixels.size == 0:
            expected = "expected (height, width), each at least 1"
            raise MessageError("dimensions", f"pixels: {expected}, got shape {pixels.shape}")
        if saturation is not None and (
            type(saturation) not in _NUMBERS or not 0 < saturation < inf
        ):
            _field_error("saturation", "a finite count above 0", saturation)


class FrameHeader(Keyed, frozen=True, tag_field="schema", tag="frame/1", omit_defaults=True):
    """The map of a frame message, part 1; the pixels are part 2."""

    kind: ClassVar[Kind] = "frame"

    height: int
    width: int
    dtype: Literal["uint8", "uint16", "float32"]
    saturation: float | None = None


class Detections(Keyed, frozen=True, tag_field="schema", tag="detections/1", omit_defaults=True):
    """The candidate spots of one frame; no candidates means that nothing is there.

    Attributes:
        x, y: pixels, finite.
        score: the detector's own measure, any scale.
        id: the detector's own number of the candidate, signed 64-bit.
        width, height: extent of the blob in pixels, finite, at least 0.
    """

    kind: ClassVar[Kind] = "detections"

    x: list[float]
    y: list[float]
    score: list[float] | None = None
    id: list[int] | None = None
    width: list[float] | None = None
    height: list[float] | None = None

    def __post_init__(self) -> None:
        """Check the key and the columns."""
        Keyed.__post_init__(self)
        optional = {"score": self.score, "id": self.id, "width": self.width, "height": self.height}
        given = {key: column for key, column in optional.items() if column is not None}
        _check_columns("", {"x": self.x, "y": self.y, **given}, integers=("id",))
        _check_positions("", self.x, self.y)
        _check_extent("id", self.id or [], MIN_ID, MAX_ID)
        _check_extent("width", self.width or [], 0, MAX_POSITION)
        _check_extent("height", self.height or [], 0, MAX_POSITION)


class End(Keyed, frozen=True, tag_field="schema", tag="end/1"):
    """The stream is complete at `frame_id`."""

    kind: ClassVar[Kind] = "end"


class Spots(msgspec.Struct, frozen=True):
    """The candidates as the node judged them: columns, one entry a candidate.

    Attributes:
        id: the detector's number, or the index of the candidate where it gave none.
        x, y: pixels, finite.
        count: number of targets found in the spot.
        background, noise: frame counts; noise is the standard deviation of one pixel.
        chi2: reduced chi-square of the reconstruction against the crop; NaN where not measured.
        flags: bits of `SpotFlag`.
    """

    id: list[int]
    x: list[float]
    y: list[float]
    count: list[int]
    background: list[float]
    noise: list[float]
    chi2: list[float]
    flags: list[int]

    def __post_init__(self) -> None:
        """Check the columns."""
        _check_columns("spots.", msgspec.structs.asdict(self), integers=("id", "count", "flags"))
        _check_positions("spots.", self.x, self.y)
        _check_extent("spots.id", self.id, MIN_ID, MAX_ID)
        _check_extent("spots.count", self.count, 0, MAX_COUNT)
        _check_extent("spots.flags", self.flags, 0, MAX_COUNT)

    def __len__(self) -> int:
        """Return the number of spots."""
        return len(self.id)

    @classmethod
    def empty(cls) -> "Spots":
        """Return a table without spots."""
        return cls(*([] for _ in cls.__struct_fields__))


class TargetTable(msgspec.Struct, frozen=True):
    """The point targets of one frame: columns, one entry a target.

    Attributes:
        spot: index into the spots of the same message.
        x, y: frame pixels, finite.
        intensity: total counts above background.
        score: 0..1.
        sigma_x, sigma_y, sigma_intensity: 1-sigma uncertainties; NaN where the engine gives none.
    """

    spot: list[int]
    x: list[float]
    y: list[float]
    intensity: list[float]
    score: list[float]
    sigma_x: list[float]
    sigma_y: list[float]
    sigma_intensity: list[float]

    def __post_init__(self) -> None:
        """Check the columns."""
        _check_columns("targets.", msgspec.structs.asdict(self), integers=("spot",))
        _check_positions("targets.", self.x, self.y)

    def __len__(self) -> int:
        """Return the number of targets."""
        return len(self.spot)

    @classmethod
    def empty(cls) -> "TargetTable":
        """Return a table without targets."""
        return cls(*([] for _ in cls.__struct_fields__))


class EngineInfo(msgspec.Struct, frozen=True):
    """What found the targets: runtime, model name, its checksum, PSF sigma in pixels."""

    runtime: str
    model: str
    sha256: str
    psf_sigma: float


class Timing(msgspec.Struct, frozen=True):
    """Nanoseconds spent on the frame, stage by stage."""

    join: int
    queue: int
    infer: int
    readout: int
    total: int

    def __post_init__(self) -> None:
        """Check that every duration is a non-negative integer."""
        for name in self.__struct_fields__:
            _check_integer(f"timing.{name}", getattr(self, name), 0, MAX_TIMESTAMP_NS)


class Targets(
    Keyed, frozen=True, kw_only=True, tag_field="schema", tag="targets/1", omit_defaults=True
):
    """What the node publishes for every frame key, exactly once.

    Attributes:
        status: `ok`, `empty` (the detections said none), `no_detections`, `no_frame`, `dropped`
            or `error`.
        reason: says why where the status is neither `ok` nor `empty`.
    """

    kind: ClassVar[Kind] = "targets"

    status: TargetsStatus
    reason: str = ""
    spots: Spots
    targets: TargetTable
    engine: EngineInfo
    timing: Timing

    def __post_init__(self) -> None:
        """Check the key, the status and that every target belongs to a spot."""
        Keyed.__post_init__(self)
        if self.status not in STATUSES:
            _field_error("status", f"one of {', '.join(STATUSES)}", self.status)
        if type(self.reason) is not str:
            _field_error("reason", "a text", self.reason)
        _check_extent("targets.spot", self.targets.spot, 0, len(self.spots) - 1)


def _check_body(name: str, value: object, depth: int) -> None:
    if isinstance(value, dict | list) and depth >= MAX_BODY_DEPTH:
        _field_error(name, f"at most {MAX_BODY_DEPTH} levels", "more")
    if isinstance(value, dict):
        for key, entry in value.items():
            if type(key) is not str:
                _field_error(name, "only texts as keys", key)
            _check_body(f"{name}.{key}", entry, depth + 1)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            _check_body(f"{name}[{index}]", entry, depth + 1)
    elif value is not None and type(value) not in (bool, int, float, str):
        _field_error(name, "a number, text, bool, None, list or map", type(value).__name__)


class Status(msgspec.Struct, frozen=True, kw_only=True, tag_field="schema", tag="status/1"):
    """The heartbeat of a node, once a second.

    Attributes:
        node: name of the node, 1 to 64 of `A-Za-z0-9._-`; `stream` on the wire.
        timestamp_ns: UTC nanoseconds since 1970.
        body: nested maps with text keys: counters, queue depths, engine, drops by reason.
        epoch: 16 bytes, new each time the node starts; by default those of this process.
        frame_id: number of the heartbeat.
    """

    kind: ClassVar[Kind] = "status"

    node: str = msgspec.field(name="stream")
    epoch: bytes = _PROCESS_EPOCH
    frame_id: int = 0
    timestamp_ns: int
    body: dict[str, Any]

    def __post_init__(self) -> None:
        """Check the key and the types in the body."""
        _check_key(self.node, self.epoch, self.frame_id, self.timestamp_ns)
        if type(self.body) is not dict:
            _field_error("body", "a map", type(self.body).__name__)
        _check_body("body", self.body, 0)

    @property
    def stream(self) -> str:
        """The node's name, which is the stream of its heartbeats."""
        return self.node

    @property
    def key(self) -> FrameKey:
        """Node, start of the node, number of the heartbeat."""
        return FrameKey(self.node, self.epoch, self.frame_id)


Message = Frame | Detections | End | Targets | Status

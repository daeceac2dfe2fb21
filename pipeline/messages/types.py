"""The messages of wire format version 1 as types; each checks itself when it is built.

Pixel convention: x is the column, y the row; integers are pixel centres; (0, 0) is the centre of
the top-left pixel. Import these through `dscsnet.pipeline.messages`.
"""

import enum
import os
from math import inf
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import msgspec
import numpy as np

from dscsnet.pipeline.errors import MessageError
from dscsnet.pipeline.messages.checks import (
    EPOCH_BYTES,
    MAX_COUNT,
    MAX_ID,
    MAX_POSITION,
    MAX_TIMESTAMP_NS,
    MIN_ID,
    NUMBERS,
    check_body,
    check_columns,
    check_extent,
    check_integer,
    check_key,
    check_positions,
    field_error,
)

SCHEMA_VERSION = 1
PIXEL_DTYPES = ("uint8", "uint16", "float32")
Kind = Literal["frame", "detections", "end", "targets", "status"]
TargetsStatus = Literal["ok", "empty", "no_detections", "no_frame", "dropped", "error"]
STATUSES: tuple[str, ...] = get_args(TargetsStatus)


class SpotFlag(enum.IntFlag):
    """Bits of `Spots.flags`: why a spot deserves doubt."""

    EDGE = 1
    SATURATED = 2
    BAD_PIXELS = 4
    NOT_CONVERGED = 8
    MERGED = 16
    TRUNCATED = 32
    PSF_MISMATCH = 64
    CROWDED = 128
    NUMBER = 256
    CORRELATED = 512
    TRAIL = 1024


class FrameKey(NamedTuple):
    """Names one frame: the stream, the start of its publisher, the count within that start."""

    stream: str
    epoch: bytes
    frame_id: int


def new_epoch() -> bytes:
    """Return 16 random bytes; a publisher draws them once, when it starts."""
    return os.urandom(EPOCH_BYTES)


_PROCESS_EPOCH = new_epoch()


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
        check_key(self.stream, self.epoch, self.frame_id, self.timestamp_ns)

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
            field_error("pixels", f"an array of {', '.join(PIXEL_DTYPES)}", got)
        if pixels.ndim != 2 or pixels.size == 0:
            expected = "expected (height, width), each at least 1"
            raise MessageError("dimensions", f"pixels: {expected}, got shape {pixels.shape}")
        if saturation is not None and (type(saturation) not in NUMBERS or not 0 < saturation < inf):
            field_error("saturation", "a finite count above 0", saturation)


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
        check_columns("", {"x": self.x, "y": self.y, **given}, integers=("id",))
        check_positions("", self.x, self.y)
        check_extent("id", self.id or [], MIN_ID, MAX_ID)
        check_extent("width", self.width or [], 0, MAX_POSITION)
        check_extent("height", self.height or [], 0, MAX_POSITION)


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
        check_columns("spots.", msgspec.structs.asdict(self), integers=("id", "count", "flags"))
        check_positions("spots.", self.x, self.y)
        check_extent("spots.id", self.id, MIN_ID, MAX_ID)
        check_extent("spots.count", self.count, 0, MAX_COUNT)
        check_extent("spots.flags", self.flags, 0, MAX_COUNT)

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
        check_columns("targets.", msgspec.structs.asdict(self), integers=("spot",))
        check_positions("targets.", self.x, self.y)

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

    def __post_init__(self) -> None:
        """Check the types."""
        for name in ("runtime", "model", "sha256"):
            if type(getattr(self, name)) is not str:
                field_error(f"engine.{name}", "a text", getattr(self, name))
        if type(self.psf_sigma) not in NUMBERS:
            field_error("engine.psf_sigma", "a Python number", self.psf_sigma)


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
            check_integer(f"timing.{name}", getattr(self, name), 0, MAX_TIMESTAMP_NS)


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
            field_error("status", f"one of {', '.join(STATUSES)}", self.status)
        if type(self.reason) is not str:
            field_error("reason", "a text", self.reason)
        check_extent("targets.spot", self.targets.spot, 0, len(self.spots) - 1)


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
        check_key(self.node, self.epoch, self.frame_id, self.timestamp_ns)
        if type(self.body) is not dict:
            field_error("body", "a map", type(self.body).__name__)
        check_body("body", self.body, 0)

    @property
    def stream(self) -> str:
        """The node's name, which is the stream of its heartbeats."""
        return self.node

    @property
    def key(self) -> FrameKey:
        """Node, start of the node, number of the heartbeat."""
        return FrameKey(self.node, self.epoch, self.frame_id)


Message = Frame | Detections | End | Targets | Status

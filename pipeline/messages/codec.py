"""Messages to ZeroMQ parts and back: topic, msgpack map and, for a frame, the pixels."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
import msgspec
import numpy as np

from dscsnet.pipeline.errors import MessageError
from dscsnet.pipeline.messages.bounds import MAX_MAP_ENTRIES, Limits, check_bounds
from dscsnet.pipeline.messages.checks import is_name
from dscsnet.pipeline.messages.types import (
    PIXEL_DTYPES,
    SCHEMA_VERSION,
    Detections,
    End,
    Frame,
    FrameHeader,
    Message,
    Status,
    Targets,
)

Part = bytes | memoryview

REJECTIONS = (
    "parts",  # the number of parts does not fit the kind
    "topic",  # no <kind>/<stream>, an unknown kind, or not what the map says
    "header",  # part 1 is no msgpack map
    "schema",  # of another kind or major version
    "key",  # stream, epoch, frame_id or timestamp_ns
    "field",  # any other key is missing or of the wrong type or range
    "dimensions",  # height or width
    "payload",  # the pixels do not fit height, width and dtype
    "limits",  # larger than this receiver accepts
    "connection",  # it broke ZeroMQ's own rules: told by a Receiver, not by decode
)

_RECORDS: dict[str, type] = {
    "frame": FrameHeader,
    "detections": Detections,
    "end": End,
    "targets": Targets,
    "status": Status,
}
MAX_PARTS = 3
KINDS: tuple[str, ...] = tuple(_RECORDS)
MAX_TOPIC_BYTES = max(map(len, KINDS)) + 1 + 64
# Little-endian on the wire, whatever this machine uses.
_WIRE_DTYPES = {name: np.dtype(name).newbyteorder("<") for name in PIXEL_DTYPES}
_SCHEMA = re.compile(r"([a-z]{1,16})/([0-9]{1,9})(?:\.[0-9]{1,9})*")
_KEY_FIELD = re.compile(r"`(?:\$\.)?(stream|epoch|frame_id|timestamp_ns)`")
_encoder = msgspec.msgpack.Encoder()


def topic(message: Message) -> bytes:
    """Return the topic of a message, for example `b"frame/cam0"`."""
    return f"{message.kind}/{message.stream}".encode()


def encode(message: Message) -> list[Part]:
    """Return the parts of a message: topic, map and, for a frame, its pixels.

    The pixels are not copied when they are C-contiguous and little-endian: the last part is then
    a view of the array, which must stay as it is until the parts are sent.

    Raises:
        MessageError: the message holds a value that msgpack cannot carry ("field").
    """
    if not isinstance(message, Frame):
        return [topic(message), _pack(message)]
    name = message.pixels.dtype.name
    pixels = np.ascontiguousarray(message.pixels, dtype=_WIRE_DTYPES[name])
    header = FrameHeader(
        stream=message.stream,
        epoch=message.epoch,
        frame_id=message.frame_id,
        timestamp_ns=message.timestamp_ns,
        height=pixels.shape[0],
        width=pixels.shape[1],
        dtype=name,  # type: ignore[arg-type]  # a Frame has no other dtypes
        saturation=message.saturation,
    )
    return [topic(message), _pack(header), pixels.data.cast("B")]


def _pack(record: msgspec.Struct) -> bytes:
    try:
        return _encoder.encode(record)
    except (TypeError, OverflowError, UnicodeEncodeError) as error:
        raise MessageError("field", f"{type(record).__name__}: {error}") from error


def decode(parts: Sequence[Any], limits: Limits = Limits()) -> Message:  # noqa: B008 (immutable)
    """Return the message in the parts, each `bytes`, a memoryview or a `zmq.Frame`.

    The pixels of a frame are a read-only view of the last part, in the machine's byte order; they
    are copied only where the buffer is not aligned for their type.

    Raises:
        MessageError: malformed or too large; `reason` is one of `REJECTIONS`.
    """
    if not 2 <= len(parts) <= MAX_PARTS:
        raise MessageError("parts", f"expected 2 or 3 message parts, got {len(parts)}")
    kind, stream = _split_topic(memoryview(parts[0]))
    if len(parts) != (3 if kind == "frame" else 2):
        raise MessageError("parts", f"{kind}: unexpected number of message parts: {len(parts)}")
    header = _unpack(memoryview(parts[1]), kind, limits)
    _check_schema(header, kind)
    if header.get("stream") != stream:
        got = repr(header.get("stream"))[:80]
        raise MessageError("topic", f"stream: topic says {stream!r}, the map says {got}")
    record = _convert(header, kind)
    if isinstance(record, FrameHeader):
        return _attach_pixels(record, memoryview(parts[2]), limits)
    _check_counts(record, limits)
    return record


def _split_topic(part: memoryview) -> tuple[str, str]:
    if part.nbytes > MAX_TOPIC_BYTES:
        detail = f"expected at most {MAX_TOPIC_BYTES} bytes, got {part.nbytes}"
        raise MessageError("topic", f"topic: {detail}")
    kind, _, stream = bytes(part).decode("ascii", errors="replace").partition("/")
    if kind not in _RECORDS:
        raise MessageError("topic", f"topic: unknown kind {kind!r}, known are {', '.join(KINDS)}")
    if not is_name(stream):
        raise MessageError("topic", f"topic: no stream name (1 to 64 of A-Za-z0-9._-): {stream!r}")
    return kind, stream


def _unpack(part: memoryview, kind: str, limits: Limits) -> dict[str, Any]:
    if part.nbytes > limits.max_header_bytes:
        detail = f"at most {limits.max_header_bytes} bytes are accepted, got {part.nbytes}"
        raise MessageError("limits", f"header: {detail}")
    data = bytes(part)
    entries = limits.max_candidates
    if kind == "targets":
        entries = max(entries, limits.max_targets)
    check_bounds(data, limits, entries)
    try:
        header = msgpack.unpackb(
            data,
            max_str_len=limits.max_string_bytes,
            max_bin_len=limits.max_string_bytes,
            max_ext_len=limits.max_string_bytes,
            max_array_len=entries,
            max_map_len=MAX_MAP_ENTRIES,
        )
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise MessageError("header", f"header: no msgpack map: {error}"[:200]) from error
    if not isinstance(header, dict):
        raise MessageError("header", f"header: expected a map, got {type(header).__name__}")
    return header


def _check_schema(header: Mapping[str, Any], kind: str) -> None:
    schema = header.get("schema")
    match = _SCHEMA.fullmatch(schema) if isinstance(schema, str) else None
    if match is None or match[1] != kind or int(match[2]) != SCHEMA_VERSION:
        got = repr(schema)[:60]
        raise MessageError("schema", f"schema: expected '{kind}/{SCHEMA_VERSION}', got {got}")


def _convert(header: dict[str, Any], kind: str) -> Any:
    # A minor version is accepted; msgspec compares the whole text.
    header["schema"] = f"{kind}/{SCHEMA_VERSION}"
    if not isinstance(header.get("epoch", b""), bytes):
        # msgspec would take a text for base64
        got = type(header["epoch"]).__name__
        raise MessageError("key", f"epoch: expected bytes, got {got}")
    try:
        return msgspec.convert(header, _RECORDS[kind])
    except msgspec.ValidationError as error:
        reason = "key" if _KEY_FIELD.search(str(error)) else "field"
        raise MessageError(reason, f"{kind}: {error}"[:300]) from error


def _attach_pixels(header: FrameHeader, part: memoryview, limits: Limits) -> Frame:
    """Check sizes by arithmetic alone, then view the received bytes as pixels."""
    for name in ("height", "width"):
        value = getattr(header, name)
        if not 1 <= value <= limits.max_dimension:
            detail = f"expected 1 to {limits.max_dimension} pixels, got {value}"
            raise MessageError("dimensions", f"{name}: {detail}")
    dtype = _WIRE_DTYPES[header.dtype]
    size = header.height * header.width * dtype.itemsize
    if max(size, part.nbytes) > limits.max_frame_bytes:
        detail = f"at most {limits.max_frame_bytes} bytes are accepted"
        raise MessageError("limits", f"pixels: {detail}, got {max(size, part.nbytes)}")
    if part.nbytes != size:
        shape = f"{header.height} x {header.width} {header.dtype}"
        raise MessageError("payload", f"pixels: {shape} takes {size} bytes, got {part.nbytes}")
    return Frame(
        stream=header.stream,
        epoch=header.epoch,
        frame_id=header.frame_id,
        timestamp_ns=header.timestamp_ns,
        pixels=_view_pixels(part, dtype, (header.height, header.width)),
        saturation=header.saturation,
    )


def _view_pixels(part: memoryview, dtype: np.dtype, shape: tuple[int, int]) -> np.ndarray:
    pixels = np.frombuffer(part.toreadonly(), dtype=dtype).reshape(shape)
    # Small messages share one receive buffer at any offset; compiled loops want aligned arrays.
    if not (pixels.flags.aligned and dtype.isnative):
        pixels = pixels.astype(dtype.newbyteorder("="))
        pixels.flags.writeable = False
    return pixels


def _check_counts(record: Message, limits: Limits) -> None:
    if isinstance(record, Targets):
        counts = [("spots", len(record.spots), limits.max_candidates)]
        counts.append(("targets", len(record.targets), limits.max_targets))
        for name, count, limit in counts:
            if count > limit:
                raise MessageError("limits", f"{name}: at most {limit} are accepted, got {count}")

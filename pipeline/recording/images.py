"""Frames as `foxglove.RawImage` in Protobuf, which common viewers show; the pixels are not copied.

Protobuf writes a field as a key (number * 8 + wire type) and its value, so a few lines do here what
would otherwise need a compiler and a library.
"""

import struct

from dscsnet.pipeline.messages import Frame

Buffer = bytes | memoryview
ENCODINGS = {"uint8": "mono8", "uint16": "16UC1", "float32": "32FC1"}

# Wire types, and the types and labels of fields in a descriptor.
_VARINT, _BYTES, _FIXED32 = 0, 2, 5
_INT32, _INT64, _MESSAGE, _STRING, _FIXED, _DATA = 5, 3, 11, 9, 7, 12
_OPTIONAL = 1


def raw_image(frame: Frame, pixels: Buffer) -> list[Buffer]:
    """Return the message as buffers to write one after the other.

    Args:
        frame: the message.
        pixels: its pixels as they came, C order, little-endian.
    """
    seconds, nanoseconds = divmod(frame.timestamp_ns, 10**9)
    time = _key(1, _VARINT) + _varint(seconds) + _key(2, _VARINT) + _varint(nanoseconds)
    height, width = frame.pixels.shape
    head = (
        _field(1, time)
        + _fixed(2, width)
        + _fixed(3, height)
        + _field(4, ENCODINGS[frame.pixels.dtype.name].encode())
        + _fixed(5, width * frame.pixels.itemsize)
        + _field(7, frame.stream.encode())
        + _key(6, _BYTES)
        + _varint(len(pixels))
    )
    return [head, pixels]


def image_schema() -> tuple[str, str, bytes]:
    """Return name, encoding and descriptors of the schema by which viewers know these messages."""
    time_file = "google/protobuf/timestamp.proto"
    time = _file(
        time_file,
        "google.protobuf",
        _type("Timestamp", ("seconds", 1, _INT64, ""), ("nanos", 2, _INT32, "")),
    )
    image = _file(
        "foxglove/RawImage.proto",
        "foxglove",
        _type(
            "RawImage",
            ("timestamp", 1, _MESSAGE, ".google.protobuf.Timestamp"),
            ("width", 2, _FIXED, ""),
            ("height", 3, _FIXED, ""),
            ("encoding", 4, _STRING, ""),
            ("step", 5, _FIXED, ""),
            ("data", 6, _DATA, ""),
            ("frame_id", 7, _STRING, ""),
        ),
        time_file,
    )
    return "foxglove.RawImage", "protobuf", _field(1, time) + _field(1, image)


def _file(name: str, package: str, message: bytes, *imports: str) -> bytes:
    needed = b"".join(_field(3, text.encode()) for text in imports)
    named = _field(1, name.encode()) + _field(2, package.encode())
    return named + needed + _field(4, message) + _field(12, b"proto3")


def _type(name: str, *fields: tuple[str, int, int, str]) -> bytes:
    content = _field(1, name.encode())
    for label, number, kind, type_name in fields:
        described = _field(1, label.encode())
        described += _key(3, _VARINT) + _varint(number)
        described += _key(4, _VARINT) + _varint(_OPTIONAL)
        described += _key(5, _VARINT) + _varint(kind)
        if type_name:
            described += _field(6, type_name.encode())
        content += _field(2, described)
    return content


def _key(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _field(number: int, content: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(content)) + content


def _fixed(number: int, value: int) -> bytes:
    return _key(number, _FIXED32) + struct.pack("<I", value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)

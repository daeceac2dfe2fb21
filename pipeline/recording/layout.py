"""How a message's ZeroMQ parts lie in a recording, and back: nothing is encoded anew.

The MCAP topic is part 0. The data of all kinds but `frame` are part 1, a msgpack map; those of a
frame are the length of part 1 (4 bytes, little-endian), part 1, and part 2, the pixels.
"""

import struct
from typing import Literal, NamedTuple

import msgspec

from dscsnet.pipeline.messages import Detections, End, Kind, Message, Status, Targets
from dscsnet.pipeline.messages.types import FrameHeader

#: The channel on which a message was seen: `end` and its like go over more than one.
ChannelName = Literal["frames", "detections", "targets"]
SOURCES: tuple[ChannelName, ...] = ("frames", "detections", "targets")

MESSAGE_ENCODING = "msgpack"
FRAME_ENCODING = "dscsnet.frame"
ANNOTATIONS, IMAGES = "annotations", "images"  # topics that viewers draw

_LENGTH = struct.Struct("<I")
_MAPS: dict[Kind, type[msgspec.Struct]] = {
    "frame": FrameHeader,
    "detections": Detections,
    "end": End,
    "targets": Targets,
    "status": Status,
}
Buffer = bytes | memoryview


def pack(message: Message, parts: list[Buffer]) -> list[Buffer]:
    """Return the data of a message as buffers to write one after the other, uncopied."""
    if message.kind != "frame":
        return [bytes(parts[1])]
    header = bytes(parts[1])
    return [_LENGTH.pack(len(header)) + header, parts[2]]


def unpack(topic: str, data: memoryview) -> list[Buffer]:
    """Return the ZeroMQ parts.

    Raises:
        ValueError: a frame whose length does not fit its data.
    """
    name = topic.encode()
    if not topic.startswith("frame/"):
        return [name, bytes(data)]
    end = _LENGTH.size + (_LENGTH.unpack_from(data)[0] if len(data) >= _LENGTH.size else 2**32)
    if end > len(data):
        raise ValueError(f"{topic}: the frame's map is longer than the message")
    return [name, bytes(data[_LENGTH.size : end]), data[end:]]


def encoding(kind: str) -> str:
    """Return the message encoding under which messages of a kind stand in the file."""
    return FRAME_ENCODING if kind == "frame" else MESSAGE_ENCODING


def schema(kind: Kind) -> tuple[str, str, bytes]:
    """Return name, encoding and text of a kind's schema: JSON Schema of its msgpack map."""
    text = msgspec.json.encode(msgspec.json.schema(_MAPS[kind]))
    return f"dscsnet.{kind}", "jsonschema", text


class Item(NamedTuple):
    """One message on its way to the file; `size` in bytes."""

    source: ChannelName
    message: Message
    parts: list[Buffer]
    log_time: int
    size: int

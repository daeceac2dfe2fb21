"""Frames as other viewers read them, by Protobuf's own library."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("google.protobuf")

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from dscsnet.pipeline.messages import Frame
from dscsnet.pipeline.recording import images

FIELD = descriptor_pb2.FieldDescriptorProto


def schema() -> descriptor_pb2.FileDescriptorSet:
    name, encoding, content = images.image_schema()
    assert (name, encoding) == ("foxglove.RawImage", "protobuf")
    return descriptor_pb2.FileDescriptorSet.FromString(content)


def read(content: bytes) -> Any:
    pool = descriptor_pool.DescriptorPool()
    for file in schema().file:
        pool.Add(file)
    kind = pool.FindMessageTypeByName("foxglove.RawImage")
    return message_factory.GetMessageClass(kind).FromString(content)


def test_the_schema_is_the_published_one() -> None:
    time, image = schema().file
    assert (time.name, time.package) == ("google/protobuf/timestamp.proto", "google.protobuf")
    assert (image.name, image.package) == ("foxglove/RawImage.proto", "foxglove")
    assert list(image.dependency) == [time.name]
    assert {time.syntax, image.syntax} == {"proto3"}
    (stamp,), (raw,) = time.message_type, image.message_type
    assert (stamp.name, raw.name) == ("Timestamp", "RawImage")
    assert [(f.name, f.number, f.type) for f in stamp.field] == [
        ("seconds", 1, FIELD.TYPE_INT64),
        ("nanos", 2, FIELD.TYPE_INT32),
    ]
    assert [(f.name, f.number, f.type, f.type_name) for f in raw.field] == [
        ("timestamp", 1, FIELD.TYPE_MESSAGE, ".google.protobuf.Timestamp"),
        ("width", 2, FIELD.TYPE_FIXED32, ""),
        ("height", 3, FIELD.TYPE_FIXED32, ""),
        ("encoding", 4, FIELD.TYPE_STRING, ""),
        ("step", 5, FIELD.TYPE_FIXED32, ""),
        ("data", 6, FIELD.TYPE_BYTES, ""),
        ("frame_id", 7, FIELD.TYPE_STRING, ""),
    ]
    assert {f.label for f in (*stamp.field, *raw.field)} == {FIELD.LABEL_OPTIONAL}
    assert all(f.HasField("label") for f in (*stamp.field, *raw.field))


@pytest.mark.parametrize(
    ("kind", "encoding", "size"),
    [(np.uint8, "mono8", 1), (np.uint16, "16UC1", 2), (np.float32, "32FC1", 4)],
)
@pytest.mark.parametrize("shape", [(3, 5), (200, 300)])
def test_an_image_is_read_back(kind: Any, encoding: str, size: int, shape: tuple[int, int]) -> None:
    pixels = np.arange(shape[0] * shape[1]).reshape(shape).astype(kind)
    frame = Frame("cam0", bytes(16), 7, 1_700_000_000_123_456_789, pixels)
    content = b"".join(bytes(part) for part in images.raw_image(frame, pixels.tobytes()))
    found = read(content)
    assert (found.timestamp.seconds, found.timestamp.nanos) == (1_700_000_000, 123_456_789)
    assert (found.height, found.width, found.step) == (*shape, size * shape[1])
    assert (found.encoding, found.frame_id) == (encoding, "cam0")
    assert found.data == pixels.tobytes()


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**31, 2**63 - 1])
def test_numbers_have_seven_bits_a_byte(value: int) -> None:
    content = images._varint(value)
    assert sum((byte & 0x7F) << (7 * k) for k, byte in enumerate(content)) == value
    assert [byte >> 7 for byte in content] == [1] * (len(content) - 1) + [0]
    assert len(content) == max(1, -(-value.bit_length() // 7))

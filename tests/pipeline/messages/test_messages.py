"""Wire format: round trips, every rejection, bounds before allocation, the page's byte example."""

import math
import re
import struct
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import msgpack
import msgspec
import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from dscsnet.pipeline.errors import MessageError
from dscsnet.pipeline.messages import (
    KINDS,
    REJECTIONS,
    STATUSES,
    Detections,
    End,
    EngineInfo,
    Frame,
    FrameKey,
    Limits,
    Message,
    SpotFlag,
    Spots,
    Status,
    Targets,
    TargetTable,
    Timing,
    bounds,
    codec,
    decode,
    encode,
    new_epoch,
    topic,
)
from dscsnet.pipeline.messages.codec import MAX_TOPIC_BYTES

EPOCH = bytes(range(16))
PAGE = Path(__file__).parents[3] / "docs" / "wire-format.md"
ENGINE = EngineInfo(runtime="onnxruntime", model="gridless", sha256="ab" * 32, psf_sigma=0.5)
TIMING = Timing(join=1, queue=2, infer=3, readout=4, total=10)
KEY: dict[str, Any] = {
    "stream": "cam0",
    "epoch": EPOCH,
    "frame_id": 7,
    "timestamp_ns": 1_700_000_000_000_000_000,
}

streams = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)
keys: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "stream": streams,
        "epoch": st.binary(min_size=16, max_size=16),
        "frame_id": st.integers(0, 2**64 - 1),
        "timestamp_ns": st.integers(0, 2**63 - 1),
    }
)
positions = st.floats(-1e6, 1e6)
any_float = st.floats()


def same(left: object, right: object) -> bool:
    """Compare built-in data with NaN equal to NaN."""
    if isinstance(left, float) and isinstance(right, float):
        return left == right or (math.isnan(left) and math.isnan(right))
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    return type(left) is type(right) and left == right


def assert_same_message(left: Message, right: Message) -> None:
    assert type(left) is type(right)
    assert same(msgspec.to_builtins(left), msgspec.to_builtins(right))


def columns(draw: st.DrawFn, size: int, element: st.SearchStrategy) -> list:
    return draw(st.lists(element, min_size=size, max_size=size))


@st.composite
def detections(draw: st.DrawFn) -> Detections:
    n = draw(st.integers(0, 6))
    extent = st.floats(0, 1e4)
    optional: dict[str, Any] = {
        "score": any_float,
        "id": st.integers(-(2**63), 2**63 - 1),
        "width": extent,
        "height": extent,
    }
    given_columns: dict[str, Any] = {
        k: columns(draw, n, e) for k, e in optional.items() if draw(st.booleans())
    }
    x, y = columns(draw, n, positions), columns(draw, n, positions)
    return Detections(**draw(keys), x=x, y=y, **given_columns)


@st.composite
def targets(draw: st.DrawFn) -> Targets:
    spots, found = draw(st.integers(1, 4)), draw(st.integers(0, 6))
    small = st.integers(0, 63)
    spot_elements = [st.integers(), positions, positions, small, *[any_float] * 3, small]
    spot_elements[0] = st.integers(-(2**63), 2**63 - 1)
    target_elements = [st.integers(0, spots - 1), positions, positions, *[any_float] * 5]
    return Targets(
        **draw(keys),
        status=draw(st.sampled_from(STATUSES)),
        reason=draw(st.text(max_size=20)),
        spots=Spots(*(columns(draw, spots, e) for e in spot_elements)),
        targets=TargetTable(*(columns(draw, found, e) for e in target_elements)),
        engine=ENGINE,
        timing=TIMING,
    )


names = st.text(max_size=8)
leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | any_float | names
bodies = leaves | st.lists(leaves, max_size=3) | st.dictionaries(names, st.lists(leaves))


def make_frame(pixels: np.ndarray | None = None, **changes: Any) -> Frame:
    if pixels is None:
        pixels = np.array([[1, 2, 3], [4, 5, 60000]], np.uint16)
    return Frame(**{**KEY, "saturation": 16383.0, **changes}, pixels=pixels)


def make_detections() -> Detections:
    return Detections(**KEY, x=[1.5, 2.0], y=[0.25, 1.0], score=[9.5, 7.0])


def make_targets(**changes: Any) -> Targets:
    spots = Spots([5], [1.0], [1.0], [2], [100.0], [3.0], [math.nan], [SpotFlag.EDGE.value])
    table = TargetTable([0, 0], *([0.5, 1.5] for _ in range(7)))
    fields = {"status": "ok", "spots": spots, "targets": table, "engine": ENGINE, "timing": TIMING}
    return Targets(**{**KEY, **fields, **changes})


def make_all() -> list[Message]:
    status = Status(node="node0", timestamp_ns=1, body={"counters": {"frames": 3}, "lags": [1.5]})
    return [make_frame(), make_detections(), End(**KEY), make_targets(), status]


def reject(parts: list, limits: Limits | None = None) -> MessageError:
    with pytest.raises(MessageError) as caught:
        decode(parts, limits or Limits())
    assert caught.value.reason in REJECTIONS
    assert "\n" not in str(caught.value)
    return caught.value


def altered(message: Message, **changes: Any) -> list:
    """Return the parts of a message whose map was changed by an independent encoder."""
    parts = encode(message)
    header = msgpack.unpackb(bytes(parts[1]))
    for key, value in changes.items():
        if value is ...:
            del header[key]
        else:
            header[key] = value
    return [parts[0], msgpack.packb(header), *parts[2:]]


class TestRoundTrip:
    @settings(max_examples=25, deadline=None)
    @given(st.one_of(detections(), targets(), keys.map(lambda key: End(**key))))
    def test_tables(self, message: Message) -> None:
        assert_same_message(decode(encode(message)), message)

    @settings(max_examples=25, deadline=None)
    @given(st.dictionaries(st.text(max_size=8), bodies), streams)
    def test_status(self, body: dict, node: str) -> None:
        message = Status(node=node, timestamp_ns=5, frame_id=2, body={"drops": body})
        got = decode(encode(message))
        assert_same_message(got, message)
        assert got.key == FrameKey(node, message.epoch, 2)

    @settings(max_examples=25, deadline=None)
    @given(keys, st.sampled_from(["uint8", "uint16", "float32"]), st.data())
    def test_frames(self, key: dict, dtype: str, data: st.DataObject) -> None:
        shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
        size = shape[0] * shape[1] * np.dtype(dtype).itemsize
        raw = data.draw(st.binary(min_size=size, max_size=size))
        pixels = np.frombuffer(raw, dtype).reshape(shape)
        got = decode(encode(Frame(**key, pixels=pixels)))
        assert isinstance(got, Frame)
        assert got.key == FrameKey(key["stream"], key["epoch"], key["frame_id"])
        assert got.saturation is None
        assert (got.pixels.dtype, got.pixels.shape) == (pixels.dtype, shape)
        assert got.pixels.tobytes() == raw  # bytes, so that NaNs compare too

    def test_topics_and_keys(self) -> None:
        assert [topic(m) for m in make_all()] == [
            b"frame/cam0",
            b"detections/cam0",
            b"end/cam0",
            b"targets/cam0",
            b"status/node0",
        ]
        assert make_frame().key == FrameKey("cam0", EPOCH, 7)
        assert len(new_epoch()) == 16
        assert new_epoch() != new_epoch()

    def test_map_as_another_msgpack_reads_it(self) -> None:
        header = msgpack.unpackb(encode(make_frame())[1])
        assert header == {
            "schema": "frame/1",
            **KEY,
            "height": 2,
            "width": 3,
            "dtype": "uint16",
            "saturation": 16383.0,
        }
        header = msgpack.unpackb(encode(make_targets())[1])
        assert header["targets"]["spot"] == [0, 0]
        assert header["timing"]["total"] == 10
        assert math.isnan(header["spots"]["chi2"][0])
        assert "reason" not in header

    def test_integral_positions_of_other_encoders(self) -> None:
        """JavaScript writes 3.0 as the integer 3."""
        got = decode(altered(make_detections(), x=[3, 4]))
        assert isinstance(got, Detections)
        assert got.x == [3.0, 4.0]
        assert type(got.x[0]) is float

    @pytest.mark.parametrize("schema", ["detections/1", "detections/1.3", "detections/1.0.2"])
    def test_minor_versions_and_unknown_keys(self, schema: str) -> None:
        parts = altered(make_detections(), schema=schema, colour=["red", {"deep": [1, [2]]}])
        assert_same_message(decode(parts), make_detections())

    def test_empty_tables(self) -> None:
        message = make_targets(status="empty", spots=Spots.empty(), targets=TargetTable.empty())
        assert_same_message(decode(encode(message)), message)
        assert len(message.spots) == len(message.targets) == 0
        assert_same_message(
            decode(encode(Detections(**KEY, x=[], y=[]))), Detections(**KEY, x=[], y=[])
        )

    def test_hundred_thousand_targets_fit(self) -> None:
        n = 40_000  # 8 columns of at most 9 bytes a value stay within 4 MiB
        table = TargetTable([0] * n, *([0.5] * n for _ in range(7)))
        limits = Limits(max_targets=n)
        got = decode(encode(make_targets(targets=table)), limits)
        assert isinstance(got, Targets)
        assert len(got.targets) == n


class TestPixels:
    def test_encode_shares_memory(self) -> None:
        pixels = np.arange(12, dtype=np.float32).reshape(3, 4)
        part = encode(make_frame(pixels))[2]
        assert np.shares_memory(np.frombuffer(part, np.uint8), pixels)

    @pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, zmq.Frame])
    def test_decode_shares_memory_and_is_read_only(self, wrap: Callable) -> None:
        pixels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
        parts = encode(make_frame(pixels))
        part = wrap(bytes(parts[2]))
        got = decode([parts[0], parts[1], part])
        assert isinstance(got, Frame)
        assert np.shares_memory(got.pixels, np.frombuffer(part, np.uint8))
        assert not got.pixels.flags.writeable
        np.testing.assert_array_equal(got.pixels, pixels)

    def test_unaligned_buffer_is_copied_into_an_aligned_array(self) -> None:
        parts = encode(make_frame())
        shifted = memoryview(b"\0" + bytes(parts[2]))[1:]
        got = decode([parts[0], parts[1], shifted])
        assert isinstance(got, Frame)
        assert got.pixels.flags.aligned
        assert not got.pixels.flags.writeable
        np.testing.assert_array_equal(got.pixels, make_frame().pixels)

    @pytest.mark.parametrize("offset", [0, 1])
    @pytest.mark.parametrize("kind", ["u2", "f4"])
    def test_pixels_of_the_other_byte_order_are_turned_into_the_machines_own(
        self, kind: str, offset: int
    ) -> None:
        """As the wire's look to a big-endian machine."""
        other = np.dtype(kind).newbyteorder("S")
        expected = np.arange(300, 312).reshape(3, 4)
        data = bytes(offset) + expected.astype(other).tobytes()
        got = codec._view_pixels(memoryview(data)[offset:], other, (3, 4))
        assert got.dtype.isnative
        assert got.flags.aligned
        assert not got.flags.writeable
        np.testing.assert_array_equal(got, expected)

    def test_non_contiguous_and_big_endian_arrays(self) -> None:
        expected = np.arange(12, dtype=np.uint16).reshape(3, 4)
        for pixels in (np.asfortranarray(expected), expected.astype(">u2")):
            assert bytes(encode(make_frame(pixels))[2]) == expected.tobytes()

    def test_nan_pixels_are_legal(self) -> None:
        pixels = np.array([[1.0, np.nan]], np.float32)
        got = decode(encode(make_frame(pixels)))
        assert isinstance(got, Frame)
        np.testing.assert_array_equal(got.pixels, pixels)


def frame_parts(**changes: Any) -> list:
    return altered(make_frame(), **changes)


def detections_parts(**changes: Any) -> list:
    return altered(make_detections(), **changes)


def spots_with(**changes: Any) -> dict:
    return {**msgspec.to_builtins(make_targets().spots), **changes}


PARTS = [bytes(part) for part in encode(make_detections())]
MALFORMED: dict[str, list[list]] = {
    "parts": [
        [],
        [b"frame/cam0"],
        [*PARTS, b"more"],
        encode(make_frame())[:2],
        [b"x"] * 1000,
    ],
    "topic": [
        [b"", PARTS[1]],
        [b"detections", PARTS[1]],
        [b"detections/", PARTS[1]],
        [b"detections/cam 0", PARTS[1]],
        [b"detections/cam0\n", PARTS[1]],
        [b"detections/cam1", PARTS[1]],
        [b"detections/" + b"a" * 65, PARTS[1]],
        [b"detections/\xff", PARTS[1]],
        [b"pickles/cam0", PARTS[1]],
        [b"d" * 10**6, PARTS[1]],
    ],
    "header": [
        [PARTS[0], b""],
        [PARTS[0], PARTS[1][:-1]],
        [PARTS[0], PARTS[1] + b"\xc0"],
        [PARTS[0], b"\xc1"],
        [PARTS[0], b"\x93\x01\x02\x03"],
        [PARTS[0], b"\x81\x01\x02"],
        [PARTS[0], b"\x81\xa1\xff\x02"],
        [PARTS[0], b"\x81\xa1a\xc1"],
        [PARTS[0], b"\xcb\x00"],
        [PARTS[0], b"\x81\xa1a\xd7\xff" + b"\xff" * 8],
        [PARTS[0], b"\x81\xa1a\xc7"],
    ],
    "schema": [
        detections_parts(schema=...),
        detections_parts(schema=1),
        detections_parts(schema="detections/2"),
        detections_parts(schema="detections/11"),
        detections_parts(schema="detections/1x"),
        detections_parts(schema="frame/1"),
        detections_parts(schema="detections/" + "9" * 5000),
    ],
    "key": [
        detections_parts(epoch=...),
        detections_parts(epoch=b"short"),
        detections_parts(epoch="AAAAAAAAAAAAAAAAAAAAAA=="),  # 16 bytes as base64
        detections_parts(frame_id=-1),
        detections_parts(frame_id=1.0),
        detections_parts(frame_id=True),
        detections_parts(frame_id=...),
        detections_parts(timestamp_ns=-5),
        detections_parts(timestamp_ns=2**63),
        detections_parts(timestamp_ns="now"),
    ],
    "field": [
        detections_parts(x=...),
        detections_parts(x=None),
        detections_parts(x=[1.0]),
        detections_parts(x=[1.0, math.nan]),
        detections_parts(y=[math.inf, 1.0]),
        detections_parts(y=[1e300, 1.0]),
        detections_parts(x=[1.0, True]),
        detections_parts(x=[1.0, "2"]),
        detections_parts(x=[1.0, [2.0]]),
        detections_parts(x={"0": 1.0}),
        detections_parts(id=[1.5, 2]),
        detections_parts(id=[2**63, 2]),
        detections_parts(score=[1.0]),
        detections_parts(width=[-1.0, 1.0]),
        detections_parts(height=[math.nan, 1.0]),
        frame_parts(dtype="float64"),
        frame_parts(dtype=...),
        frame_parts(height="2"),
        frame_parts(height=True),
        frame_parts(saturation=-1.0),
        frame_parts(saturation=math.nan),
        altered(make_targets(), status="fine"),
        altered(make_targets(), status=...),
        altered(make_targets(), reason=5),
        altered(make_targets(), spots=spots_with(x=[math.nan])),
        altered(make_targets(), spots=spots_with(flags=[-1])),
        altered(make_targets(), spots=spots_with(count=[1, 2])),
        altered(make_targets(), spots=msgspec.to_builtins(Spots.empty())),
        altered(make_targets(), timing={}),
        altered(make_all()[4], body=[1]),
        altered(make_all()[4], body={"raw": b"bytes"}),
        altered(make_all()[4], body={"two\nlines": b"bytes"}),
        altered(make_targets(), status="two\nlines"),
    ],
    "dimensions": [
        frame_parts(height=0),
        frame_parts(width=-3),
        frame_parts(height=16385),
        frame_parts(height=2**63, width=2**63),
    ],
    "payload": [
        frame_parts(height=3),
        frame_parts(dtype="float32"),
        [*encode(make_frame())[:2], b""],
        [*encode(make_frame())[:2], bytes(13)],
    ],
    "limits": [
        detections_parts(note="x" * 70_000),
        detections_parts(note=b"x" * 70_000),
        detections_parts(note=[[[[[[[[8]]]]]]]]),
        detections_parts(note=[[]] * 1100),
        frame_parts(height=16384, width=16384),
    ],
}


class TestRejections:
    def test_every_reason_has_an_example(self) -> None:
        assert {*MALFORMED, "connection"} == set(REJECTIONS)  # that one: test_sockets.py

    @pytest.mark.parametrize(
        ("reason", "index"), [(r, i) for r, cases in MALFORMED.items() for i in range(len(cases))]
    )
    def test_malformed(self, reason: str, index: int) -> None:
        error = reject(MALFORMED[reason][index])
        assert error.reason == reason, str(error)

    def test_detail_names_the_path_of_the_field(self) -> None:
        table = msgspec.to_builtins(make_targets().targets)
        table["score"] = [0.5, "high"]
        assert "$.targets.score[1]" in str(reject(altered(make_targets(), targets=table)))

    @settings(max_examples=100, deadline=None)
    @given(st.sampled_from(make_all()), st.data())
    def test_damaged_bytes_never_raise_anything_else(
        self, message: Message, data: st.DataObject
    ) -> None:
        parts = [bytearray(part) for part in encode(message)]
        part = parts[data.draw(st.integers(0, len(parts) - 1))]
        for _ in range(data.draw(st.integers(1, 4))):
            part[data.draw(st.integers(0, len(part) - 1))] = data.draw(st.integers(0, 255))
        with suppress(MessageError):
            decode(parts)

    @settings(max_examples=100, deadline=None)
    @given(st.sampled_from(KINDS), st.binary(max_size=64))
    def test_random_headers_never_raise_anything_else(self, kind: str, header: bytes) -> None:
        parts = [f"{kind}/cam0".encode(), header, *([b""] if kind == "frame" else [])]
        reject(parts)


class TestBoundsBeforeAllocation:
    """What a message claims costs no memory: each of these would take hundreds of megabytes."""

    def peak_bytes(self, parts: list, reason: str) -> int:
        tracemalloc.start()
        try:
            assert reject(parts).reason == reason
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def test_two_gigabytes_claimed(self) -> None:
        limits = Limits(max_frame_bytes=2**40, max_dimension=2**20)
        parts = frame_parts(height=2**15, width=2**15)
        assert reject(parts, limits).reason == "payload"
        assert self.peak_bytes(parts, "dimensions") < 100_000

    def test_hundred_thousand_candidates(self) -> None:
        many = [1.0] * 100_000
        parts = encode(Detections(**KEY, x=many, y=many))
        assert self.peak_bytes(parts, "limits") < 2 * len(parts[1])

    def test_candidate_limit_is_exact(self) -> None:
        limits = Limits(max_candidates=3)
        three = Detections(**KEY, x=[1.0] * 3, y=[1.0] * 3)
        assert_same_message(decode(encode(three), limits), three)
        four = Detections(**KEY, x=[1.0] * 4, y=[1.0] * 4)
        assert reject(encode(four), limits).reason == "limits"

    def test_spots_and_targets_have_their_own_limits(self) -> None:
        table = TargetTable([0] * 5, *([1.0] * 5 for _ in range(7)))
        message = make_targets(targets=table)
        decode(encode(message), Limits(max_candidates=1, max_targets=5))
        error = reject(encode(message), Limits(max_candidates=5, max_targets=4))
        assert (error.reason, "targets" in str(error)) == ("limits", True)
        spots = make_targets(spots=Spots(*(column * 2 for column in spots_with().values())))
        error = reject(encode(spots), Limits(max_candidates=1, max_targets=9))
        assert (error.reason, "spots" in str(error)) == ("limits", True)

    def test_nested_lists_that_reserve_memory(self) -> None:
        """Five bytes announce 10,000 entries; nested a thousandfold they would reserve 80 MB."""
        header = b"\x81\xa1x" + struct.pack(">BI", 0xDD, 10_000) * 1000 + b"\x00" * 10_000
        assert self.peak_bytes([b"detections/cam0", header], "limits") < 100_000

    @pytest.mark.parametrize("code", [0xDD, 0xDF, 0xDB, 0xC6, 0xC9])
    def test_four_billion_entries_or_bytes(self, code: int) -> None:
        header = b"\x81\xa1x" + struct.pack(">BI", code, 2**32 - 1)
        assert self.peak_bytes([b"detections/cam0", header], "limits") < 100_000

    @pytest.mark.parametrize("code", [b"\x91", b"\x81\xa1k"])
    def test_deep_nesting(self, code: bytes) -> None:
        header = b"\x81\xa1x" + code * 100_000 + b"\x00"
        assert self.peak_bytes([b"status/node0", header], "limits") < 400_000

    def test_header_and_frame_bytes(self) -> None:
        parts = detections_parts(note="x" * 1000)
        assert reject(parts, Limits(max_header_bytes=1000)).reason == "limits"
        assert reject(frame_parts(), Limits(max_frame_bytes=11)).reason == "limits"
        decode(frame_parts(), Limits(max_frame_bytes=12))

    @settings(max_examples=60, deadline=None)
    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**63), 2**64 - 1)
            | any_float
            | st.text()
            | st.binary()
            | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=40)),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=30,
        )
    )
    def test_any_value_is_passed_over_as_an_unknown_key(self, value: object) -> None:
        """The walk over the bytes agrees with msgpack about where every kind of item ends."""
        limits = Limits(max_nesting=100)
        assert_same_message(decode(detections_parts(extra=value), limits), make_detections())

    def test_limits_must_be_positive(self) -> None:
        with pytest.raises(ValueError, match="max_candidates"):
            Limits(max_candidates=0)


def test_the_longest_topic_is_received_and_a_longer_one_is_told_by_its_length() -> None:
    longest = Detections("a" * 64, EPOCH, 1, 0, x=[], y=[])
    parts = encode(longest)
    assert len(parts[0]) == MAX_TOPIC_BYTES
    assert_same_message(decode(parts), longest)
    for length, words in ((MAX_TOPIC_BYTES, "unknown kind"), (MAX_TOPIC_BYTES + 1, "at most")):
        with pytest.raises(MessageError, match=words):
            decode([b"x" * length, parts[1]])


class TestBuilding:
    @pytest.mark.parametrize(
        ("build", "reason"),
        [
            (lambda: End(**{**KEY, "stream": "a/b"}), "key"),
            (lambda: End(**{**KEY, "epoch": b"1"}), "key"),
            (lambda: End(**{**KEY, "frame_id": 2**64}), "key"),
            (lambda: End(**{**KEY, "frame_id": np.int64(3)}), "key"),
            (lambda: make_frame(np.zeros((2, 2))), "field"),
            (lambda: make_frame(np.zeros((2, 2, 3), np.uint8)), "dimensions"),
            (lambda: make_frame(np.zeros((0, 2), np.uint8)), "dimensions"),
            (lambda: make_frame(saturation=0), "field"),
            (lambda: Detections(**KEY, x=np.zeros(2), y=np.zeros(2)), "field"),  # type: ignore[arg-type]
            (lambda: Detections(**KEY, x=[np.float32(1)], y=[1.0]), "field"),  # type: ignore[list-item]
            (lambda: EngineInfo("onnxruntime", "m", "0", np.float32(1)), "field"),  # type: ignore[arg-type]
            (lambda: EngineInfo("onnxruntime", None, "0", 1.0), "field"),  # type: ignore[arg-type]
            (lambda: Detections(**KEY, x=[1.0], y=[]), "field"),
            (lambda: make_targets(status="done"), "field"),
            (lambda: make_targets(spots=Spots.empty()), "field"),
            (lambda: Timing(1, 2, 3, 4, -5), "field"),
            (lambda: Status(node="n", timestamp_ns=1, body={1: 2}), "field"),  # type: ignore[dict-item]
        ],
    )
    def test_invalid_messages_cannot_be_built(self, build: Callable, reason: str) -> None:
        with pytest.raises(MessageError) as caught:
            build()
        assert caught.value.reason == reason

    @pytest.mark.parametrize(
        ("field", "low", "high"),
        [("frame_id", 0, 2**64 - 1), ("timestamp_ns", 0, 2**63 - 1)],
    )
    def test_keys_reach_just_as_far_as_their_type(self, field: str, low: int, high: int) -> None:
        key = {"stream": "cam", "epoch": bytes(16), "frame_id": 5, "timestamp_ns": 6}
        for value in (low, high):
            end = End(**{**key, field: value})
            assert decode(encode(end)) == end
        for value in (low - 1, high + 1):
            with pytest.raises(MessageError, match=field):
                End(**{**key, field: value})

    @pytest.mark.parametrize(
        ("column", "low", "high"),
        [
            *(("x", -(2.0**31), 2.0**31), ("y", -(2.0**31), 2.0**31)),
            ("id", -(2**63), 2**63 - 1),
            ("width", 0.0, 2.0**31),
            ("height", 0.0, 2.0**31),
        ],
    )
    def test_columns_reach_just_as_far_as_they_say(
        self, column: str, low: float, high: float
    ) -> None:
        columns: dict[str, Any] = {"x": [1.0], "y": [2.0]}
        for value in (low, high):
            Detections("cam", bytes(16), 5, 6, **{**columns, column: [value]})
        ends = ((low, -math.inf), (high, math.inf))
        beyond = [math.nextafter(end, outwards) for end, outwards in ends]
        for value in (low - 1, high + 1) if column == "id" else beyond:
            with pytest.raises(MessageError, match=f"^{column}: "):
                Detections("cam", bytes(16), 5, 6, **{**columns, column: [value]})

    @pytest.mark.parametrize(
        ("column", "least", "most"),
        [
            *(("count", 0, 2**31 - 1), ("flags", 0, 2**31 - 1), ("id", -(2**63), 2**63 - 1)),
            *(("x", -(2.0**31), 2.0**31), ("y", -(2.0**31), 2.0**31)),
        ],
    )
    def test_spots_reach_just_as_far_as_they_say(
        self, column: str, least: float, most: float
    ) -> None:
        spots = msgspec.to_builtins(make_targets().spots)
        number = len(spots["x"])
        for value in (least, most):
            Spots(**{**spots, column: [value] * number})
        for value, beyond in ((least, -1), (most, 1)):
            wrong = (
                value + beyond if isinstance(value, int) else math.nextafter(value, beyond * 1e99)
            )
            with pytest.raises(MessageError, match=rf"^spots\.{column}: "):
                msgspec.structs.replace(
                    make_targets(), spots=Spots(**{**spots, column: [wrong] * number})
                )

    @pytest.mark.parametrize("name", ["x", "y"])
    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_positions_of_targets_are_finite(self, name: str, value: float) -> None:
        targets = msgspec.to_builtins(make_targets().targets)
        number = len(targets["x"])
        with pytest.raises(MessageError, match=rf"^targets\.{name}: "):
            TargetTable(**{**targets, name: [value] * number})

    @pytest.mark.parametrize("stream", ["a", "a" * 64, "A.z_0-9"])
    def test_names_of_streams_that_are_just_allowed(self, stream: str) -> None:
        end = End(stream, bytes(16), 0, 0)
        assert decode(encode(end)) == end

    def test_foreign_types_in_a_column_are_named_in_order(self) -> None:
        values = ["a", None, (1,), {}, b"", 1j, {1}, True]
        with pytest.raises(MessageError) as caught:
            Detections("cam", bytes(16), 5, 6, x=[*values], y=[1.0] * len(values))
        names = sorted(type(value).__name__ for value in values)
        assert ", ".join(names) in str(caught.value)

    def test_body_that_msgpack_cannot_carry(self) -> None:
        with pytest.raises(MessageError, match="Status"):
            encode(Status(node="n", timestamp_ns=1, body={"count": 2**70}))

    def test_a_cyclic_body_is_refused(self) -> None:
        body: dict = {}
        body["self"] = body
        with pytest.raises(MessageError, match="levels"):
            Status(node="n", timestamp_ns=1, body=body)

    def test_messages_are_frozen(self) -> None:
        with pytest.raises(AttributeError):
            make_frame().frame_id = 3  # type: ignore[misc]


def hex_dump(data: bytes) -> str:
    lines = []
    for offset in range(0, len(data), 16):
        row = data[offset : offset + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{offset:04x}  {row.hex(' '):<47}  {text}")
    return "\n".join(lines)


class TestBounds:
    """The walk over the bytes against what msgpack's own encoder makes."""

    VALUES: ClassVar[list[object]] = [
        *(None, True, False, 0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1),
        *(-1, -32, -33, -128, -129, -32768, -32769, -(2**31), -(2**31) - 1, -(2**63), 1.5),
        *("", "a" * 31, "a" * 32, "a" * 255, "a" * 256, "a" * 65_535, "a" * 65_536),
        *(b"", b"a" * 255, b"a" * 256, b"a" * 65_536),
        *(msgpack.ExtType(5, bytes(size)) for size in (0, 1, 2, 3, 4, 5, 8, 16, 17, 256, 65_536)),
        *([], [1] * 15, [1] * 16, [1] * 65_535, [1] * 65_536, [1.5] * 20, [1, 2.5, "x", None]),
        *([300] * 20, ["a"] * 20, [[1], [2]], [{}, {"a": 1}], [-1] * 17, [None] * 17),
        *({}, {str(n): n for n in range(15)}, {str(n): n for n in range(16)}),
    ]
    LIMITS = Limits(max_header_bytes=2**22, max_string_bytes=65_536)

    @pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
    def test_it_ends_where_the_map_ends(self, value: object) -> None:
        data = msgpack.packb({"value": value, "after": 7})
        bounds.check_bounds(data, self.LIMITS, 65_536)
        for wrong, what in ((data[:-1], "middle"), (data + b"\xc0", "goes on")):
            with pytest.raises(MessageError, match=what):
                bounds.check_bounds(wrong, self.LIMITS, 65_536)

    @pytest.mark.parametrize("single", [1.5, 1.5e10])
    def test_short_floats(self, single: float) -> None:
        data = msgpack.packb([{"a": single}, {"b": [single] * 9}], use_single_float=True)
        bounds.check_bounds(data, self.LIMITS, 100)

    @pytest.mark.parametrize(
        ("limit", "value", "larger"),
        [
            ({"max_string_bytes": 40}, "a" * 40, "a" * 41),
            ({"max_string_bytes": 40}, b"a" * 40, b"a" * 41),
            (
                {"max_string_bytes": 300},
                msgpack.ExtType(1, bytes(300)),
                msgpack.ExtType(1, bytes(301)),
            ),
            ({"max_containers": 4}, [[], [], []][:2], [[], [], []]),
            ({"max_nesting": 3}, [[]], [[[]]]),
            ({}, [0] * 100, [0] * 101),
            ({}, dict.fromkeys(map(str, range(1024))), dict.fromkeys(map(str, range(1025)))),
        ],
    )
    def test_what_is_just_small_enough(self, limit: dict, value: object, larger: object) -> None:
        limits = Limits(**limit)
        bounds.check_bounds(msgpack.packb({"v": value}), limits, 100)
        with pytest.raises(MessageError) as caught:
            bounds.check_bounds(msgpack.packb({"v": larger}), limits, 100)
        assert caught.value.reason == "limits"


class TestPage:
    """docs/wire-format.md says what the code does."""

    @pytest.mark.parametrize("message", [make_frame(), make_detections()], ids=["frame", "dets"])
    def test_byte_examples(self, message: Message) -> None:
        page = PAGE.read_text()
        for index, part in enumerate(encode(message)):
            block = f"Part {index}, {len(part)} bytes:\n\n```text\n{hex_dump(bytes(part))}\n```"
            assert block in page, f"docs/wire-format.md must contain:\n{block}"

    def test_tables(self) -> None:
        page = PAGE.read_text()
        for reason in REJECTIONS:
            assert f"| `{reason}` |" in page
        for status in STATUSES:
            assert f"| `{status}` |" in page
        for flag in SpotFlag:
            assert re.search(rf"\| {flag.value} \| {flag.name} ", page)
        for name in Limits.__struct_fields__:
            assert f"| `{name}` | {getattr(Limits(), name):,} |" in page

    def test_every_key_is_listed(self) -> None:
        page = PAGE.read_text()
        for message in make_all():
            header = msgpack.unpackb(bytes(encode(message)[1]))
            nested = [header[k] for k in ("spots", "targets", "engine", "timing") if k in header]
            for key in [*header, *(key for table in nested for key in table)]:
                assert f"`{key}`" in page

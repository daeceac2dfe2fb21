"""Recordings are read as far as they go: cut anywhere, damaged anywhere, or by other programs."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.opcode import Opcode
from mcap.writer import CompressionType, IndexType, Writer

from dscsnet.pipeline.errors import SourceError
from dscsnet.pipeline.messages import encode
from dscsnet.pipeline.recording import reader as reader_module
from dscsnet.pipeline.recording import scan as scan_module
from dscsnet.pipeline.recording import segment as segment_module
from dscsnet.pipeline.recording.layout import pack, unpack
from dscsnet.pipeline.recording.names import RecordingError
from dscsnet.pipeline.recording.reader import RecordingReader, is_recording, recording_files
from dscsnet.pipeline.recording.scan import load_chunk, message_data, scan
from dscsnet.pipeline.recording.segment import ChunkBuffers, Segment
from dscsnet.pipeline.replay import Range
from dscsnet.pipeline.replay.selection import Selection
from dscsnet.pipeline.sources import open_source

Write = Callable[..., Path]


def numbers(reader: RecordingReader, kind: str = "frame") -> list[int]:
    return [recorded.message.frame_id for recorded in reader.messages((kind,))]


def try_to_read(path: Path) -> tuple[list[int], list[str]] | None:
    """Frame numbers and losses, or None where nothing is left; any other error fails the test."""
    try:
        reader = RecordingReader([path])
    except RecordingError:
        return None
    found = numbers(reader)
    return found, reader.lost


@pytest.fixture
def chunky(
    tmp_path: Path, scene: Any, write_recording: Write, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Six frames, each in a chunk of its own."""
    monkeypatch.setattr("dscsnet.pipeline.recording.files.CHUNK_BYTES", 10)
    return write_recording(tmp_path / "out.mcap", scene().all(6))


def test_a_file_cut_anywhere_gives_the_chunks_before(
    chunky: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = chunky.read_bytes()
    footer = len(whole) - 8 - 29  # the magic at the end says nothing that is needed
    before: list[int] = []
    for length in [*range(0, len(whole), 31), len(whole)]:
        chunky.write_bytes(whole[:length])
        found = try_to_read(chunky)
        if found is None:
            assert not before
            continue
        frames, lost = found
        assert frames == list(range(len(frames)))
        assert len(frames) >= len(before)
        assert bool(lost) == (length < footer + 29)
        before = frames
    assert before == [0, 1, 2, 3, 4, 5]
    assert "bytes are lost" in caplog.text


def test_any_byte_may_be_wrong(chunky: Path) -> None:
    """Never another error than the one that says so, and never another message."""
    whole = bytearray(chunky.read_bytes())
    generator = np.random.default_rng(5)
    for place in generator.choice(len(whole), 150, replace=False):
        damaged = whole.copy()
        damaged[place] ^= 1 << int(generator.integers(8))
        chunky.write_bytes(damaged)
        found = try_to_read(chunky)
        assert found is None or set(found[0]) <= {0, 1, 2, 3, 4, 5}


def test_a_damaged_chunk_is_left_out_and_the_rest_is_read(chunky: Path) -> None:
    whole = bytearray(chunky.read_bytes())
    place = whole.find(np.full((4, 6), 3, np.uint16).tobytes())
    whole[place] ^= 0xFF
    chunky.write_bytes(whole)
    reader = RecordingReader([chunky])
    assert numbers(reader) == [0, 1, 2, 4, 5]
    assert reader.lost == [f"{chunky}: 1 damaged messages are left out"]


def test_an_end_of_zeros_is_left_out(chunky: Path) -> None:
    """A machine that lost its power leaves those."""
    whole = chunky.read_bytes()
    cut = whole.rfind(b"\x06", 0, len(whole) // 2)
    chunky.write_bytes(whole[:cut] + bytes(len(whole) - cut))
    found = try_to_read(chunky)
    assert found is not None
    assert found[0]
    assert found[1]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not an MCAP recording: it is empty"),
        (b"\x89PNG\r\n\x1a\n and more", r"not an MCAP recording: it begins with b'\\x89PNG"),
        (segment_module.MCAP0_MAGIC, "no message of this wire format is in it"),
        (segment_module.MCAP0_MAGIC + b"\x01", "no message of this wire format is in it"),
        (segment_module.MCAP0_MAGIC + b"\x06" + b"\xff" * 40, "no message of this wire format"),
        (
            segment_module.MCAP0_MAGIC + struct.pack("<BQ", 6, 8) + bytes(8),
            "no message of this wire format",
        ),
    ],
)
def test_what_is_no_recording_says_so(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "x.mcap"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=complaint):
        RecordingReader([path])


def test_files_that_are_not_there_say_so(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"none\.mcap: cannot be read: "):
        RecordingReader(recording_files([str(tmp_path / "none.mcap")]))
    assert not is_recording(str(tmp_path))
    assert not is_recording(str(tmp_path / "*.mcap"))
    (tmp_path / "a.mcap").write_bytes(b"")
    (tmp_path / "._a.mcap").write_bytes(b"")
    for spec in (tmp_path, tmp_path / "*.mcap", tmp_path / "a.mcap"):
        assert recording_files([str(spec)]) == [tmp_path / "a.mcap"]


def test_files_come_by_name_whatever_the_folder_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{name}.mcap" for name in "abc"]
    for path in paths:
        path.write_bytes(b"")
    for listed in (paths, paths[::-1], [paths[1], paths[2], paths[0]]):
        monkeypatch.setattr(Path, "iterdir", lambda _folder, listed=listed: iter(listed))
        monkeypatch.setattr(
            reader_module.glob, "glob", lambda *_, listed=listed, **__: list(map(str, listed))
        )
        assert recording_files([str(tmp_path)]) == paths
        assert recording_files([str(tmp_path / "*.mcap")]) == paths
    named = [str(paths[2]), str(paths[0])]
    assert recording_files(named) == [paths[2], paths[0]]  # as they were named


def test_a_chunk_that_states_a_wild_size_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_module, "MAX_CHUNK_BYTES", 10_000)
    path = tmp_path / "x.mcap"
    for compression in ("zstd", "lz4"):
        packed = segment_module._compressors[compression](bytes(50_000))
        for stated, complaint in ((50_000, "a chunk of 50000 bytes"), (100, "has 101")):
            fields = struct.pack("<QQQI", 0, 1, stated, 0)
            name = compression.encode()
            fields += struct.pack("<I", len(name)) + name + struct.pack("<Q", len(packed)) + packed
            path.write_bytes(struct.pack("<BQ", 6, len(fields)) + fields)
            with path.open("rb") as file, pytest.raises(ValueError, match=complaint):
                load_chunk(file, 0)


def uncompressed_chunk(size: int) -> bytes:
    """The record of a chunk with so many bytes in it."""
    fields = struct.pack("<QQQI", 0, 1, size, 0) + struct.pack("<I", 0)
    fields += struct.pack("<Q", size) + bytes(range(size % 256)) + bytes(size - size % 256)
    return struct.pack("<BQ", 6, len(fields)) + fields


class Reads(io.BytesIO):
    """Remembers how much was asked for at once."""

    largest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.largest = max(self.largest, 2**63 if size is None or size < 0 else size)
        return super().read(size)


def test_a_chunk_of_just_the_greatest_size_is_loaded_and_no_larger_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither by the size of the record nor by that of what is in it."""
    chunk = uncompressed_chunk(1000)
    length = len(chunk) - 9
    monkeypatch.setattr(scan_module, "MAX_CHUNK_BYTES", length)
    assert len(load_chunk(Reads(chunk), 0)) == 1000
    for most in (length - 1, 1000):
        monkeypatch.setattr(scan_module, "MAX_CHUNK_BYTES", most)
        file = Reads(chunk)
        with pytest.raises(ValueError, match=f"a chunk of {length} bytes"):
            load_chunk(file, 0)
        assert file.largest == most
    monkeypatch.setattr(scan_module, "MAX_CHUNK_BYTES", 1000)
    packed = segment_module._compressors["zstd"](bytes(1001))
    for stated, complaint in ((1001, "a chunk of 1001 bytes"), (1000, "has 1001")):
        fields = struct.pack("<QQQI", 0, 1, stated, 0) + struct.pack("<I", 4) + b"zstd"
        fields += struct.pack("<Q", len(packed)) + packed
        with pytest.raises(ValueError, match=complaint):
            load_chunk(io.BytesIO(struct.pack("<BQ", 6, len(fields)) + fields), 0)


def test_a_record_of_just_the_greatest_length_is_read(
    chunky: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest records beside the chunks are the schemas' channels and the indexes."""
    whole = chunky.read_bytes()
    lengths, place = [], len(segment_module.MCAP0_MAGIC)
    while place < len(whole) - 8:
        opcode, length = struct.unpack_from("<BQ", whole, place)
        lengths += [length] * (opcode in (Opcode.CHANNEL, Opcode.MESSAGE_INDEX, Opcode.METADATA))
        place += 9 + length
    monkeypatch.setattr(scan_module, "MAX_RECORD_BYTES", max(lengths))
    assert not scan(chunky).lost
    monkeypatch.setattr(scan_module, "MAX_RECORD_BYTES", max(lengths) - 1)
    assert any("too long" in phrase for phrase in scan(chunky).lost)


def test_a_message_lies_whole_in_its_chunk() -> None:
    def record(length: int, data: bytes) -> bytes:
        return struct.pack("<BQ", Opcode.MESSAGE, length) + bytes(22) + data

    assert bytes(message_data(record(26, b"data"), 0)) == b"data"
    assert bytes(message_data(b"..." + record(22, b""), 3)) == b""
    for damaged, offset, complaint in (
        (record(27, b"data"), 0, "no message"),
        (record(21, b"data"), 0, "no message"),
        (b"\x06" + record(26, b"data")[1:], 0, "no message"),
        (record(26, b"data"), 27, "behind its chunk"),
        (bytes(8), 0, "behind its chunk"),
    ):
        with pytest.raises(ValueError, match=complaint):
            message_data(damaged, offset)


def test_two_streams_and_two_epochs_stay_apart(
    tmp_path: Path, scene: Any, write_recording: Write
) -> None:
    messages = [
        *scene("a", b"1" * 16).all(3),
        *scene("b", b"2" * 16).all(2),
        *scene("a", b"3" * 16).all(2),
    ]
    reader = RecordingReader([write_recording(tmp_path / "out.mcap", messages)])
    assert reader.streams() == ["a", "b"]
    assert [r.message.key for r in reader.messages()] == [message.key for _, message in messages]
    assert len(reader.times(("frame",), ("a",))) == 5
    assert {r.message.stream for r in reader.messages(streams=("b",))} == {"b"}
    recorded = list(reader.messages())
    for first, last in ((0, 4), (2, 2), (3, len(recorded) - 1)):  # both ends are included
        times = recorded[first].log_time, recorded[last].log_time
        within = reader.messages(first_ns=times[0], last_ns=times[1])
        assert [r.log_time for r in within] == [r.log_time for r in recorded[first : last + 1]]
    assert reader.start_ns == recorded[0].log_time
    with pytest.raises(SourceError, match="expected one stream, got frames of 2 streams"):
        open_source(tmp_path / "out.mcap")


def test_streams_are_named_in_order_whatever_came_first(
    tmp_path: Path, scene: Any, write_recording: Write
) -> None:
    names = ["k", "b", "z", "a", "m", "c", "x", "d"]
    messages = [("frames", scene(name).frame(0)) for name in names]
    reader = RecordingReader([write_recording(tmp_path / "out.mcap", messages)])
    assert reader.streams() == sorted(names)
    assert reader.streams("targets") == []
    with pytest.raises(SourceError, match=r"no frames of p, q; there are a, b, c, d, k, m, x, z"):
        Selection(reader, ["p", "q"], Range())
    path = write_recording(tmp_path / "end.mcap", [("frames", scene().end(0))])
    for streams in ((), ("cam",)):
        with pytest.raises(SourceError, match="there are no frames in it"):
            Selection(RecordingReader([path]), streams, Range())


@pytest.mark.parametrize(
    ("chosen", "frames"),
    [
        (Range(), range(10)),
        (Range(start=3), range(3, 10)),
        (Range(stop=3), range(3)),
        (Range(start=3, stop=4), range(3, 4)),
        (Range(start_s=2.0), range(2, 10)),
        (Range(stop_s=2.0), range(2)),
        (Range(start_s=0.5, stop_s=3.5), range(1, 4)),
        (Range(start=2, start_s=5.0, stop=8, stop_s=7.0), range(5, 7)),
        (Range(start=6, start_s=5.0, stop=7, stop_s=9.0), range(6, 7)),
    ],
)
def test_a_selection_begins_with_its_first_frame_and_ends_before_its_last(
    chosen: Range, frames: range
) -> None:
    """Frames a second apart, numbered by it; what is read is ten seconds more on each side."""
    start = 1_000 * 10**9

    class Reader:
        start_ns = start

        def times(self, kinds: Any, streams: Any = ()) -> np.ndarray:
            return np.arange(start, start + 10 * 10**9, 10**9, dtype=np.uint64)

        def streams(self) -> list[str]:
            return []

    selection = Selection(Reader(), (), chosen)  # type: ignore[arg-type]
    assert selection.frames == len(frames)
    first, last = start + frames[0] * 10**9, start + frames[-1] * 10**9
    assert (selection.first_ns, selection.last_ns) == (first, last)
    whole = len(frames) == 10
    assert selection.span() == ((0, 2**64 - 1) if whole else (first - 10**10, last + 10**10))


@pytest.mark.parametrize(
    "chosen", [Range(start=3, stop=3), Range(start=3, stop=2), Range(start_s=1.0, stop_s=1.0)]
)
def test_a_range_that_is_empty_whatever_the_recording(chosen: Range) -> None:
    with pytest.raises(SourceError, match="expected start"):
        chosen.check()


def test_a_missing_file_of_several_is_told(
    tmp_path: Path, scene: Any, write_recording: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write_recording(tmp_path / "out.mcap", scene().all(30), segment_mib=0.002)
    files = recording_files([str(tmp_path)])
    files[1].unlink()
    reader = RecordingReader(recording_files([str(tmp_path)]))
    assert reader.lost == ["1 files are missing after number 1"]
    assert reader.lost[0] in caplog.text


@pytest.mark.parametrize(
    ("first", "second", "missing"),
    [
        ({"recording": "r", "segment": "1"}, {"recording": "r", "segment": "2"}, 0),
        ({"recording": "r", "segment": "1"}, {"recording": "r", "segment": "3"}, 1),
        ({"recording": "r", "segment": "2"}, {"recording": "r", "segment": "9"}, 6),
        ({"recording": "r", "segment": "3"}, {"recording": "r", "segment": "1"}, 0),
        ({"recording": "r", "segment": "1"}, {"recording": "s", "segment": "3"}, 0),
        ({"recording": "r", "segment": "one"}, {"recording": "r", "segment": "3"}, 0),
        ({"recording": "r", "segment": "1"}, {"recording": "r", "segment": "three"}, 0),
        ({"recording": "r"}, {"recording": "r", "segment": "3"}, 0),
        ({"recording": "r", "segment": "1"}, {"recording": "r"}, 0),
        ({}, {}, 0),
    ],
)
def test_files_are_missing_only_between_numbers_of_one_recording(
    tmp_path: Path,
    scene: Any,
    first: dict[str, str],
    second: dict[str, str],
    missing: int,
) -> None:
    paths = [tmp_path / "a.mcap", tmp_path / "b.mcap"]
    for number, (path, metadata) in enumerate(zip(paths, (first, second), strict=True)):
        segment, chunk = Segment(path, metadata), ChunkBuffers("")
        message = scene().end(number)
        channel = segment.channel("end/cam", "frames", "msgpack", lambda: ("n", "", b""), "end")
        chunk.add(channel, "end", number, (number, number), pack(message, encode(message)), 0.0)
        segment.write(chunk)
        segment.finish()
        segment.close()
    lost = RecordingReader(paths).lost
    number = first.get("segment")
    assert lost == [f"{missing} files are missing after number {number}"] * bool(missing)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": CompressionType.ZSTD},
        {"compression": CompressionType.LZ4, "chunk_size": 300},
        {"compression": CompressionType.NONE, "index_types": IndexType.NONE},
        {"use_chunking": False},
    ],
)
def test_files_that_other_programs_have_written_anew(
    tmp_path: Path, scene: Any, options: dict[str, Any]
) -> None:
    """Filtered or compressed by a tool: with channels inside chunks, without index, unchunked."""
    path = tmp_path / "other.mcap"
    messages = scene().all(5)
    with path.open("wb") as file:
        writer = Writer(file, **options)
        writer.start()
        channels: dict[str, int] = {}
        for time, (_source, message) in enumerate(messages):
            kind = message.kind
            if kind not in channels:
                encoding = "dscsnet.frame" if kind == "frame" else "msgpack"
                channels[kind] = writer.register_channel(f"{kind}/cam", encoding, 0)
            data = b"".join(pack(message, encode(message)))
            writer.add_message(channels[kind], time, data, time)
        foreign = writer.register_channel("/tf", "cdr", 0)
        writer.add_message(foreign, 99, b"something", 99)
        writer.finish()
    reader = RecordingReader([path])
    assert not reader.lost
    assert [(r.message.kind, r.message.frame_id) for r in reader.messages()] == [
        (message.kind, message.frame_id) for _, message in messages
    ]
    assert scan(path).complete


@pytest.mark.parametrize("index_types", [IndexType.NONE, IndexType.ALL])
def test_a_file_of_another_program_that_broke_off_behind_a_chunk(
    tmp_path: Path, scene: Any, index_types: IndexType
) -> None:
    """Its channels are in the chunk alone: what lists them once more at the end is lost."""
    path = tmp_path / "other.mcap"
    with path.open("wb") as file:
        writer = Writer(file, index_types=index_types)
        writer.start()
        channel = writer.register_channel("end/cam", "msgpack", 0)
        for number in range(4):
            data = b"".join(pack(scene().end(number), encode(scene().end(number))))
            writer.add_message(channel, number, data, number)
        writer.finish()
    whole = path.read_bytes()
    place = len(segment_module.MCAP0_MAGIC)
    while whole[place] != Opcode.DATA_END:
        place += 9 + int.from_bytes(whole[place + 1 : place + 9], "little")
    path.write_bytes(whole[:place])
    reader = RecordingReader([path])
    assert numbers(reader, "end") == [0, 1, 2, 3]
    assert len(reader.lost) == 1
    assert "it has no end" in reader.lost[0]


def test_parts_survive_packing(scene: Any) -> None:
    for message in (scene().frame(1), scene().targets(2), scene().end(3)):
        parts = encode(message)
        data = b"".join(pack(message, parts))
        topic = bytes(parts[0]).decode()
        back = unpack(topic, memoryview(data))
        assert [bytes(part) for part in back] == [bytes(part) for part in parts]
    for short in (b"", b"\x01", b"\xff\xff\xff\xffxyz"):
        with pytest.raises(ValueError, match="longer than the message"):
            unpack("frame/cam", memoryview(short))


def test_the_frames_of_a_recording_are_a_source_of_images(
    tmp_path: Path, scene: Any, write_recording: Write
) -> None:
    write_recording(tmp_path / "out.mcap", scene().all(5))
    with open_source(tmp_path, start=1, stop=4) as source:
        assert (len(source), source.shape, source.dtype) == (3, (4, 6), np.uint16)
        assert [int(frame.pixels[0, 0]) for frame in source] == [1, 2, 3]
    targets = [m for m in scene().all(2) if m[0] == "targets"]
    path = write_recording(tmp_path / "none.mcap", targets)
    with pytest.raises(SourceError, match="expected one stream, got no frames"):
        open_source(path)

"""A file is walked record by record; what of it is lost is told in full."""

import struct
from pathlib import Path

import pytest
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import Channel, Footer, McapRecord, Message, MessageIndex, Metadata, Schema

from dscsnet.pipeline.recording.scan import MCAP0_MAGIC, PLACES, load_chunk, scan
from dscsnet.pipeline.recording.segment import METADATA, ChunkBuffers, Segment

CUT = "it is cut; the last {} bytes are lost"
NO_END = "it has no end; up to the last second may be missing"


def record(*records: McapRecord) -> bytes:
    builder = RecordBuilder()
    for each in records:
        each.write(builder)
    return builder.end()


def channel(number: int, topic: str = "t") -> Channel:
    return Channel(number, topic, "raw", {}, 0)


def message(number: int, log_time: int, data: bytes = b"data") -> Message:
    return Message(number, log_time, data, 0, 0)


def written(folder: Path, *parts: bytes) -> Path:
    path = folder / "a.mcap"
    path.write_bytes(MCAP0_MAGIC + b"".join(parts))
    return path


@pytest.mark.parametrize("zeros", [9, 100])
def test_an_end_of_zeros_is_cut_off_at_once(tmp_path: Path, zeros: int) -> None:
    contents = scan(written(tmp_path, record(channel(1)), bytes(zeros)))
    assert list(contents.channels) == [1]
    assert contents.lost == [CUT.format(zeros)]
    assert not contents.complete


@pytest.mark.parametrize("cut", [1, 8, 9, 12])
def test_a_record_that_is_cut_is_told_with_its_bytes(tmp_path: Path, cut: int) -> None:
    contents = scan(written(tmp_path, record(channel(1)), record(channel(2))[:cut]))
    assert list(contents.channels) == [1]
    assert contents.lost == [CUT.format(cut)]


def test_a_file_ends_with_its_footer(tmp_path: Path) -> None:
    end = record(Footer(0, 0, 0))
    whole = scan(written(tmp_path, record(channel(1)), end, b"what follows is not looked at"))
    assert (whole.complete, whole.lost) == (True, [])
    without = scan(written(tmp_path, record(channel(1))))
    assert (without.complete, without.lost) == (False, [NO_END])


def test_messages_outside_of_chunks_are_found_in_the_order_of_their_time(tmp_path: Path) -> None:
    head = record(Schema(1, b"", "", "s"), channel(3))
    first, second = record(message(3, 50)), record(message(3, 20))
    contents = scan(written(tmp_path, head, first, second))
    start = len(MCAP0_MAGIC) + len(head)
    assert contents.places.dtype == PLACES
    assert contents.places.tolist() == [(20, start + len(first), -1, 3), (50, start, -1, 3)]


def test_of_two_channels_of_one_number_the_first_counts(tmp_path: Path) -> None:
    contents = scan(written(tmp_path, record(channel(1, "first"), channel(1, "second"))))
    assert contents.channels[1].topic == "first"


def test_only_our_own_metadata_is_kept(tmp_path: Path) -> None:
    records = (Metadata("theirs", {"a": "1"}), Metadata(METADATA, {"b": "2"}))
    for order in (records, records[::-1]):
        assert scan(written(tmp_path, record(*order))).metadata == {"b": "2"}
    assert scan(written(tmp_path, record(records[0]))).metadata == {}


def test_a_damaged_record_is_told_and_passed_over(tmp_path: Path) -> None:
    damaged = struct.pack("<BQ", Opcode.CHANNEL, 3) + b"\xff\xff\xff"
    contents = scan(written(tmp_path, damaged, record(channel(2)), record(Footer(0, 0, 0))))
    assert list(contents.channels) == [2]
    (told,) = contents.lost
    assert told.startswith("a record of 3 bytes is damaged (")
    assert contents.complete


def chunk_file(folder: Path, name: str = "b.mcap") -> tuple[Path, bytes, int]:
    """A file with one chunk of two messages; its content, and where the chunk begins."""
    path = folder / name
    segment = Segment(path, {})
    number = segment.channel("t", "", "raw", lambda: ("s", "", b""), "s")
    chunk = ChunkBuffers("")
    for sequence, log_time in enumerate((70, 30)):
        chunk.add(number, "k", sequence, (log_time, log_time), [b"data"], 0.0)
    segment.write(chunk)
    segment.close()
    content = path.read_bytes()
    place = segment._chunks[0].chunk_start_offset
    return path, content, place


def test_a_chunk_gives_the_same_with_and_without_its_index(tmp_path: Path) -> None:
    path, content, place = chunk_file(tmp_path)
    end = place + 9 + struct.unpack_from("<Q", content, place + 1)[0]
    expected = [(30, place, 35, 1), (70, place, 0, 1)]  # a message of 4 bytes takes 9 + 22 + 4
    index = record(MessageIndex(1, [(70, 0), (30, 35)]))
    assert content[end:] == index
    for tail in (index, b"", record(MessageIndex(9, [(70, 0)]))):
        path.write_bytes(content[:end] + tail)
        found = scan(path)
        assert found.places.tolist() == expected
        assert found.lost == [NO_END]


def test_an_index_without_a_chunk_is_none(tmp_path: Path) -> None:
    contents = scan(written(tmp_path, record(channel(1), MessageIndex(1, [(5, 0)]))))
    assert len(contents.places) == 0
    assert contents.lost == [NO_END]


def test_a_chunk_must_have_the_size_and_the_checksum_it_states(tmp_path: Path) -> None:
    path, content, place = chunk_file(tmp_path)

    def loaded(at: int, form: str, value: int) -> bytes:
        changed = bytearray(content)
        struct.pack_into(form, changed, place + 9 + at, value)
        path.write_bytes(changed)
        with path.open("rb") as file:
            return load_chunk(file, place)

    (size,) = struct.unpack_from("<Q", content, place + 9 + 16)
    assert len(loaded(16, "<Q", size)) == size == 70
    with pytest.raises(ValueError, match="a chunk of 71 bytes has 70"):
        loaded(16, "<Q", 71)
    with pytest.raises(ValueError, match="its checksum is wrong"):
        loaded(24, "<I", 1)
    assert len(loaded(24, "<I", 0)) == 70  # 0: there is none

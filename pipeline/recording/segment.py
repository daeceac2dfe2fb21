"""Writes one MCAP file, chunk by chunk, so that it can be read whenever it breaks off.

The records are the library's; chunks are put together here, because a recorder in a node must not
copy frames: received buffers go to the file as they are, the rest around them.
"""

import os
import struct
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

import lz4.frame
import zstandard
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)
from mcap.writer import MCAP0_MAGIC

Buffer = bytes | memoryview
Compression = Literal["", "lz4", "zstd"]
METADATA = "dscsnet.recording"
#: The system takes 1024 buffers at once.
BUFFERS_A_WRITE = 512

_MESSAGE = struct.Struct("<BQHIQQ")
_MESSAGE_FIELDS = 22  # bytes of a message record before its data
_CHUNK = struct.Struct("<QQQI")
_compressors: dict[str, Callable[[bytes], bytes]] = {
    "lz4": lambda data: bytes(lz4.frame.compress(data)),
    "zstd": lambda data: zstandard.ZstdCompressor(level=1).compress(data),
}


@dataclass
class ChunkBuffers:
    """A chunk in the making: message records as buffers, and where each message lies.

    Attributes:
        compression: of the whole chunk.
        began: when its first message was added, by whatever clock the caller uses.
    """

    compression: Compression
    began: float = 0.0
    size: int = 0
    buffers: list[Buffer] = field(default_factory=list)
    index: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    kinds: list[str] = field(default_factory=list)
    start: int = 0
    end: int = 0

    def add(
        self,
        channel: int,
        kind: str,
        sequence: int,
        times: tuple[int, int],
        data: Sequence[Buffer],
        now: float,
    ) -> None:
        """Append a message; `times` are log time and publish time, ns."""
        length = sum(len(buffer) for buffer in data)
        log_time, publish_time = times
        head = _MESSAGE.pack(
            Opcode.MESSAGE,
            _MESSAGE_FIELDS + length,
            channel,
            sequence & 0xFFFFFFFF,
            log_time,
            publish_time,
        )
        if not self.kinds:
            self.began, self.start = now, log_time
        self.start, self.end = min(self.start, log_time), max(self.end, log_time)
        self.index[channel].append((log_time, self.size))
        self.kinds.append(kind)
        self.buffers += [head, *data]
        self.size += len(head) + length

    def clear(self) -> None:
        """Begin anew; nothing that was handed out of it changes."""
        self.buffers, self.kinds, self.index = [], [], defaultdict(list)
        self.size = self.start = self.end = 0


class Segment:
    """One file, open for writing; created, never overwritten.

    Args:
        path: must not exist.
        metadata: written at the start as the record `dscsnet.recording`.

    Attributes:
        size: bytes written, all of them whole chunks.

    Raises:
        OSError: the file cannot be created.
    """

    def __init__(self, path: Path, metadata: dict[str, str]) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self.size = 0
        self._schemas: dict[str, Schema] = {}
        self._channels: dict[tuple[str, str], Channel] = {}
        self._chunks: list[ChunkIndex] = []
        self._counts: dict[int, int] = defaultdict(int)
        start = MCAP0_MAGIC + _bytes(Header("", "dscsnet"))
        record = _bytes(Metadata(METADATA, metadata))
        self._metadata = MetadataIndex(len(start), len(record), METADATA)
        self._preamble: list[bytes] = [start, record]  # goes out with the next chunk

    def channel(
        self,
        topic: str,
        source: str,
        message_encoding: str,
        schema: Callable[[], tuple[str, str, bytes]],
        schema_key: str,
    ) -> int:
        """Return the id of a channel, made where it is new; `source` tells equal topics apart."""
        known = self._channels.get((topic, source))
        if known is not None:
            return known.id
        if schema_key not in self._schemas:
            name, form, text = schema()
            added = Schema(id=len(self._schemas) + 1, data=text, encoding=form, name=name)
            self._schemas[schema_key] = added
            self._preamble.append(_bytes(added))
        channel = Channel(
            id=len(self._channels) + 1,
            topic=topic,
            message_encoding=message_encoding,
            metadata={"channel": source} if source else {},
            schema_id=self._schemas[schema_key].id,
        )
        self._channels[topic, source] = channel
        self._preamble.append(_bytes(channel))
        return channel.id

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self._channels)

    def write(self, chunk: ChunkBuffers) -> None:
        """Append a chunk and its message indexes, whole or not at all.

        Raises:
            OSError: they cannot be written; the file ends with the chunk before.
        """
        if not chunk.kinds:
            return
        crc = 0
        for buffer in chunk.buffers:
            crc = zlib.crc32(buffer, crc)
        buffers: list[Buffer] = chunk.buffers
        if chunk.compression:
            buffers = [_compressors[chunk.compression](b"".join(chunk.buffers))]
        size = sum(len(buffer) for buffer in buffers)
        name = chunk.compression.encode()
        fields = _CHUNK.pack(chunk.start, chunk.end, chunk.size, crc)
        fields += struct.pack("<I", len(name)) + name + struct.pack("<Q", size)
        head = struct.pack("<BQ", Opcode.CHUNK, len(fields) + size) + fields
        preamble = b"".join(self._preamble)
        place = self.size + len(preamble)
        indexes, offsets = _message_indexes(chunk, place + len(head) + size)
        self._append([preamble + head, *buffers, indexes])
        self._preamble.clear()
        self._chunks.append(
            ChunkIndex(
                chunk_length=len(head) + size,
                chunk_start_offset=place,
                compression=chunk.compression,
                compressed_size=size,
                message_end_time=chunk.end,
                message_index_length=len(indexes),
                message_index_offsets=offsets,
                message_start_time=chunk.start,
                uncompressed_size=chunk.size,
            )
        )
        for channel, entries in chunk.index.items():
            self._counts[channel] += len(entries)

    def sync(self) -> None:
        """Force what was written onto the disk, and give its memory back to what comes next."""
        os.fdatasync(self._file)
        os.posix_fadvise(self._file, 0, self.size, os.POSIX_FADV_DONTNEED)

    def finish(self) -> None:
        """Write summary and footer.

        Raises:
            OSError: they cannot be written; the file can be read all the same.
        """
        data_end = b"".join(self._preamble) + _bytes(DataEnd(0))
        self._append([data_end + self._summary(self.size + len(data_end)) + MCAP0_MAGIC])
        self._preamble.clear()

    def close(self) -> None:
        """Close the file; one without any content is removed."""
        os.close(self._file)
        if not self.size:
            self.path.unlink(missing_ok=True)

    def _append(self, buffers: Sequence[Buffer]) -> None:
        try:
            written = _write_all(self._file, buffers)
        except OSError:
            os.ftruncate(self._file, self.size)
            os.lseek(self._file, self.size, os.SEEK_SET)
            raise
        self.size += written

    def _summary(self, start: int) -> bytes:
        groups: tuple[tuple[Opcode, Sequence[McapRecord]], ...] = (
            (Opcode.SCHEMA, list(self._schemas.values())),
            (Opcode.CHANNEL, list(self._channels.values())),
            (Opcode.STATISTICS, [self._statistics()]),
            (Opcode.CHUNK_INDEX, self._chunks),
            (Opcode.METADATA_INDEX, [self._metadata]),
        )
        summary, offsets = RecordBuilder(), []
        for opcode, records in groups:
            begin = summary.count
            for record in records:
                record.write(summary)
            if summary.count > begin:
                offsets.append(SummaryOffset(opcode, start + begin, summary.count - begin))
        offsets_start = start + summary.count
        for offset in offsets:
            offset.write(summary)
        content = summary.end()
        footer = struct.pack("<BQQQ", Opcode.FOOTER, 20, start, offsets_start)
        crc = zlib.crc32(footer, zlib.crc32(content))
        return content + _bytes(Footer(start, offsets_start, crc))

    def _statistics(self) -> Statistics:
        return Statistics(
            attachment_count=0,
            channel_count=len(self._channels),
            channel_message_counts=dict(self._counts),
            chunk_count=len(self._chunks),
            message_count=sum(self._counts.values()),
            metadata_count=1,
            message_start_time=min((c.message_start_time for c in self._chunks), default=0),
            message_end_time=max((c.message_end_time for c in self._chunks), default=0),
            schema_count=len(self._schemas),
        )


def _message_indexes(chunk: ChunkBuffers, place: int) -> tuple[bytes, dict[int, int]]:
    builder, offsets = RecordBuilder(), {}
    for channel, entries in chunk.index.items():
        offsets[channel] = place + builder.count
        MessageIndex(channel, entries).write(builder)
    return builder.end(), offsets


def _write_all(file: int, buffers: Sequence[Buffer]) -> int:
    """Write all buffers; returns their size. A full disk takes a part first, then refuses."""
    total, remaining = 0, iter(buffers)
    while batch := list(islice(remaining, BUFFERS_A_WRITE)):
        views = [memoryview(buffer).cast("B") for buffer in batch if len(buffer)]
        while views:
            taken = os.writev(file, views)
            total += taken
            while views and taken >= len(views[0]):
                taken -= len(views.pop(0))
            if taken:
                views[0] = views[0][taken:]
    return total


def _bytes(record: McapRecord) -> bytes:
    builder = RecordBuilder()
    record.write(builder)
    return builder.end()

"""Finds what is in one MCAP file without reading the pixels, also where the file breaks off.

The file is walked from record to record. Chunks are passed over; the message indexes behind them
say where each message lies. So neither summary nor footer is needed, and a file whose recorder was
killed is read up to its last whole chunk.
"""

import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

import lz4.frame
import numpy as np
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Message, MessageIndex, Metadata
from mcap.writer import MCAP0_MAGIC
from numpy.typing import NDArray

from dscsnet.pipeline.recording.names import RecordingError
from dscsnet.pipeline.recording.segment import METADATA
from dscsnet.pipeline.recording.settings import MEBIBYTE

#: Larger chunks are not loaded: their stated size is reserved before anything is read.
MAX_CHUNK_BYTES = 256 * MEBIBYTE
#: Records other than chunks; a longer one is damage.
MAX_RECORD_BYTES = 64 * MEBIBYTE
_HEAD = struct.Struct("<BQ")
_CHUNK_SIZE = struct.Struct("<QQQ")
#: What reading damaged records can raise.
DAMAGE = (
    McapError,
    struct.error,
    ValueError,
    OverflowError,
    RuntimeError,  # of lz4
    zstandard.ZstdError,
    EOFError,
)
T = TypeVar("T")


class Place(NamedTuple):
    """Where a message lies."""

    log_time: int
    chunk: int  # offset of the chunk's record in the file; of the message's own, if in no chunk
    offset: int  # in the chunk's uncompressed data; -1: in no chunk
    channel: int


#: The same as a row of an array: a long recording has millions of them.
PLACES = np.dtype([("log_time", "u8"), ("chunk", "i8"), ("offset", "i8"), ("channel", "u2")])


@dataclass
class Contents:
    """What one file holds.

    Attributes:
        channels: by their id.
        places: (messages,) `PLACES`, of all messages, by time.
        metadata: the record `dscsnet.recording`, empty in files of other programs.
        complete: the file has its end.
        lost: what could not be read, one phrase each.
    """

    channels: dict[int, Channel] = field(default_factory=dict)
    places: NDArray[np.void] = field(default_factory=lambda: np.empty(0, PLACES))
    metadata: dict[str, str] = field(default_factory=dict)
    complete: bool = False
    lost: list[str] = field(default_factory=list)


def scan(path: Path) -> Contents:
    """Return the contents of a file.

    Raises:
        RecordingError: it cannot be read, or is no MCAP file.
    """
    try:
        with path.open("rb") as file:
            if (magic := file.read(len(MCAP0_MAGIC))) != MCAP0_MAGIC:
                what = "is empty" if not magic else f"begins with {magic!r}"
                raise RecordingError(f"{path}: not an MCAP recording: it {what}")
            walk = _Walk(file)
            walk.run()
            return walk.contents
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from error


class _Walk:
    """One pass over the records of a file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._chunk: int | None = None  # the chunk whose indexes are being read
        self._indexes: list[MessageIndex] = []
        self._places: list[NDArray[np.void]] = []
        self.contents = Contents()

    def run(self) -> None:
        place: int | None = self._file.tell()
        while place is not None and place < self._size:
            place = self._record(place)
        if not self.contents.complete and not self.contents.lost:
            self.contents.lost.append("it has no end; up to the last second may be missing")
        self._take_chunk()
        if self._places:
            places = np.concatenate(self._places)
            self.contents.places = places[np.argsort(places["log_time"], kind="stable")]

    def _record(self, place: int) -> int | None:
        """Read the record at `place`; return where the next one begins, None for no further."""
        self._file.seek(place)
        opcode, length = _HEAD.unpack(self._file.read(_HEAD.size).ljust(_HEAD.size, b"\0"))
        end = place + _HEAD.size + length  # beyond the file, too, where the head itself is cut
        if end > self._size or opcode == 0:
            self.contents.lost.append(f"it is cut; the last {self._size - place} bytes are lost")
            return None
        if opcode != Opcode.MESSAGE_INDEX:
            self._take_chunk()
        if opcode == Opcode.FOOTER:
            self.contents.complete = True
            return None
        try:
            self._take(opcode, place, length)
        except DAMAGE as error:
            self._indexes = []  # the chunk itself tells what is in it
            what = f"a record of {length} bytes is damaged ({error or type(error).__name__})"
            self.contents.lost.append(what)
        return end

    def _take(self, opcode: int, place: int, length: int) -> None:
        if opcode == Opcode.CHUNK:
            self._chunk = place
        elif opcode == Opcode.MESSAGE:
            message = self._parse(lambda stream: Message.read(stream, length), length)
            self._add_places([Place(message.log_time, place, -1, message.channel_id)])
        elif opcode == Opcode.CHANNEL:
            self._add_channel(self._parse(Channel.read, length))
        elif opcode == Opcode.MESSAGE_INDEX and self._chunk is not None:
            self._indexes.append(self._parse(MessageIndex.read, length))
        elif opcode == Opcode.METADATA:
            metadata = self._parse(Metadata.read, length)
            if metadata.name == METADATA:
                self.contents.metadata = metadata.metadata

    def _parse(self, read: Callable[[ReadDataStream], T], length: int) -> T:
        if length > MAX_RECORD_BYTES:
            raise ValueError("too long")
        return read(ReadDataStream(BytesIO(self._file.read(length))))

    def _add_channel(self, channel: Channel) -> None:
        self.contents.channels.setdefault(channel.id, channel)

    def _take_chunk(self) -> None:
        """Take the messages of the chunk that was passed over last."""
        place, indexes = self._chunk, self._indexes
        self._chunk, self._indexes = None, []
        if place is None:
            return
        known = all(index.channel_id in self.contents.channels for index in indexes)
        try:
            if indexes and known:
                self._add_places(
                    [
                        Place(log_time, place, offset, index.channel_id)
                        for index in indexes
                        for log_time, offset in index.records
                    ]
                )
            else:
                # Another program's file, or one cut between chunk and index.
                self._walk_chunk(place, load_chunk(self._file, place))
        except DAMAGE as error:
            self.contents.lost.append(f"a chunk is damaged ({error or type(error).__name__})")

    def _walk_chunk(self, place: int, data: bytes) -> None:
        offset, places = 0, []
        while offset + _HEAD.size <= len(data):
            opcode, length = _HEAD.unpack_from(data, offset)
            start = offset + _HEAD.size
            record = data[start : start + length] if opcode != Opcode.MESSAGE else b""
            if opcode == Opcode.CHANNEL:
                self._add_channel(Channel.read(ReadDataStream(BytesIO(record))))
            elif opcode == Opcode.MESSAGE:
                channel, _sequence, log_time = struct.unpack_from("<HIQ", data, start)
                places.append(Place(log_time, place, offset, channel))
            offset = start + length
        self._add_places(places)

    def _add_places(self, places: list[Place]) -> None:
        self._places.append(np.array(places, PLACES))


def load_chunk(file: IO[bytes], place: int) -> bytes:
    """Return the uncompressed data of the chunk whose record begins at `place`.

    Raises:
        ValueError and what else `DAMAGE` lists: it is damaged.
    """
    file.seek(place)
    _opcode, length = _HEAD.unpack(file.read(_HEAD.size))
    record = file.read(min(length, MAX_CHUNK_BYTES))
    *_times, size = _CHUNK_SIZE.unpack_from(record)
    if max(length, size) > MAX_CHUNK_BYTES:
        raise ValueError(f"a chunk of {max(length, size)} bytes")
    chunk = Chunk.read(ReadDataStream(BytesIO(record)))
    data = _unpacked(chunk)
    if len(data) != size:
        raise ValueError(f"a chunk of {size} bytes has {len(data)}")
    if chunk.uncompressed_crc and zlib.crc32(data) != chunk.uncompressed_crc:
        raise ValueError("its checksum is wrong")
    return data


def _unpacked(chunk: Chunk) -> bytes:
    """Unpack a chunk, but no further than to one byte over the size it states."""
    most = chunk.uncompressed_size + 1
    if chunk.compression == "":
        return chunk.data
    if chunk.compression == "zstd":
        with zstandard.ZstdDecompressor().stream_reader(chunk.data) as reader:
            return bytes(reader.read(most))
    if chunk.compression == "lz4":
        return bytes(lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=most))
    raise ValueError(f"unknown compression {chunk.compression[:20]!r}")


def message_data(data: bytes, offset: int) -> memoryview:
    """Return the data of the message at an offset of a chunk.

    Raises:
        ValueError: no message is there.
    """
    if offset + _HEAD.size > len(data):
        raise ValueError("an index points behind its chunk")
    opcode, length = _HEAD.unpack_from(data, offset)
    start = offset + _HEAD.size
    if opcode != Opcode.MESSAGE or start + length > len(data) or length < 22:
        raise ValueError("an index points at no message")
    return memoryview(data)[start + 22 : start + length]

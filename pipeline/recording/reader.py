"""Reads recordings: one file, or the files of one recording in order."""

import glob
import logging
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from dscsnet.pipeline.errors import MessageError
from dscsnet.pipeline.messages import KINDS, Message, decode
from dscsnet.pipeline.recording.layout import SOURCES, Buffer, ChannelName, encoding, unpack
from dscsnet.pipeline.recording.names import RecordingError
from dscsnet.pipeline.recording.scan import DAMAGE, Contents, Place, load_chunk, message_data, scan

log = logging.getLogger(__name__)

SUFFIX = ".mcap"
#: Frames and other messages alternate between two chunks; more than those are seldom needed.
CACHED_CHUNKS = 4
_SOURCE_OF: dict[str, ChannelName] = {
    "frame": "frames",
    "end": "frames",
    "detections": "detections",
    "targets": "targets",
    "status": "targets",
}


@dataclass(frozen=True)
class Recorded:
    """One message of a recording.

    Attributes:
        source: the channel on which it was seen.
        log_time: when it was recorded, ns UTC, rising.
        parts: the ZeroMQ parts, byte for byte.
        message: what they say.
    """

    source: ChannelName
    log_time: int
    parts: list[Buffer]
    message: Message


@dataclass(frozen=True)
class SegmentContents:
    """One file and what it holds."""

    path: Path
    contents: Contents

    def select(self, kinds: Collection[str], streams: Collection[str]) -> NDArray[np.void]:
        """Return the places of some kinds and streams (none: all), by time."""
        numbers = []
        for number, channel in self.contents.channels.items():
            kind, _, stream = channel.topic.partition("/")
            ours = channel.message_encoding == encoding(kind)
            if kind in kinds and stream and ours and (not streams or stream in streams):
                numbers.append(number)
        places = self.contents.places
        return places[np.isin(places["channel"], numbers)]


class RecordingReader:
    """The messages of a recording, in the order in which they came.

    Args:
        paths: its files, in any order: they are sorted by time.

    Attributes:
        description: one phrase for people.
        start_ns: time of the first message.
        lost: what could not be read, one line each; also logged as warnings.

    Raises:
        RecordingError: a file cannot be read, is no recording, or holds no message of ours.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.lost: list[str] = []
        self._segments = [SegmentContents(path, scan(path)) for path in paths]
        for segment in self._segments:
            for phrase in segment.contents.lost:
                self._lose(f"{segment.path}: {phrase}")
        firsts = {id(each): each.select(KINDS, ())["log_time"][:1] for each in self._segments}
        filled = [segment for segment in self._segments if firsts[id(segment)].size]
        if not filled:
            raise RecordingError(f"{_names(paths)}: no message of this wire format is in it")
        self._segments = sorted(filled, key=lambda each: int(firsts[id(each)][0]))
        self.start_ns = int(firsts[id(self._segments[0])][0])
        self._warn_of_gaps()
        self.description = _names([segment.path for segment in self._segments])

    def times(self, kinds: Collection[str], streams: Collection[str] = ()) -> NDArray[np.uint64]:
        """Return the log times of all messages of some kinds (and streams; none: all)."""
        chosen = [segment.select(kinds, streams)["log_time"] for segment in self._segments]
        return np.concatenate(chosen)

    def streams(self, kind: str = "frame") -> list[str]:
        """Return the streams of which there are messages of a kind."""
        found: set[str] = set()
        for segment in self._segments:
            for number in np.unique(segment.select((kind,), ())["channel"]).tolist():
                found.add(segment.contents.channels[number].topic.partition("/")[2])
        return sorted(found)

    def messages(
        self,
        kinds: Collection[str] = KINDS,
        streams: Collection[str] = (),
        *,
        first_ns: int = 0,
        last_ns: int = 2**64 - 1,
    ) -> Iterator[Recorded]:
        """Yield messages, recorded from `first_ns` to `last_ns`; what is damaged is left out.

        Raises:
            RecordingError: a file cannot be read any more.
        """
        for segment in self._segments:
            places = segment.select(kinds, streams)
            times = places["log_time"]
            wanted = places[(times >= first_ns) & (times <= last_ns)]
            if not wanted.size:
                continue
            try:
                with segment.path.open("rb") as file:
                    yield from self._read(segment, wanted, file)
            except OSError as error:
                raise RecordingError(f"{segment.path}: {error.strerror}") from error

    def _read(
        self, segment: SegmentContents, places: NDArray[np.void], file: IO[bytes]
    ) -> Iterator[Recorded]:
        chunks = _Chunks(file)
        lost = 0
        for row in places:
            place = Place(*row.tolist())
            channel = segment.contents.channels[place.channel]
            try:
                parts = unpack(channel.topic, chunks.message(place))
                message = decode(parts)
            except (MessageError, *DAMAGE) as error:
                if not lost:
                    log.warning("%s: %s: %s", segment.path, channel.topic, error)
                lost += 1
                continue
            yield Recorded(_source(channel.metadata, message), place.log_time, parts, message)
        if lost:
            self._lose(f"{segment.path}: {lost} damaged messages are left out")

    def _lose(self, line: str) -> None:
        self.lost.append(line)
        log.warning("%s", line)

    def _warn_of_gaps(self) -> None:
        for one, other in pairwise(segment.contents.metadata for segment in self._segments):
            number, following = one.get("segment", ""), other.get("segment", "")
            same = one.get("recording") == other.get("recording")
            if same and number.isdecimal() and following.isdecimal():
                missing = int(following) - int(number) - 1
                if missing > 0:
                    self._lose(f"{missing} files are missing after number {number}")


class _Chunks:
    """The chunks read last, by their place in the file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._loaded: OrderedDict[int, bytes | Exception] = OrderedDict()

    def message(self, place: Place) -> memoryview:
        """Return the data of a message; raises one of `DAMAGE` where its chunk is damaged."""
        if place.offset < 0:
            self._file.seek(place.chunk)
            head = self._file.read(9)
            return message_data(head + self._file.read(int.from_bytes(head[1:], "little")), 0)
        if place.chunk not in self._loaded:
            try:
                self._loaded[place.chunk] = load_chunk(self._file, place.chunk)
            except DAMAGE as error:
                self._loaded[place.chunk] = error
            while len(self._loaded) > CACHED_CHUNKS:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(place.chunk)
        data = self._loaded[place.chunk]
        if isinstance(data, Exception):
            raise data
        return message_data(data, place.offset)


def is_recording(spec: str) -> bool:
    """Tell whether a replay source is a recording: a file, or a folder or glob of such files."""
    return bool(recording_files([spec]))


def recording_files(specs: Sequence[str]) -> list[Path]:
    """Return the recordings that are named: files, folders and globs of `.mcap`; may be none.

    Raises:
        RecordingError: a folder cannot be read.
    """
    found: list[Path] = []
    for spec in specs:
        path = Path(spec)
        if path.is_dir():
            try:
                found += sorted(entry for entry in path.iterdir() if _is_file(entry))
            except OSError as error:
                raise RecordingError(f"{spec}: cannot be read: {error.strerror}") from error
        elif path.suffix.lower() == SUFFIX and (path.exists() or not glob.has_magic(spec)):
            found.append(path)
        elif not path.exists():
            matches = (Path(match) for match in glob.glob(spec, recursive=True))
            found += sorted(match for match in matches if _is_file(match))
    return found


def _is_file(path: Path) -> bool:
    return path.suffix.lower() == SUFFIX and path.is_file() and path.name[0] != "."


def _source(metadata: dict[str, str], message: Message) -> ChannelName:
    named = metadata.get("channel")
    return next((each for each in SOURCES if each == named), _SOURCE_OF[message.kind])


def _names(paths: Sequence[Path]) -> str:
    if len(paths) == 1:
        return str(paths[0])
    return f"{len(paths)} files, {paths[0]} to {paths[-1].name}" if paths else "no files"

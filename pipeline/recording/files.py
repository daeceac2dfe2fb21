"""The files of one recording, one after the other: what goes where, when the next one begins."""

import contextlib
import errno
import logging
import math
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from dscsnet.pipeline.messages import Frame, Message, Targets
from dscsnet.pipeline.recording.annotations import annotate, annotations_schema
from dscsnet.pipeline.recording.images import image_schema, raw_image
from dscsnet.pipeline.recording.layout import ANNOTATIONS, IMAGES, encoding, pack, schema
from dscsnet.pipeline.recording.names import (
    RecordingError,
    check_unused,
    last_segment,
    segment_path,
)
from dscsnet.pipeline.recording.segment import ChunkBuffers, Compression, Segment
from dscsnet.pipeline.recording.settings import MEBIBYTE, Recording

if TYPE_CHECKING:
    from dscsnet.pipeline.recording.layout import Item

log = logging.getLogger(__name__)

CHUNK_BYTES = 4 * MEBIBYTE
SYNC_S = 1.0
#: A file has at most so many channels; publishers choose the names of streams.
MAX_CHANNELS = 1024


class SegmentFiles:
    """Messages to chunks to files. Frames and images have chunks of their own, so that whoever
    looks for targets need not read the pixels.

    Attributes:
        written: messages in files, by kind.
        lost: messages that could not be written, by reason.
        bytes, count: of all files.
        path: the present file.
        error: what is wrong with the disk; while it is set, everything is lost.

    Raises:
        RecordingError: the first file cannot be created, or is there already.
    """

    def __init__(self, file: Path, settings: Recording, *, go_on: bool) -> None:
        self._file, self._settings = file, settings
        self._number = 0
        self._identity = uuid4().hex
        self.written: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.count = 0
        self.error = ""
        self._finished_bytes = 0
        self._synced_at = time.monotonic()
        self._segment: Segment | None = None
        self._began = 0.0
        frames: Compression = "" if settings.compression == "none" else settings.compression
        self._small, self._large = ChunkBuffers("zstd"), ChunkBuffers(frames)
        if settings.is_segmented and go_on:
            self._number = last_segment(file)
        else:
            check_unused(file, settings.is_segmented)
        self.path = file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._open(time.monotonic())
        except OSError as error:
            raise RecordingError(f"{self.path}: cannot be recorded to: {error.strerror}") from None

    @property
    def bytes(self) -> int:
        """Bytes in all files."""
        segment = self._segment
        return self._finished_bytes + (segment.size if segment else 0)

    def add(self, item: "Item", now: float) -> None:
        """Take one message.

        Raises:
            OSError: the disk did not take the chunk, whose messages are counted as lost.
        """
        if self.error:
            self.lost["disk"] += 1
            return
        self._roll(now)
        segment = self._segment or self._open(now)
        message = item.message
        if segment.channels >= MAX_CHANNELS:
            self.lost["channels"] += 1
            return
        kind = message.kind
        channel = segment.channel(
            f"{kind}/{message.stream}", item.source, encoding(kind), lambda: schema(kind), kind
        )
        times = (item.log_time, message.timestamp_ns)
        chunk = self._large if kind == "frame" else self._small
        chunk.add(channel, kind, message.frame_id, times, pack(message, item.parts), now)
        self._add_views(segment, item, times, now)
        for each in (self._small, self._large):
            if each.size >= CHUNK_BYTES:
                self._write(each)

    def flush(self, now: float, age_s: float) -> None:
        """Write chunks that were begun `age_s` seconds ago or earlier.

        Raises:
            OSError: see `add`.
        """
        if self.error:
            return
        for chunk in (self._small, self._large):
            if chunk.kinds and now - chunk.began >= age_s:
                self._write(chunk)
        if self._settings.sync and self._segment and now - self._synced_at >= SYNC_S:
            self._synced_at = now
            self._segment.sync()

    def close(self) -> None:
        """Write what is there and finish the file."""
        self._finish()

    def _add_views(
        self, segment: Segment, item: "Item", times: tuple[int, int], now: float
    ) -> None:
        message: Message = item.message
        if isinstance(message, Targets) and self._settings.annotations:
            channel = segment.channel(
                f"{ANNOTATIONS}/{message.stream}", "", "json", annotations_schema, ANNOTATIONS
            )
            data = annotate(message)
            self._small.add(channel, ANNOTATIONS, message.frame_id, times, [data], now)
        elif isinstance(message, Frame) and self._settings.images:
            channel = segment.channel(
                f"{IMAGES}/{message.stream}", "", "protobuf", image_schema, IMAGES
            )
            image = raw_image(message, item.parts[2])
            self._large.add(channel, IMAGES, message.frame_id, times, image, now)

    def _write(self, chunk: ChunkBuffers) -> None:
        segment = self._segment
        assert segment is not None, "chunks are begun in a file"
        kinds = Counter(kind for kind in chunk.kinds if kind not in (ANNOTATIONS, IMAGES))
        try:
            segment.write(chunk)
        except OSError as error:
            self.lost["disk"] += kinds.total()
            if error.errno == errno.EFBIG:
                self._began = -math.inf  # another file may still be taken
            raise
        else:
            self.written += kinds
        finally:
            chunk.clear()

    def _roll(self, now: float) -> None:
        """Begin the next file where this one is old or large enough."""
        segment, settings = self._segment, self._settings
        if segment is None:
            return
        size = segment.size + self._small.size + self._large.size
        old = settings.is_segmented and now - self._began >= (settings.segment_s or math.inf)
        if size and (old or 0 < settings.segment_mib * MEBIBYTE <= size):
            self._finish()

    def _finish(self) -> None:
        """Complete the file and close it; a disk that does not take the rest is only reported."""
        segment = self._segment
        if segment is None:
            return
        try:
            for chunk in (self._small, self._large):
                with contextlib.suppress(OSError):  # counted, and told by what fails next
                    self._write(chunk)
            segment.finish()
            if self._settings.sync:
                segment.sync()
        except OSError as error:
            log.error("%s lacks its index, but can be read: %s", self.path, error.strerror)
        finally:
            segment.close()
            self._finished_bytes += segment.size
            self._segment = None

    def _open(self, now: float) -> Segment:
        self._number += 1
        if self._settings.is_segmented:
            self.path = segment_path(self._file, self._number)
        metadata = {"recording": self._identity, "segment": str(self.count + 1)}
        try:
            self._segment = Segment(self.path, metadata)
        except OSError:
            self._number -= 1
            raise
        self.count += 1
        self._began = now
        return self._segment

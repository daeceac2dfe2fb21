"""What is recorded is what came, byte for byte, in files that other programs can read."""

import errno
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader
from msgspec import structs

from dscsnet.pipeline.messages import Detections, Frame, Message, encode
from dscsnet.pipeline.recording import files as files_module
from dscsnet.pipeline.recording import recorder as recorder_module
from dscsnet.pipeline.recording import segment as segment_module
from dscsnet.pipeline.recording.annotations import annotate
from dscsnet.pipeline.recording.names import RecordingError, last_segment, segment_path
from dscsnet.pipeline.recording.reader import RecordingReader, recording_files
from dscsnet.pipeline.recording.recorder import Recorder
from dscsnet.pipeline.recording.segment import ChunkBuffers, Segment
from dscsnet.pipeline.recording.settings import Recording

Write = Callable[..., Path]


def offer(recorder: Recorder, source: Any, message: Message) -> None:
    recorder.offer(source, message, encode(message))


def parts_of(message: Message) -> list[bytes]:
    return [bytes(part) for part in encode(message)]


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_a_recording_gives_back_every_byte_in_order(
    tmp_path: Path, scene: Any, write_recording: Write, compression: str
) -> None:
    messages = scene().all(20)
    path = write_recording(tmp_path / "out.mcap", messages, compression=compression)
    recorded = list(RecordingReader([path]).messages())
    assert [(r.source, [bytes(part) for part in r.parts]) for r in recorded] == [
        (source, parts_of(message)) for source, message in messages
    ]
    times = [r.log_time for r in recorded]
    assert times == sorted(set(times))


def test_the_library_reads_it_with_schemas_indexes_and_checksums(
    tmp_path: Path, scene: Any, write_recording: Write
) -> None:
    path = write_recording(tmp_path / "out.mcap", scene().all(10), images=True)
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        assert summary.statistics.message_count == 10 * 3 + 2 + 10 + 10
        assert summary.statistics.chunk_count == len(summary.chunk_indexes)
        channels = {(c.topic, c.metadata.get("channel", "")): c for c in summary.channels.values()}
        assert set(channels) == {
            ("frame/cam", "frames"),
            ("detections/cam", "detections"),
            ("targets/cam", "targets"),
            ("end/cam", "frames"),
            ("end/cam", "targets"),
            ("annotations/cam", ""),
            ("images/cam", ""),
        }
        for channel in channels.values():
            schema = summary.schemas[channel.schema_id]
            assert schema.data
            if schema.encoding == "jsonschema":
                json.loads(schema.data)
        assert sum(1 for _ in reader.iter_messages()) == summary.statistics.message_count
        # Through the index: only the chunks of the asked-for time are read.
        first = summary.statistics.message_start_time
        assert sum(1 for _ in reader.iter_messages(ending_at=first)) <= 2


def test_annotations_lie_half_a_pixel_further_and_follow_their_schema(
    tmp_path: Path, scene: Any, write_recording: Write
) -> None:
    path = write_recording(tmp_path / "out.mcap", [("targets", scene().targets(3))])
    with path.open("rb") as file:
        [(schema, channel, message)] = [
            *make_reader(file).iter_messages(topics=["annotations/cam"])
        ]
    assert schema is not None
    assert (schema.name, channel.message_encoding) == ("foxglove.ImageAnnotations", "json")
    drawn = json.loads(message.data)
    spot, target = drawn["circles"]
    assert spot["position"] == {"x": 2.0, "y": 2.5}
    assert target["position"] == {"x": 1.75, "y": 2.5}
    assert target["timestamp"] == {"sec": 0, "nsec": 1003}
    assert [text["text"] for text in drawn["texts"]] == ["1", "500"]
    circle = json.loads(schema.data)["properties"]["circles"]["items"]["properties"]
    assert set(spot) == set(circle)
    assert json.loads(annotate(scene().targets(0)))["points"] == []


@pytest.mark.parametrize("flags", [0, 4])
def test_spots_and_targets_are_drawn_where_they_are(scene: Any, flags: int) -> None:
    """A doubtful spot is grey and has a question mark; its text stands at the upper left."""
    message = scene().targets(1_234_567_890)
    table = structs.replace(message.spots, x=[10.0], y=[20.0], count=[2], flags=[flags])
    found = structs.replace(message.targets, x=[30.0], y=[40.0], intensity=[99.6])
    drawn = json.loads(annotate(structs.replace(message, spots=table, targets=found)))
    spot, target = drawn["circles"]
    assert spot["position"] == {"x": 10.5, "y": 20.5}
    assert spot["diameter"] == 11.0
    assert target["position"] == {"x": 30.5, "y": 40.5}
    assert target["diameter"] == 1.0
    number, counts = drawn["texts"]
    assert (number["text"], number["position"]) == ("2?" if flags else "2", {"x": 5.0, "y": 15.0})
    assert (counts["text"], counts["position"]) == ("100", {"x": 31.5, "y": 40.5})
    assert number["timestamp"] == {"sec": 1, "nsec": 234_568_890}
    yellow, grey, green = (1.0, 0.85, 0.2, 0.6), (0.6, 0.6, 0.6, 0.6), (0.2, 1.0, 0.4, 1.0)
    for circle, text, color in ((spot, number, grey if flags else yellow), (target, counts, green)):
        assert (
            circle["outline_color"] == text["text_color"] == dict(zip("rgba", color, strict=True))
        )
        assert circle["fill_color"] == text["background_color"] == dict.fromkeys("rgba", 0.0)
        assert (circle["thickness"], text["font_size"]) == (0.25, 3.0)


def test_a_chunk_spans_its_messages_in_whatever_order_they_came(tmp_path: Path) -> None:
    segment, chunk = Segment(tmp_path / "out.mcap", {}), ChunkBuffers("")
    channel = segment.channel("end/cam", "frames", "msgpack", lambda: ("n", "", b""), "end")
    for number in (5, 9, 3, 7):
        chunk.add(channel, "end", number, (number, number), [b"data"], 0.0)
    assert (chunk.start, chunk.end) == (3, 9)
    segment.write(chunk)
    segment.finish()
    segment.close()
    with (tmp_path / "out.mcap").open("rb") as file:
        summary = make_reader(file, validate_crcs=True).get_summary()
    assert summary is not None
    (index,) = summary.chunk_indexes
    assert (index.message_start_time, index.message_end_time) == (3, 9)
    assert summary.statistics is not None
    assert summary.statistics.message_start_time == 3
    assert summary.statistics.message_end_time == 9
    assert summary.statistics.channel_message_counts == {channel: 4}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_images_are_what_protobuf_reads(
    tmp_path: Path, write_recording: Write, dtype: type
) -> None:
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    from google.protobuf import descriptor_pool, message_factory

    pixels = np.arange(300, dtype=dtype).reshape(15, 20)
    frame = Frame("cam", b"e" * 16, 5, 1_700_000_000_123_456_789, pixels)
    path = write_recording(tmp_path / "out.mcap", [("frames", frame)], images=True)
    with path.open("rb") as file:
        [(schema, _, message)] = [*make_reader(file).iter_messages(topics=["images/cam"])]
    assert schema is not None
    pool = descriptor_pool.DescriptorPool()
    for described in descriptor_pb2.FileDescriptorSet.FromString(schema.data).file:
        pool.Add(described)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName(schema.name))
    image = kind.FromString(message.data)
    assert (image.width, image.height, image.step) == (20, 15, 20 * pixels.itemsize)
    assert image.encoding == {1: "mono8", 2: "16UC1", 4: "32FC1"}[pixels.itemsize]
    assert (image.frame_id, image.data) == ("cam", pixels.tobytes())
    assert image.timestamp.ToNanoseconds() == frame.timestamp_ns


def test_what_the_queue_cannot_hold_is_dropped_and_counted(
    tmp_path: Path, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "POLL_S", 3600)  # nothing is written before the end
    settings = Recording(file=str(tmp_path / "out.mcap"), queue_messages=5, sync=False)
    with Recorder(settings, close_s=30) as recorder:
        for number in range(8):
            offer(recorder, "frames", scene().frame(number))
        state = recorder.snapshot()
        assert (state["queued"], state["dropped"]) == (5, {"queue": 3})
    offer(recorder, "frames", scene().frame(9))
    assert recorder.snapshot()["dropped"] == {"queue": 3, "closed": 1}
    numbers = [
        r.message.frame_id for r in RecordingReader(recording_files([str(tmp_path)])).messages()
    ]
    assert numbers == [0, 1, 2, 3, 4]


def test_the_queue_is_bounded_in_bytes(
    tmp_path: Path, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "POLL_S", 3600)
    large = Frame("cam", b"e" * 16, 0, 7, np.zeros((512, 640), np.uint16))
    settings = Recording(file=str(tmp_path / "out.mcap"), queue_mib=1, sync=False)
    with Recorder(settings, close_s=30) as recorder:
        offer(recorder, "frames", large)
        offer(recorder, "frames", large)  # does not fit any more
        offer(recorder, "targets", scene().targets(0))  # this does
        assert recorder.snapshot()["dropped"] == {"queue": 1}
        assert recorder.snapshot()["queued_bytes"] < 2**20


def test_files_follow_one_another_by_size(
    tmp_path: Path, scene: Any, write_recording: Write
) -> None:
    messages = scene().all(30)
    write_recording(tmp_path / "out.mcap", messages, segment_mib=0.002)
    files = recording_files([str(tmp_path)])
    assert [file.name for file in files] == [f"out-{n:04d}.mcap" for n in range(1, len(files) + 1)]
    assert len(files) > 2
    for file in files:  # each stands for itself
        with file.open("rb") as opened:
            assert make_reader(opened, validate_crcs=True).get_summary() is not None
    reader = RecordingReader(files[::-1])  # in any order
    assert [r.message.kind for r in reader.messages()] == [message.kind for _, message in messages]
    assert not reader.lost


def test_files_follow_one_another_by_time(tmp_path: Path, scene: Any) -> None:
    settings = Recording(file=str(tmp_path / "out.mcap"), segment_s=5, segment_mib=0, sync=False)
    files = files_module.SegmentFiles(tmp_path / "out.mcap", settings, go_on=False)
    start = files._began
    for number, after in enumerate((0.0, 1.0, 4.9, 5.1, 10.0)):
        message = scene().frame(number)
        parts = encode(message)
        item = recorder_module.Item("frames", message, parts, 1 + number, 100)
        files.add(item, start + after)
    files.close()
    counts = [len(RecordingReader([f]).times(("frame",))) for f in recording_files([str(tmp_path)])]
    assert counts == [3, 2]


def test_nothing_is_overwritten(tmp_path: Path, scene: Any, write_recording: Write) -> None:
    path = write_recording(tmp_path / "out.mcap", scene().all(2))
    before = path.read_bytes()
    with pytest.raises(RecordingError, match=r"out\.mcap is there already; choose another name"):
        write_recording(path, scene().all(1))
    assert path.read_bytes() == before
    for number in (1, 7):
        segment_path(path, number).write_bytes(b"")
    with pytest.raises(RecordingError, match=r"out-0007\.mcap is there already"):
        write_recording(path, scene().all(1), segment_s=60)
    with pytest.raises(RecordingError, match=r"out\.mcap is there already"):
        Recorder(Recording(file=str(path), segment_s=0, segment_mib=0), go_on=True)
    # A node that comes back goes on counting.
    with Recorder(Recording(file=str(path), sync=False), go_on=True, close_s=30) as recorder:
        offer(recorder, "frames", scene().frame(0))
    assert last_segment(path) == 8


def test_a_place_that_cannot_be_written_to_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match=r"file/out-0001\.mcap: cannot be recorded to|file"):
        Recorder(Recording(file=str(tmp_path / "file" / "out.mcap")))
    with pytest.raises(RecordingError, match=r"record\.file is not set"):
        Recorder(Recording())


class FullDisk:
    """Takes the place of `os.writev`: takes part of what is written, then is full."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.refusals = 0
        self.refused = threading.Event()
        self._writev = os.writev

    def __call__(self, file: int, buffers: Any) -> int:
        if self.room <= 0:
            self.refusals += 1
            self.refused.set()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = self._writev(file, [memoryview(buffers[0])[: self.room]])
        self.room -= taken
        return taken


def test_a_full_disk_loses_only_what_it_did_not_take(
    tmp_path: Path, scene: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.1)
    monkeypatch.setattr(recorder_module, "FLUSH_S", 0.0)
    disk = FullDisk(10**9)
    monkeypatch.setattr("dscsnet.pipeline.recording.segment.os.writev", disk)
    path = tmp_path / "out.mcap"
    settings = Recording(file=str(path), segment_s=0, segment_mib=0, sync=False)
    with Recorder(settings, close_s=30) as recorder:
        offer(recorder, "frames", scene().frame(0))
        wait_until(lambda: recorder.snapshot()["written"] == {"frame": 1})
        disk.room = 50  # the next chunk fits only in part
        offer(recorder, "frames", scene().frame(1))
        assert disk.refused.wait(30)
        wait_until(lambda: recorder.snapshot()["dropped"] == {"disk": 1})
        wait_until(lambda: bool(recorder.snapshot()["error"]))  # set a moment after the count
        # The file ends with the last whole chunk, and can be read while the disk is full.
        reader = RecordingReader([path])
        assert [r.message.frame_id for r in reader.messages()] == [0]
        disk.room = 10**9
        wait_until(lambda: not recorder.snapshot()["error"])
        offer(recorder, "frames", scene().frame(2))
        wait_until(lambda: recorder.snapshot()["written"] == {"frame": 2})
    assert os.strerror(errno.ENOSPC) in caplog.text
    assert "dropped: disk 1" in caplog.text
    reader = RecordingReader([path])
    assert [r.message.frame_id for r in reader.messages()] == [0, 2]
    assert not reader.lost


def test_a_disk_that_stays_full_leaves_a_readable_file(
    tmp_path: Path, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "FLUSH_S", 0.0)
    disk = FullDisk(10**9)
    monkeypatch.setattr("dscsnet.pipeline.recording.segment.os.writev", disk)
    path = tmp_path / "out.mcap"
    settings = Recording(file=str(path), segment_s=0, segment_mib=0, sync=False)
    with Recorder(settings, close_s=30) as recorder:
        offer(recorder, "frames", scene().frame(0))
        wait_until(lambda: recorder.snapshot()["written"] == {"frame": 1})
        disk.room = 0
        offer(recorder, "frames", scene().frame(1))
        wait_until(lambda: bool(recorder.snapshot()["error"]))
        offer(recorder, "frames", scene().frame(2))
    assert recorder.snapshot()["dropped"] == {"disk": 2}
    reader = RecordingReader([path])
    assert [r.message.frame_id for r in reader.messages()] == [0]
    assert "it has no end" in reader.lost[0]


def test_a_file_over_the_size_limit_of_the_system_is_followed_by_another(tmp_path: Path) -> None:
    """A real limit, in a process of its own."""
    code = f"""
import resource, sys, time
import numpy as np
from dscsnet.pipeline.messages import Frame, encode
from dscsnet.pipeline.recording import recorder
from dscsnet.pipeline.recording.settings import Recording
recorder.RETRY_S, recorder.FLUSH_S = 0.05, 0.0
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
with recorder.Recorder(Recording(file={str(tmp_path / "out.mcap")!r}), close_s=30) as it:
    for number in range(12):
        frame = Frame("cam", b"e" * 16, number, 7, np.full((100, 100), number, np.uint16))
        it.offer("frames", frame, encode(frame))
        while sum((it.snapshot()["written"] | it.snapshot()["dropped"]).values()) <= number:
            time.sleep(0.01)
        while it.snapshot()["error"]:
            time.sleep(0.01)
print(it.snapshot()["dropped"].get("disk"), it.snapshot()["written"]["frame"])
"""
    assert resource.RLIMIT_FSIZE
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lost, written = map(int, done.stdout.split())
    assert lost > 0
    assert lost + written == 12
    files = recording_files([str(tmp_path)])
    assert len(files) == lost + 1
    assert len(list(RecordingReader(files).messages())) == written


def test_many_streams_do_not_fill_the_file_with_channels(
    tmp_path: Path, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "MAX_CHANNELS", 4)
    settings = Recording(file=str(tmp_path / "out.mcap"), sync=False)
    with Recorder(settings, close_s=30) as recorder:
        for number in range(10):
            offer(recorder, "detections", Detections(f"s{number}", b"e" * 16, 0, 7, [], []))
    assert recorder.snapshot()["dropped"] == {"channels": 6}


def test_a_recorder_that_fails_lets_the_others_go_on(
    tmp_path: Path, scene: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(files_module, "pack", fail)
    with Recorder(Recording(file=str(tmp_path / "out.mcap"), sync=False)) as recorder:
        offer(recorder, "frames", scene().frame(0))
        wait_until(lambda: "failed" in recorder.snapshot()["error"])
        offer(recorder, "frames", scene().frame(1))
    assert recorder.snapshot()["dropped"]["closed"] == 1
    assert "a defect" in caplog.text


def test_an_unused_file_is_removed(tmp_path: Path) -> None:
    Segment(tmp_path / "out.mcap", {}).close()
    assert not (tmp_path / "out.mcap").exists()


def test_more_buffers_than_the_system_takes_at_once(tmp_path: Path) -> None:
    segment, chunk = Segment(tmp_path / "out.mcap", {}), ChunkBuffers("")
    channel = segment.channel("end/cam", "frames", "msgpack", lambda: ("n", "", b""), "end")
    for number in range(1500):
        chunk.add(channel, "end", number, (number, number), [b"data", b"", b"!"], 0.0)
    segment.write(chunk)
    segment.finish()
    segment.close()
    with (tmp_path / "out.mcap").open("rb") as file:
        data = [m.data for _, _, m in make_reader(file, validate_crcs=True).iter_messages()]
    assert data == [b"data!"] * 1500


@pytest.mark.parametrize("most", [1, 3, 64, 65, 1000])
def test_a_disk_that_takes_a_little_at_a_time_gets_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """The system may write any part of what it is given, also the end of one buffer and the
    beginning of the next."""
    writev = os.writev

    def a_little(file: int, buffers: Any) -> int:
        given = b"".join(bytes(buffer) for buffer in buffers)
        return writev(file, [given[:most]])

    for name in ("whole", "parts"):
        if name == "parts":
            monkeypatch.setattr(segment_module.os, "writev", a_little)
        segment, chunk = Segment(tmp_path / f"{name}.mcap", {}), ChunkBuffers("")
        channel = segment.channel("end/cam", "frames", "msgpack", lambda: ("n", "", b""), "end")
        for number in range(40):
            data = [bytes([number] * length) for length in (number % 7, 0, 33)]
            chunk.add(channel, "end", number, (number, number), data, 0.0)
        segment.write(chunk)
        segment.finish()
        segment.close()
    whole, parts = ((tmp_path / f"{name}.mcap").read_bytes() for name in ("whole", "parts"))
    assert parts == whole


@pytest.mark.parametrize("sync", [True, False])
def test_the_disk_is_told_to_keep_it_once_a_second(
    tmp_path: Path, scene: Any, monkeypatch: pytest.MonkeyPatch, sync: bool
) -> None:
    synced: list[float] = []
    now = 0.0
    monkeypatch.setattr(segment_module.os, "fdatasync", lambda _: synced.append(now))
    monkeypatch.setattr(files_module.time, "monotonic", lambda: 100.0)
    settings = Recording(file=str(tmp_path / "out.mcap"), segment_s=0, segment_mib=0, sync=sync)
    files = files_module.SegmentFiles(tmp_path / "out.mcap", settings, go_on=False)
    for after in (0.0, 0.5, 0.99, 1.0, 1.5, 1.99, 2.0, 5.0, 5.5):
        now = 100.0 + after
        message = scene().frame(int(after * 100))
        item = recorder_module.Item("frames", message, encode(message), int(after * 100) + 1, 100)
        files.add(item, now)
        files.flush(now, 0.0)
    assert synced == ([101.0, 102.0, 105.0] if sync else [])
    now = 200.0
    files.close()
    assert synced[3:] == ([200.0] if sync else [])


def test_chunks_are_written_when_they_are_old_or_large_enough(
    tmp_path: Path, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Recording(
        file=str(tmp_path / "out.mcap"), segment_s=0, segment_mib=0, sync=False, annotations=False
    )
    files = files_module.SegmentFiles(tmp_path / "out.mcap", settings, go_on=False)

    def add(number: int, now: float) -> None:
        message = scene().end(number)
        files.add(recorder_module.Item("frames", message, encode(message), number, 100), now)

    add(1, 10.0)
    add(2, 10.4)
    files.flush(10.49, 0.5)
    assert not files.written
    files.flush(10.5, 0.5)  # counted from the first of them
    assert files.written == {"end": 2}
    add(3, 11.0)
    monkeypatch.setattr(files_module, "CHUNK_BYTES", 2 * files._small.size)
    assert files.written == {"end": 2}
    add(4, 11.0)  # just as large as that
    assert files.written == {"end": 4}
    files.close()


def test_a_recorder_holds_its_lock_where_threads_meet(
    tmp_path: Path, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the bytes in the queue are miscounted, and one day nothing fits any more."""
    taken = 0

    class Watched:
        def __enter__(self) -> None:
            nonlocal taken
            taken += 1

        def __exit__(self, *_: object) -> None: ...

    settings = Recording(file=str(tmp_path / "out.mcap"), sync=False)
    with Recorder(settings, close_s=30) as recorder:
        pass  # its thread is over
    recorder._closing.clear()
    recorder._lock = Watched()  # type: ignore[assignment]
    offer(recorder, "frames", scene().frame(0))
    assert taken == 1
    recorder.snapshot()
    assert taken == 2
    recorder._write_queue()
    assert taken == 3
    recorder.close()
    assert taken == 5  # to close, and for the last numbers
    recorder._closing.clear()
    monkeypatch.setattr(recorder._files, "flush", lambda *_: 1 / 0)
    recorder._run()  # in this thread
    assert recorder._closing.is_set()
    assert taken == 6


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for what a thread is about to do; fails after half a minute."""
    pause = threading.Event()
    for _ in range(3000):
        if holds():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come true")


def test_after_an_error_of_the_disk_it_is_tried_again_in_5_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Recorder(Recording(file=str(tmp_path / "out.mcap"), segment_s=0, segment_mib=0)) as one:
        pass  # its thread has ended
    now, flushed = [100.0], []
    monkeypatch.setattr(recorder_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(one._files, "flush", lambda *given: flushed.append(given))

    def fail() -> None:
        raise OSError(errno.ENOSPC, "no room")

    one._guarded(fail)
    for now[0], error in ((100.0, "no room"), (104.75, "no room"), (105.0, ""), (106.0, "")):
        one._write_queue()
        assert one.snapshot()["error"] == error
    assert flushed == [(at, 0.5) for at in (100.0, 104.75, 105.0, 106.0)]

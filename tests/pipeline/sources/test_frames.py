"""Recordings frame by frame for a program: keys as recorded, and files closed at the end."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dscsnet


def open_files(path: Path) -> int:
    """How many descriptors of this process are of the file."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found += os.readlink(entry) == str(path)
        except OSError:  # the folder's own
            continue
    return found


@pytest.fixture
def two_cameras(tmp_path: Path, scene: Any, write_recording: Callable[..., Path]) -> Path:
    one, two = scene(), scene("other", b"f" * 16)
    mixed = [m for pair in zip(one.all(4), two.all(4), strict=True) for m in pair]
    return write_recording(tmp_path / "run.mcap", mixed)


def test_a_recordings_keys_are_those_of_its_frames(two_cameras: Path) -> None:
    with dscsnet.open_recording(two_cameras) as recording:
        frames = list(recording)
        assert recording.frame_count == len(frames) == 8
    keys = [(f.stream, f.epoch, f.frame_id, f.timestamp_ns) for f in frames]
    assert keys == [
        (stream, epoch, number, 1000 + number)
        for number in range(4)
        for stream, epoch in (("cam", b"e" * 16), ("other", b"f" * 16))
    ]
    assert [frame.pixels.max() for frame in frames] == [
        number for n in range(4) for number in (n, n)
    ]


def test_streams_and_a_range_can_be_chosen(two_cameras: Path) -> None:
    chosen = dscsnet.open_recording(two_cameras, streams=("other",), start=1, stop=3)
    assert chosen.frame_count == 2
    assert [(frame.stream, frame.frame_id) for frame in chosen] == [("other", 1), ("other", 2)]
    for wrong in ({"start": 8}, {"start": 2, "stop": 2}, {"start": -1}, {"streams": ("none",)}):
        with pytest.raises(dscsnet.SourceError, match="frames"):
            dscsnet.open_recording(two_cameras, **wrong)


def test_files_are_closed_after_the_last_frame_or_on_demand(two_cameras: Path) -> None:
    recording = dscsnet.open_recording(two_cameras)
    next(recording)
    assert open_files(two_cameras) == 1
    assert len(list(recording)) == 7  # where next() ended
    assert open_files(two_cameras) == 0
    with dscsnet.open_recording(two_cameras) as left_early:
        next(left_early)
    assert open_files(two_cameras) == 0
    assert list(left_early) == []


def test_other_sources_are_counted(tmp_path: Path) -> None:
    stack = np.arange(60, dtype=np.uint16).reshape(5, 3, 4)
    times = np.arange(5) * 10 + 7
    np.savez(tmp_path / "two words.npz", frames=stack, timestamps_ns=times)
    frames = list(dscsnet.open_recording(tmp_path / "two words.npz", start=2))
    assert [frame.frame_id for frame in frames] == [2, 3, 4]
    assert [frame.timestamp_ns for frame in frames] == times[2:].tolist()
    assert {(frame.stream, frame.epoch) for frame in frames} == {("two-words", bytes(16))}
    for frame, pixels in zip(frames, stack[2:], strict=True):
        np.testing.assert_array_equal(frame.pixels, pixels)
        assert frame.saturation is None


def test_files_without_times_say_so(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4), np.float32))
    (first, _) = dscsnet.open_recording(tmp_path / "a.npy")
    assert first.timestamp_ns is None


def test_what_cannot_be_opened_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(dscsnet.SourceError, match="no such file"):
        dscsnet.open_recording(tmp_path / "none")
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4)))
    with pytest.raises(dscsnet.SourceError, match="streams"):
        dscsnet.open_recording(tmp_path / "a.npy", streams=("cam",))

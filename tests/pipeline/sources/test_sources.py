"""Replay sources give back exactly the pixels that were written, lazily and in order."""

import logging
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dscsnet.pipeline.errors import SourceError
from dscsnet.pipeline.sources import open_source
from dscsnet.pipeline.sources.pixels import PixelConverter, check_size
from dscsnet.pipeline.sources.readers import _gray_frames
from dscsnet.pipeline.sources.source import READ_AHEAD_FRAMES, natural_order, read_ahead

SHARED_SEQUENCE = Path(__file__).parents[3].parent / "shared" / "data" / "ir_sequence"


def random_frames(dtype: type, count: int = 5, shape: tuple[int, int] = (12, 17)) -> NDArray:
    generator = np.random.default_rng(20)
    if np.issubdtype(dtype, np.floating):
        return generator.normal(1000, 100, (count, *shape)).astype(dtype)
    return generator.integers(0, np.iinfo(dtype).max, (count, *shape), endpoint=True).astype(dtype)


def write_images(folder: Path, frames: NDArray, suffix: str) -> None:
    folder.mkdir(exist_ok=True)
    for number, frame in enumerate(frames, 1):
        assert cv2.imwrite(str(folder / f"frame{number}{suffix}"), frame)


def assert_reads_back(spec: str | Path, frames: NDArray) -> None:
    with open_source(spec) as source:
        assert len(source) == source.frame_count == len(frames)
        assert source.shape == frames.shape[1:]
        assert source.dtype == frames.dtype
        read = list(source)
    assert [frame.index for frame in read] == list(range(len(frames)))
    for frame, expected in zip(read, frames, strict=True):
        assert frame.pixels.dtype == expected.dtype
        assert frame.pixels.flags.c_contiguous
        np.testing.assert_array_equal(frame.pixels, expected)


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        (".png", np.uint8),
        (".png", np.uint16),
        (".bmp", np.uint8),
        (".tif", np.uint8),
        (".tiff", np.uint16),
        (".tif", np.float32),
        (".TIF", np.uint16),
    ],
)
def test_folder_and_glob_read_back_in_natural_order(
    tmp_path: Path, suffix: str, dtype: type
) -> None:
    frames = random_frames(dtype, count=12)  # frame10 must come after frame2
    write_images(tmp_path / "sequence", frames, suffix)
    assert_reads_back(tmp_path / "sequence", frames)
    assert_reads_back(f"{tmp_path}/*/frame*{suffix}", frames)
    assert_reads_back(tmp_path / "sequence" / f"frame1{suffix}", frames[:1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_multi_page_tiff_reads_back(tmp_path: Path, dtype: type) -> None:
    frames = random_frames(dtype, count=9)
    path = tmp_path / "stack.tif"
    assert cv2.imwritemulti(str(path), list(frames))
    before = path.read_bytes()
    assert_reads_back(path, frames)
    assert path.read_bytes() == before


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_arrays_read_back(tmp_path: Path, dtype: type) -> None:
    frames = random_frames(dtype)
    np.save(tmp_path / "stack.npy", frames)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(frames))
    np.save(tmp_path / "big_endian.npy", frames.astype(frames.dtype.newbyteorder(">")))
    np.save(tmp_path / "one.npy", frames[0])
    np.savez(tmp_path / "only.npz", anything=frames, gain=np.float64(2.0))
    np.savez_compressed(tmp_path / "named.npz", frames=frames, dark=frames + dtype(1))
    for name in ("stack.npy", "fortran.npy", "big_endian.npy", "only.npz", "named.npz"):
        assert_reads_back(tmp_path / name, frames)
    assert_reads_back(tmp_path / "one.npy", frames[:1])


@pytest.mark.parametrize(
    ("stored", "expected"),
    [(np.bool_, np.uint8), (np.int16, np.uint16), (np.float16, np.float32)]
    + [(dtype, np.float32) for dtype in (np.int32, np.uint32, np.int64, np.uint64, np.float64)],
)
def test_other_types_travel_exactly(tmp_path: Path, stored: type, expected: type) -> None:
    frames: NDArray = np.arange(24).reshape(2, 3, 4).astype(stored)
    np.save(tmp_path / "stack.npy", frames)
    assert_reads_back(tmp_path / "stack.npy", frames.astype(expected))


@pytest.mark.parametrize(
    ("shape", "dtype", "accepted"),
    [
        *(((16384, 1), np.uint8, True), ((1, 16384), np.uint8, True)),
        *(((16385, 1), np.uint8, False), ((1, 16385), np.uint8, False)),
        *(((8192, 8192), np.uint8, True), ((8192, 8193), np.uint8, False)),
        *(((4096, 8192), np.uint16, True), ((4096, 8192), np.float32, False)),
    ],
)
def test_frames_that_no_receiver_takes_are_refused(
    shape: tuple[int, int], dtype: type, accepted: bool
) -> None:
    """16384 px a side and 64 MiB are taken."""
    if accepted:
        check_size((5, *shape), np.dtype(dtype), "here")
    else:
        with pytest.raises(SourceError, match=f"here: a frame of {shape[1]}x{shape[0]} "):
            check_size((5, *shape), np.dtype(dtype), "here")


def test_an_array_of_frames_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.zeros((2, 1, 16385), np.uint8))
    with pytest.raises(SourceError, match="too large"):
        open_source(tmp_path / "wide.npy")


def test_not_a_number_survives_the_way_to_float32(tmp_path: Path) -> None:
    frames = np.array([[[np.nan, 1.5], [np.inf, 2.0]]])
    np.save(tmp_path / "stack.npy", frames)
    assert_reads_back(tmp_path / "stack.npy", frames.astype(np.float32))


@pytest.mark.parametrize(
    ("frames", "complaint"),
    [
        (np.full((1, 2, 3), 0.1), "float64 pixels must be exact in float32, got 0.1"),
        (np.full((1, 2, 3), 1e300), "exact in float32, got 1e\\+300"),
        (np.full((1, 2, 3), 2**60 + 1), "exact in float32, got 1152921504606846977"),
        (np.full((1, 2, 3), -3, np.int16), "int16 pixels must not be negative, got -3"),
        (np.zeros((1, 2, 3), np.complex64), "type complex64 are not supported"),
        (np.zeros((1, 2, 3), "U1"), "not supported; expected bool, uint8"),
        (np.zeros((1, 2, 3, 3), np.uint8), "got shape \\(1, 2, 3, 3\\)"),
        (np.zeros((0, 2, 3), np.uint8), "got shape \\(0, 2, 3\\)"),
        (np.array([[[None]]]), "not a readable .npy array"),
    ],
)
def test_arrays_that_cannot_travel_are_refused(
    tmp_path: Path, frames: NDArray, complaint: str
) -> None:
    path = tmp_path / "stack.npy"
    np.save(path, frames, allow_pickle=True)
    with pytest.raises(SourceError, match=complaint) as caught:
        open_source(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("codec", "lossless"), [("FFV1", True), ("MJPG", False)])
def test_video_reads_back(tmp_path: Path, codec: str, lossless: bool) -> None:
    frames = np.stack([np.full((24, 32), 20 * k, np.uint8) for k in range(10)])
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 12.5, (32, 24))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV has no {codec}")
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    with open_source(path, start=3, stop=8) as source:
        assert source.rate_hz == 12.5
        assert len(source) == 5
        for _pass in range(2):
            read = list(source)
            assert [frame.index for frame in read] == [3, 4, 5, 6, 7]
            pixels = np.stack([frame.pixels for frame in read]).astype(int)
            assert np.abs(pixels - frames[3:8]).max() <= (0 if lossless else 3)
    with pytest.raises(SourceError, match="start 10 is beyond the last, 9"):
        open_source(path, start=10)


def test_grey_colour_image_gives_its_channel_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames = random_frames(np.uint16, count=2)
    write_images(tmp_path / "rgb", np.stack([frames] * 3, axis=-1), ".png")
    write_images(tmp_path / "rgba", np.stack([frames] * 4, axis=-1), ".png")
    assert_reads_back(tmp_path / "rgb", frames)
    assert_reads_back(tmp_path / "rgba", frames)
    assert not caplog.records


def test_colour_image_gives_its_luminance_and_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    colours = np.random.default_rng(3).integers(0, 256, (4, 6, 7, 3)).astype(np.uint8)
    write_images(tmp_path / "colour", colours, ".png")
    with caplog.at_level(logging.WARNING), open_source(tmp_path / "colour") as source:
        read = np.stack([frame.pixels for frame in source])
    luminance = colours @ np.array([0.114, 0.587, 0.299])  # Rec. 601, blue green red
    assert np.abs(read - luminance).max() <= 0.51
    assert len(caplog.records) == 1
    assert "luminance" in caplog.text


@pytest.mark.parametrize(
    ("times_ms", "rate_hz"), [([5], None), ([5, 45], 25.0), ([5, 5], None), ([5, 10, 55], 40.0)]
)
def test_a_rate_is_the_mean_of_two_times_or_more(
    tmp_path: Path, times_ms: list[int], rate_hz: float | None
) -> None:
    frames = random_frames(np.uint16, count=len(times_ms))
    times = np.array(times_ms) * 1_000_000
    np.savez(tmp_path / "a.npz", frames=frames, timestamps_ns=times)
    with open_source(tmp_path / "a.npz") as source:
        assert source.rate_hz == rate_hz


def test_two_channels_are_refused() -> None:
    with pytest.raises(SourceError, match="x: expected 1, 3 or 4 channels, got 2"):
        PixelConverter().convert(np.zeros((4, 5, 2), np.uint8), "x")


def test_start_and_stop_cut_like_a_slice_and_keep_the_index(tmp_path: Path) -> None:
    frames = random_frames(np.uint16, count=10)
    np.savez(tmp_path / "a.npz", frames=frames, timestamps_ns=np.arange(10) * 1000 + 7)
    with open_source(tmp_path / "a.npz", start=4, stop=100) as source:
        read = list(source)
        assert len(source) == 6
    assert [frame.index for frame in read] == [4, 5, 6, 7, 8, 9]
    assert [frame.timestamp_ns for frame in read] == [4007, 5007, 6007, 7007, 8007, 9007]
    np.testing.assert_array_equal(np.stack([frame.pixels for frame in read]), frames[4:])
    assert source.rate_hz == pytest.approx(1e6)
    for start, stop in ((-1, None), (3, 3), (5, 2)):
        with pytest.raises(SourceError, match="expected 0 <= start < stop"):
            open_source(tmp_path / "a.npz", start=start, stop=stop)
    with pytest.raises(SourceError, match="start 10 is beyond the last, 9"):
        open_source(tmp_path / "a.npz", start=10)


@pytest.mark.parametrize(
    ("timestamps", "complaint"),
    [
        (np.arange(3), "expected 4 integers, got int64 of shape \\(3,\\)"),
        (np.arange(4.0), "expected 4 integers, got float64"),
        (np.array([0, 2, 1, 3]), "never falling"),
        (np.array([-1, 2, 3, 3]), "expected 0 to"),
        (np.array([0, 2, 3, 2**63], np.uint64), "expected 0 to"),
    ],
)
def test_bad_timestamps_are_refused(tmp_path: Path, timestamps: NDArray, complaint: str) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, frames=random_frames(np.uint8, count=4), timestamps_ns=timestamps)
    with pytest.raises(SourceError, match=complaint):
        open_source(path)


def test_npz_without_an_obvious_stack_is_refused(tmp_path: Path) -> None:
    stack = random_frames(np.uint8)
    np.savez(tmp_path / "two.npz", first=stack, second=stack)
    np.savez(tmp_path / "flat.npz", values=np.arange(5))
    with pytest.raises(SourceError, match=r"'frames'.*first \(5, 12, 17\), second"):
        open_source(tmp_path / "two.npz")
    with pytest.raises(SourceError, match=r"got values \(5,\)"):
        open_source(tmp_path / "flat.npz")


def test_mixed_sizes_name_the_first_differing_file(tmp_path: Path) -> None:
    write_images(tmp_path, random_frames(np.uint8, count=3), ".png")
    odd = np.zeros((5, 9), np.uint8)
    cv2.imwrite(str(tmp_path / "frame2.png"), odd)
    with open_source(tmp_path) as source:
        frames = iter(source)
        assert next(frames).index == 0
        with pytest.raises(SourceError, match=r"frame2.png: expected 17x12 uint8.*got 9x5 uint8"):
            next(frames)
    with open_source(tmp_path, allow_mixed_sizes=True) as source:
        assert [frame.pixels.shape for frame in source] == [(12, 17), (5, 9), (12, 17)]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_damaged_image_is_named_at_its_frame(tmp_path: Path, suffix: str) -> None:
    write_images(tmp_path, random_frames(np.uint8, count=4), suffix)
    damaged = tmp_path / f"frame3{suffix}"
    damaged.write_bytes(damaged.read_bytes()[:60])
    with open_source(tmp_path) as source:
        frames = iter(source)
        assert [next(frames).index, next(frames).index] == [0, 1]
        with pytest.raises(SourceError, match=f"frame3{suffix}.*damaged"):
            next(frames)
    damaged.write_bytes(b"")
    with pytest.raises(SourceError, match=f"frame3{suffix}"):
        open_source(damaged)


def test_tiff_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    cv2.imwritemulti(str(path), list(random_frames(np.uint16, count=20)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SourceError, match=r"stack.tif: damaged: cut off after \d+ pages"):
        open_source(path)


def test_tiff_pages_in_a_circle_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "circle.tif"
    # One directory at offset 8 without entries, which names itself as the next.
    path.write_bytes(b"II*\0" + (8).to_bytes(4, "little") + b"\0\0" + (8).to_bytes(4, "little"))
    with pytest.raises(SourceError, match="runs in a circle"):
        open_source(path)


def test_multi_page_tiff_in_a_folder_is_refused(tmp_path: Path) -> None:
    cv2.imwritemulti(str(tmp_path / "stack.tif"), list(random_frames(np.uint8, count=3)))
    with pytest.raises(SourceError, match="one image a file, got 3 pages"):
        open_source(tmp_path)


def test_sources_that_are_not_there_say_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no video")
    (tmp_path / "._frame1.png").write_text("resource fork")
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "old.mcap").touch()
    (tmp_path / "broken.npz").write_text("no zip")
    for spec, complaint in {
        "missing": "no such file or folder",
        "": r"no images; looked for \.png, \.tif, \.tiff, \.bmp",
        "*.png": r"nothing matches; looked for",
        "*.txt": "no images; looked for",
        "notes.txt": "nor a video that OpenCV can open",
        "recordings/old.mcap": "not an MCAP recording: it is empty",
        "recordings": "not an MCAP recording: it is empty",
        "broken.npz": "not a readable .npz archive",
    }.items():
        with pytest.raises(SourceError, match=complaint) as caught:
            open_source(f"{tmp_path}/{spec}")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", ["ffconcat version 1.0\nfile other.avi\n", "#EXTM3U\n#EXTINF:1,\nother.avi\n"]
)
def test_a_playlist_is_no_way_to_other_files(tmp_path: Path, content: str) -> None:
    path = tmp_path / "video.avi"
    path.write_text(content)
    with pytest.raises(SourceError, match="a playlist, not a video"):
        open_source(path)


def test_natural_order_counts() -> None:
    names = ["b1", "a10", "a2", "a02", "A3", "a", "a2b1", "a2b10", "a2b9"]
    ordered = sorted(map(Path, names), key=natural_order)
    assert [path.name for path in ordered] == [
        *("a", "a02", "a2", "a2b1", "a2b9", "a2b10", "A3", "a10", "b1")
    ]


def test_read_ahead_is_bounded_and_ends_its_thread() -> None:
    made: list[int] = []
    full = threading.Event()

    def items():  # type: ignore[no-untyped-def]
        for number in range(100):
            made.append(number)
            if number == READ_AHEAD_FRAMES:
                full.set()
            yield number + 1

    ahead = read_ahead(items(), READ_AHEAD_FRAMES)
    assert next(ahead) == 1
    assert full.wait(60)
    ahead.close()
    assert made == list(range(READ_AHEAD_FRAMES + 1))
    assert not any(thread.name.startswith("read-ahead") for thread in threading.enumerate())


def test_closing_the_source_ends_its_passes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", random_frames(np.uint8, count=50))
    with open_source(tmp_path / "a.npy") as source:
        first, second = iter(source), iter(source)
        assert next(first).index == next(second).index == 0
    assert next(first, None) is None
    assert not any(thread.name.startswith("read-ahead") for thread in threading.enumerate())


@pytest.mark.skipif(not SHARED_SEQUENCE.is_dir(), reason="the shared sequence is not here")
def test_real_sequence_is_complete() -> None:
    with open_source(SHARED_SEQUENCE) as source:
        assert (len(source), source.shape, source.dtype) == (110, (200, 256), np.uint8)
        assert sum(frame.pixels.shape == (200, 256) for frame in source) == 110


def test_a_video_ends_where_nothing_more_comes() -> None:
    class Capture:
        left = 2

        def read(self) -> tuple[bool, np.ndarray | None]:
            self.left -= 1
            assert self.left >= -1, "it is read on behind its end"
            return (True, np.zeros((3, 4, 3), np.uint8)) if self.left >= 0 else (False, None)

    frames = list(_gray_frames(Capture()))  # type: ignore[arg-type]
    assert [each.shape for each in frames] == [(3, 4), (3, 4)]


def test_in_a_folder_only_files_of_images_count(tmp_path: Path) -> None:
    frames = np.ones((2, 4, 6), np.uint8)
    write_images(tmp_path, frames, ".png")
    (tmp_path / "frame3.png").mkdir()
    (tmp_path / "._frame1.png").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("nor this")
    for spec in (tmp_path, tmp_path / "*"):
        with open_source(spec) as source:
            assert len(list(source)) == source.frame_count == 2

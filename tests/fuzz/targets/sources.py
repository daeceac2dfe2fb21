"""What `dscsnet replay` reads."""

from itertools import islice
from pathlib import Path

from dscsnet.pipeline.messages import KINDS, Frame
from dscsnet.pipeline.messages.bounds import Limits
from dscsnet.pipeline.recording.reader import RecordingReader
from dscsnet.pipeline.sources import open_source
from tests.fuzz.contract import ContractError, attempt, check_line, scratch_file
from tests.fuzz.targets.arrays import typed_path

FRAMES, MESSAGES = 4, 100  # read of each source
LIMITS = Limits()


def _read(path: str | Path) -> None:
    attempt(lambda: _frames(path))


def _frames(path: str | Path) -> None:
    with open_source(path) as source:
        for frame in islice(source, FRAMES):
            # Checks itself: what a source gives can be sent.
            made = Frame("fuzz", bytes(16), frame.index, frame.timestamp_ns or 0, frame.pixels)
            if made.pixels.nbytes > LIMITS.max_frame_bytes:
                raise ContractError(f"no receiver takes {made.pixels.nbytes} bytes")


def recording(data: bytes) -> None:
    """A recording: every message in it, and its frames as a source."""
    path = scratch_file("recording.mcap", data)
    reader = attempt(lambda: RecordingReader([path]))
    if reader is None:
        return
    attempt(lambda: [reader.times(("frame",)), reader.streams()])
    messages = attempt(lambda: list(islice(reader.messages(), MESSAGES)))
    for each in messages or []:
        assert each.message.kind in KINDS
    for line in reader.lost:
        check_line(line)
    _read(path)


def source_image(data: bytes) -> None:
    """A PNG or BMP, as the first byte says."""
    _read(typed_path(data, (".png", ".bmp")))


def source_tiff(data: bytes) -> None:
    """A TIFF of one or more pages."""
    _read(scratch_file("stack.tif", data))


def source_npy(data: bytes) -> None:
    """An array file."""
    _read(scratch_file("frames.npy", data))


def source_npz(data: bytes) -> None:
    """An archive of arrays."""
    _read(scratch_file("frames.npz", data))


def source_video(data: bytes) -> None:
    """A video."""
    _read(scratch_file("video.avi", data))

"""Names of the files of a recording: OUT.mcap, or OUT-0001.mcap, OUT-0002.mcap ..."""

import re
from pathlib import Path

from dscsnet.pipeline.errors import SourceError


class RecordingError(SourceError):
    """A recording cannot be written or read."""


def segment_path(file: Path, number: int) -> Path:
    """Return the name of one file of a numbered recording."""
    return file.with_name(f"{file.stem}-{number:04d}{file.suffix}")


def last_segment(file: Path) -> int:
    """Return the highest number that is taken; 0 where there is none."""
    pattern = re.compile(re.escape(file.stem) + r"-([0-9]{4,})" + re.escape(file.suffix))
    numbers = [
        int(found[1])
        for entry in (file.parent.iterdir() if file.parent.is_dir() else ())
        if (found := pattern.fullmatch(entry.name))
    ]
    return max(numbers, default=0)


def check_unused(file: Path, segmented: bool) -> None:
    """Refuse to mix two recordings.

    Raises:
        RecordingError: files of this name are there.
    """
    taken = segment_path(file, last_segment(file)) if segmented else file
    if last_segment(file) if segmented else file.exists():
        raise RecordingError(f"{taken} is there already; choose another name or move it away")

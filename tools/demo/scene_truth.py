"""The simulator's truth file: one JSON object a line, one line a frame."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from dscsnet.engines.errors import DscsnetError
from dscsnet.pipeline.messages import FrameKey


class TrueTargets(msgspec.Struct, frozen=True):
    """Columns of equal length, one entry a target in the frame.

    Attributes:
        cluster: number of the target's cluster in the scene.
        x, y: px.
        intensity: total counts above background.
    """

    cluster: list[int]
    x: list[float]
    y: list[float]
    intensity: list[float]

    def __post_init__(self) -> None:
        if not len(self.cluster) == len(self.x) == len(self.y) == len(self.intensity):
            raise ValueError("targets: columns must have equal lengths")


class TrueFrame(msgspec.Struct, frozen=True):
    """What is in one frame; `epoch` in hexadecimal."""

    stream: str
    epoch: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    frame_id: int
    targets: TrueTargets

    @property
    def key(self) -> FrameKey:
        """The key that the frame and its answer have on the wire."""
        return FrameKey(self.stream, bytes.fromhex(self.epoch), self.frame_id)


def read_truth(path: Path) -> list[TrueFrame]:
    """Read the frames in the order in which they were published.

    Raises:
        DscsnetError: the file cannot be read, or a line is not what the simulator writes.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DscsnetError(f"{path}: cannot be read: {error.strerror}") from None
    decoder = msgspec.json.Decoder(TrueFrame)
    frames = []
    for number, text in enumerate(lines, 1):
        try:
            frames.append(decoder.decode(text))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DscsnetError(f"{path}:{number}: not a line of truth: {error}") from None
    return frames

"""Publishing frames or a recording as a camera would: pacing, selection, report."""

from dscsnet.pipeline.replay.frames import ReplaySettings, run_replay
from dscsnet.pipeline.replay.recordings import PlaySettings, play_recording
from dscsnet.pipeline.replay.report import ReplayReport
from dscsnet.pipeline.replay.selection import Range

__all__ = [
    "PlaySettings",
    "Range",
    "ReplayReport",
    "ReplaySettings",
    "play_recording",
    "run_replay",
]

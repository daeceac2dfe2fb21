"""Wire format version 1: the messages, and how they become ZeroMQ parts and back.

The one place from which the rest of the project imports them; `docs/wire-format.md` is the page
for people who read or write the messages with other programs.
"""

from dscsnet.pipeline.messages.bounds import Limits
from dscsnet.pipeline.messages.checks import NAME_PATTERN
from dscsnet.pipeline.messages.codec import KINDS, REJECTIONS, decode, encode, topic
from dscsnet.pipeline.messages.types import (
    SCHEMA_VERSION,
    STATUSES,
    Detections,
    End,
    EngineInfo,
    Frame,
    FrameKey,
    Kind,
    Message,
    SpotFlag,
    Spots,
    Status,
    Targets,
    TargetsStatus,
    TargetTable,
    Timing,
    new_epoch,
)

__all__ = [
    "KINDS",
    "NAME_PATTERN",
    "REJECTIONS",
    "SCHEMA_VERSION",
    "STATUSES",
    "Detections",
    "End",
    "EngineInfo",
    "Frame",
    "FrameKey",
    "Kind",
    "Limits",
    "Message",
    "SpotFlag",
    "Spots",
    "Status",
    "TargetTable",
    "Targets",
    "TargetsStatus",
    "Timing",
    "decode",
    "encode",
    "new_epoch",
    "topic",
]

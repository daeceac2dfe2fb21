"""Frames and candidates to spots and targets, in this process: no messages, keys or clocks."""

from dscsnet.pipeline.unmix.columns import Result, SpotColumns, TargetColumns
from dscsnet.pipeline.unmix.prepare import Prepared
from dscsnet.pipeline.unmix.stages import Stages
from dscsnet.pipeline.unmix.unmixer import Unmixer

__all__ = ["Prepared", "Result", "SpotColumns", "Stages", "TargetColumns", "Unmixer"]

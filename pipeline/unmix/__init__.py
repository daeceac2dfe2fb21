"""Joined frames to answers: the worker, the engine it holds, and changing that engine."""

from dscsnet.pipeline.unmix.answers import plain_answer
from dscsnet.pipeline.unmix.engine_change import EngineChange, UnmixerSlot
from dscsnet.pipeline.unmix.engine_loading import engine_info, fallbacks, load_engine
from dscsnet.pipeline.unmix.unmixer import Unmixer

__all__ = [
    "EngineChange",
    "Unmixer",
    "UnmixerSlot",
    "engine_info",
    "fallbacks",
    "load_engine",
    "plain_answer",
]

"""Joined frames to answers: the worker, the engine it holds, and changing that engine."""

from dscsnet.pipeline.worker.answers import plain_answer
from dscsnet.pipeline.worker.engine_change import EngineChange, WorkerSlot
from dscsnet.pipeline.worker.engine_loading import engine_info, fallbacks, load_engine
from dscsnet.pipeline.worker.worker import Worker

__all__ = [
    "EngineChange",
    "Worker",
    "WorkerSlot",
    "engine_info",
    "fallbacks",
    "load_engine",
    "plain_answer",
]

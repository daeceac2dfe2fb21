"""Joined frames to answers: the worker, the engine it holds, and changing that engine."""

from dscsnet.pipeline.worker.answers import plain_answer
from dscsnet.pipeline.worker.crew import Crew
from dscsnet.pipeline.worker.engine_change import EngineChange
from dscsnet.pipeline.worker.engine_loading import (
    engine_info,
    load_engine,
    worker_number,
)
from dscsnet.pipeline.worker.pool import WorkerPool, WorkerSlot
from dscsnet.pipeline.worker.pool_loading import load_pool
from dscsnet.pipeline.worker.worker import Worker

__all__ = [
    "Crew",
    "EngineChange",
    "Worker",
    "WorkerPool",
    "WorkerSlot",
    "engine_info",
    "load_engine",
    "load_pool",
    "plain_answer",
    "worker_number",
]

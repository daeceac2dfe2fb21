"""Opens the engines of a pool of workers, and makes the workers."""

import numpy as np
from numpy.typing import NDArray

from dscsnet.pipeline.config import Crop, EngineSettings
from dscsnet.pipeline.cropping.cut import warm_up
from dscsnet.pipeline.monitoring.stages import Observer
from dscsnet.pipeline.process.logs import RateLimitedLog
from dscsnet.pipeline.unmix import Stages
from dscsnet.pipeline.worker.engine_loading import engine_info, load_engines
from dscsnet.pipeline.worker.pool import WorkerPool
from dscsnet.pipeline.worker.psf_drift import PsfDrift
from dscsnet.pipeline.worker.worker import Worker, log


def load_pool(
    settings: EngineSettings,
    workers: int,
    crop: Crop,
    *,
    crops_per_run: int,
    bad_pixels: NDArray[np.bool_] | None,
    observe: Observer,
) -> WorkerPool:
    """Workers whose engines were checked and warmed up.

    Args:
        workers: as `load_engines`.
        crops_per_run: crops in one run of an engine, at most.
        bad_pixels: (H, W) bool mask, or None.
        observe: is told of the durations of every worker's stages, by all their threads.

    Raises:
        ModelError: as `load_engines`.
    """
    engines = load_engines(settings, workers)
    warm_up(engines[0].grid.crop_size)
    psf_drift, complaints = PsfDrift(), RateLimitedLog(log)
    made = []
    for engine in engines:
        stages = Stages(
            engine,
            merge_radius=crop.merge_radius,
            crops_per_frame=crop.max_crops,
            saturation=crop.saturation,
            crops_per_run=crops_per_run,
            bad_pixels=bad_pixels,
        )
        made.append(Worker(stages, engine_info(engine), psf_drift, complaints))
        made[-1].stages.subscribe(observe)
    return WorkerPool(made)

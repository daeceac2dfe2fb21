"""Field crops drawn by processes beside the training, which then never waits for them.

The node's own background estimate is part of a field crop, so crops are made on CPUs, some 50 us
each, while a GPU takes tens of thousands a second.
"""

import atexit
import os
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from dscsnet.tools.simulation.field import FieldProtocol, FieldSimulator

#: Batches that wait for each process's turn.
AHEAD = 4

Columns = tuple[Tensor, ...]


class FieldStream(IterableDataset[Columns]):
    """Endless batches of one process: crops, noise, PSF, x, y, intensity, present.

    Args:
        seed: with the process's number it sets the draws.
    """

    def __init__(self, protocol: FieldProtocol, batch: int, seed: tuple[int, ...]) -> None:
        self.protocol, self.batch, self.seed = protocol, batch, seed

    def __iter__(self) -> Iterator[Columns]:
        torch.set_num_threads(1)
        worker = get_worker_info()
        key = (*self.seed, worker.id if worker else 0)
        seed = int(np.random.SeedSequence(key).generate_state(1)[0])
        simulator = FieldSimulator(self.protocol, seed=seed)
        while True:
            scenes = simulator.draw(self.batch)
            yield (
                *(scenes.crops, scenes.noise, scenes.psf),
                *(scenes.x, scenes.y, scenes.intensity, scenes.present),
            )


def field_feed(
    protocol: FieldProtocol, batch: int, seed: tuple[int, ...], processes: int, *, pinned: bool
) -> Iterator[Columns]:
    """Batches of several processes in turn; they end with the iterator.

    Args:
        pinned: page-locked, for a GPU to fetch.
    """
    return iter(
        DataLoader(
            FieldStream(protocol, batch, seed),
            batch_size=None,  # the stream makes batches
            num_workers=processes,
            prefetch_factor=AHEAD,
            pin_memory=pinned,
            # A fork of a process with threads, a GPU's among them, may hang.
            multiprocessing_context="spawn",
            worker_init_fn=_end_without_ado,
        )
    )


def _end_without_ado(_worker: int) -> None:
    """Threads of a library that still run when a process takes itself apart abort it, now and then.

    PyTorch reports that as a failure of the training, which has what it wanted.
    """
    atexit.register(os._exit, 0)

"""Field crops drawn by processes beside the training, which then never waits for them.

The node's own background estimate is part of a field crop, so crops are made on CPUs, some 50 us
each, while a GPU takes tens of thousands a second.
"""

import atexit
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from dscsnet.tools.simulation.field import FieldProtocol, FieldSimulator
from dscsnet.tools.simulation.source import VALIDATION_SEED, GivenCrops

#: Batches that wait for each process's turn.
AHEAD = 4


class FieldRun:
    """The crops of a run, drawn here or by processes beside it; see `TrainingCrops`.

    Args:
        seed: of the run.
        processes: 0: none.
        device: of the network, where crops are made unless processes make them.
    """

    def __init__(
        self, protocol: FieldProtocol, seed: int, processes: int = 0, *, device: str = "cpu"
    ) -> None:
        self.protocol, self.seed, self.processes = protocol, seed, processes
        self.pinned = torch.device(device).type == "cuda"
        place = "cpu" if processes else device
        self._simulator = FieldSimulator(protocol, seed=seed + 1, device=place)
        self.at_once = self._simulator.at_once and not processes
        self._feed: Iterator[GivenCrops] | None = None
        self._drawn = 0  # batches taken from a feed

    def give(self, batch: int, *, estimate_noise: bool = True) -> GivenCrops:
        """See `CropStream`; all batches of one feed are of the first one's size."""
        if not self.processes:
            return self._simulator.give(batch)
        if self._feed is None:
            seed = (self.seed, self._drawn)
            self._feed = field_feed(self.protocol, batch, seed, self.processes, pinned=self.pinned)
        self._drawn += 1
        return next(self._feed)

    def compile(self) -> None:
        """See `TrainingCrops`."""
        if self.at_once:
            self._simulator.compile()

    @property
    def generator(self) -> torch.Generator:
        """See `TrainingCrops`."""
        return self._simulator.generator

    def start_crops(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of a simulator of their own."""
        return FieldSimulator(self.protocol, seed=VALIDATION_SEED).draw_clean(number)

    def state(self) -> dict[str, Any]:
        """What it takes to go on with the same crops, or with others of a feed."""
        generator, pools = self._simulator.generator.get_state(), self._simulator.pools
        return {"generator": generator, "pools": pools, "drawn": self._drawn}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a stored state."""
        self._drawn = state.get("drawn", 0)  # runs of before had no feed
        self._simulator.generator.set_state(state["generator"].cpu())
        self._simulator.pools = state["pools"]


class FieldStream(IterableDataset[GivenCrops]):
    """Endless batches of one process.

    Args:
        seed: with the process's number it sets the draws.
    """

    def __init__(self, protocol: FieldProtocol, batch: int, seed: tuple[int, ...]) -> None:
        self.protocol, self.batch, self.seed = protocol, batch, seed

    def __iter__(self) -> Iterator[GivenCrops]:
        torch.set_num_threads(1)
        worker = get_worker_info()
        key = (*self.seed, worker.id if worker else 0)
        seed = int(np.random.SeedSequence(key).generate_state(1)[0])
        simulator = FieldSimulator(self.protocol, seed=seed)
        while True:
            yield simulator.give(self.batch)


def field_feed(
    protocol: FieldProtocol, batch: int, seed: tuple[int, ...], processes: int, *, pinned: bool
) -> Iterator[GivenCrops]:
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

"""The proof on a real GPU (`tests/gpu/test_tensorrt_path.py`), rehearsed without one."""

import ctypes
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from dscsnet.engines.model import Model, load_model
from dscsnet.engines.runtimes.tensorrt.graphs import Graphs
from tests.engines.runtimes.tensorrt.fakes import FakeCuda, FakeDriver
from tests.gpu.path import MODEL, Path, PathContract, hung, lost


class FakeCard:
    """A GPU that is made up: its memory is the host's, and its streams are late."""

    device = "cpu"

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda

    def view(self, address: int, shape: tuple[int, ...]) -> torch.Tensor:
        numbers = (ctypes.c_float * int(np.prod(shape))).from_address(address)
        return torch.from_numpy(np.ctypeslib.as_array(numbers).reshape(shape))

    def memory(self) -> None: ...

    def put(self, stream: int, memory: Any, work: Callable[[], None]) -> None:
        self.cuda.streams[stream].add(work)


class FakeBench:
    """The path over fakes."""

    buckets, batches, largest = (1, 8), 24, 20

    def __init__(self) -> None:
        self.cuda = FakeCuda()

    def open(self, model: Model) -> Path:
        graphs = Graphs(FakeDriver(self.cuda))  # type: ignore[arg-type]
        return Path(FakeCard(self.cuda), self.cuda, graphs, model, self.buckets)

    def is_page_locked(self, array: np.ndarray) -> bool:
        return hasattr(array.base, "free")

    def free_memory(self) -> int:
        return -self.cuda.live.total()

    def lose(self) -> None:
        self.cuda.broken = "gone"

    def disturb(self) -> None:
        time.sleep(0.001)

    def occupy(self, path: Path, seconds: float) -> None:
        for lane in path.lanes:
            lane._done.synchronize = lambda: time.sleep(seconds)


@pytest.fixture(name="bench")
def _bench() -> FakeBench:
    return FakeBench()


class TestPath(PathContract):
    """Lanes, graphs, memory, threads."""


def test_a_lost_gpu(bench: FakeBench) -> None:
    path = bench.open(load_model(MODEL))
    assert lost(bench, path) == "the GPU failed: cuGraphLaunch: CUDA_ERROR_ILLEGAL_ADDRESS"
    path.runtime.close()


def test_a_gpu_that_hangs(bench: FakeBench) -> None:
    path = bench.open(load_model(MODEL))
    assert hung(bench, path) == "the GPU has not answered for 1 s"
    path.runtime.close()

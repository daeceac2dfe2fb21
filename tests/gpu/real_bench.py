"""The path on a real GPU, through the real pycuda.

`python -m tests.gpu.real_bench lost` (or `hung`; `torch`: lost, to that runtime) breaks the GPU's
context in a process of its own, and prints what the first batch after it says.
"""

import os
import sys

import numpy as np
import pytest
import torch

from dscsnet.engines.model import Model, load_model
from dscsnet.engines.runtimes import RuntimeOptions, Unavailable
from dscsnet.engines.runtimes.split import BUCKETS
from dscsnet.engines.runtimes.tensorrt import load_pycuda
from dscsnet.engines.runtimes.tensorrt.graphs import Graphs
from dscsnet.engines.runtimes.torch_runtime import open_torch
from tests.gpu.cards import free_memory
from tests.gpu.path import MODEL, Checked, Path, hung, lost
from tests.gpu.stand_in import Card


class RealBench:
    """A real GPU.

    Raises:
        Unavailable: pycuda or a GPU is missing.
    """

    buckets, batches, largest = BUCKETS, 1000, 1500

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise Unavailable("PyTorch sees no GPU", "no_driver")
        self.cuda = load_pycuda()

    def open(self, model: Model) -> Path:
        return Path(Card(), self.cuda, Graphs(), model, self.buckets)

    def is_page_locked(self, array: np.ndarray) -> bool:
        return torch.from_numpy(array).is_pinned()

    def free_memory(self) -> int:
        return free_memory()

    def lose(self) -> None:
        index = torch.tensor([5], device=Card.device)
        with pytest.raises(RuntimeError):  # of the device: an index beyond the end
            torch.zeros(1, device=Card.device)[index].cpu()

    def disturb(self) -> None:
        assert torch.arange(10, device=Card.device).sum().item() == 45

    def occupy(self, path: Path, seconds: float) -> None:
        for lane in path.lanes:
            with torch.cuda.stream(torch.cuda.ExternalStream(lane._stream.handle)):
                torch.cuda._sleep(int(seconds * 1.5e9))  # clock cycles


def main(what: str) -> None:
    bench, model = RealBench(), load_model(MODEL)
    if what == "torch":
        options = RuntimeOptions(precision="fp32")
        opened = Checked(model, open_torch(model, options, need_gpu=True))
        print(lost(bench, opened))
    else:
        opened = path = bench.open(model)
        # To free PyTorch's pools on a lost GPU would end the process; the library has none.
        pools = [c.memory for lane in path.lanes for c in lane._contexts.values()]
        assert pools
        print(lost(bench, path) if what == "lost" else hung(bench, path))
    opened.runtime.close()
    print("closed", flush=True)
    # What PyTorch still holds on a lost GPU would abort the process when it is freed.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])

"""A TensorRT runtime on fakes, with what they saw."""

from collections import Counter

from dscsnet.engines.model import load_model
from dscsnet.engines.runtimes.tensorrt import BuildSettings, TensorRtRuntime
from dscsnet.engines.runtimes.tensorrt.contexts import KeptKernels
from dscsnet.engines.runtimes.tensorrt.graphs import Graphs
from tests.engines.runtimes.tensorrt.fakes import FakeCuda, FakeDriver, FakeTensorRt

MODEL = "csist100k-mlp"
BUCKETS = (1, 8, 64)
SETTINGS = BuildSettings("fp32", BUCKETS)


class Rig:
    """A runtime on fakes, with what they saw."""

    def __init__(self, plan: bytes | None = None, *, graphs: bool = True, refuse: bool = False):
        self.cuda = FakeCuda()
        self.trt = FakeTensorRt(self.cuda, BUCKETS)
        self.plan = load_model(MODEL).network_path.read_bytes() if plan is None else plan
        self.graphs = Graphs(FakeDriver(self.cuda, refuse=refuse)) if graphs else None  # type: ignore[arg-type]

    def open(self, kernels: KeptKernels | None = None) -> TensorRtRuntime:
        given = (self.trt, self.cuda, self.graphs, self.plan, SETTINGS)
        return TensorRtRuntime(*given, kernels=kernels)

    def assert_all_freed(self) -> None:
        assert +self.cuda.live == Counter()
        assert +self.cuda.stacks == Counter()
        assert self.cuda.retained == 0

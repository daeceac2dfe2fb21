"""Runtimes on a real GPU: `make gpu`; skipped elsewhere."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from dscsnet.engines.model import Model, load_model
from dscsnet.engines.runtimes import Runtime, RuntimeOptions
from tests.engines.runtimes.runtime_contract import RuntimeContract
from tests.gpu.cards import LONGEST_S, check_batch, free_memory, in_threads, open_on_gpu

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(LONGEST_S)]

MODEL = "field-unfolded"
BATCHES = 1000
THREADS = 4


class OnGpu(RuntimeContract):
    """The contract, never on the CPU."""

    @classmethod
    def open(cls, model: Model) -> Runtime:
        return open_on_gpu(cls.kind, model, cls.options)


class Half(OnGpu):
    """In half precision.

    Other kernels take other batch sizes, and sum in another order: of a crop that is all but empty
    1.5 % of the little that is there were seen to differ (scene-compact, H200).
    """

    error, alone = 5e-3, 3e-2
    options = RuntimeOptions(precision="fp16")


class Single(OnGpu):
    """In single precision."""

    error, alone = 5e-5, 1e-4
    options = RuntimeOptions(precision="fp32")


class TestTensorRtHalf(Half):
    """TensorRT, fp16."""

    kind = "tensorrt"


class TestTensorRtSingle(Single):
    """TensorRT, fp32."""

    kind = "tensorrt"


class TestTorchHalf(Half):
    """PyTorch with CUDA graphs, fp16."""

    kind = "torch"


class TestTorchSingle(Single):
    """PyTorch with CUDA graphs, fp32."""

    kind = "torch"


@pytest.fixture(params=["tensorrt", "torch"], name="kind", scope="module")
def _kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(name="runtime", scope="module")
def _runtime(kind: str) -> Iterator[Runtime]:
    runtime = open_on_gpu(kind, load_model(MODEL), RuntimeOptions())
    yield runtime
    runtime.close()


def test_a_thousand_batches_of_random_sizes_from_several_threads(runtime: Runtime) -> None:
    model = load_model(MODEL)
    crops = len(model.golden().inputs["crops"])

    def many(seed: int) -> None:
        generator = np.random.default_rng(seed)
        for _ in range(BATCHES // THREADS):
            rows = generator.integers(0, crops, int(generator.integers(1, 1500)))
            check_batch(model, runtime, rows, 5e-3)

    check_batch(model, runtime, np.arange(1), 5e-3)
    before = free_memory()
    in_threads(many, THREADS)
    assert before - free_memory() < 2**20


def test_an_engine_is_opened_while_another_works(kind: str, runtime: Runtime) -> None:
    """As at a SIGHUP: the old engine answers until the new one has recorded its graphs."""
    model, opened = load_model(MODEL), threading.Event()

    def either(number: int) -> None:
        if number == 0:
            try:
                open_on_gpu(kind, model, RuntimeOptions()).close()
            finally:
                opened.set()
        while not opened.is_set():
            check_batch(model, runtime, np.arange(100) % 16, 5e-3)

    in_threads(either, 3)
    check_batch(model, runtime, np.arange(100) % 16, 5e-3)

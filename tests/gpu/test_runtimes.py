"""Runtimes on a real GPU: `make gpu`; skipped elsewhere."""

import ctypes
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from dscsnet.engines.model import load_model
from dscsnet.engines.runtimes import Runtime, RuntimeOptions, Unavailable, open_runtime
from tests.engines.runtimes.runtime_contract import RuntimeContract

pytestmark = pytest.mark.gpu

MODEL = "field-unfolded"
BATCHES = 1000
THREADS = 4


def _half(kind: str) -> type[RuntimeContract]:
    class Contract(RuntimeContract):
        error, alone = 5e-3, 5e-3
        options = RuntimeOptions(precision="fp16")

    Contract.kind = kind
    return Contract


def _single(kind: str) -> type[RuntimeContract]:
    class Contract(RuntimeContract):
        error, alone = 5e-5, 1e-4
        options = RuntimeOptions(precision="fp32")

    Contract.kind = kind
    return Contract


class TestTensorRtHalf(_half("tensorrt")):  # type: ignore[misc]
    """TensorRT, fp16."""


class TestTensorRtSingle(_single("tensorrt")):  # type: ignore[misc]
    """TensorRT, fp32."""


class TestTorchHalf(_half("torch")):  # type: ignore[misc]
    """PyTorch with CUDA graphs, fp16."""


class TestTorchSingle(_single("torch")):  # type: ignore[misc]
    """PyTorch with CUDA graphs, fp32."""


@pytest.fixture(params=["tensorrt", "torch"], name="runtime")
def _runtime(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    try:
        runtime = open_runtime(request.param, load_model(MODEL))
    except Unavailable as error:
        pytest.skip(str(error))
    yield runtime
    runtime.close()


def free_memory() -> int:
    """Bytes free on the device, as its runtime library tells."""
    library = ctypes.CDLL("libcuda.so.1")
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    context, device = ctypes.c_void_p(), ctypes.c_int()
    library.cuInit(0)
    library.cuDeviceGet(ctypes.byref(device), 0)
    library.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
    library.cuCtxPushCurrent_v2(context)
    library.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
    library.cuCtxPopCurrent_v2(ctypes.byref(context))
    library.cuDevicePrimaryCtxRelease_v2(device)
    return free.value


@pytest.mark.timeout(600)
def test_a_thousand_batches_of_random_sizes_from_several_threads(runtime: Runtime) -> None:
    golden = load_model(MODEL).golden()
    failures: list[str] = []

    def many(seed: int) -> None:
        generator = np.random.default_rng(seed)
        for _ in range(BATCHES // THREADS):
            rows = generator.integers(0, 16, int(generator.integers(1, 1500)))
            outputs = runtime.run({name: value[rows] for name, value in golden.inputs.items()})
            for name, values in outputs.items():
                wanted = golden.outputs[name][rows]
                error = np.linalg.norm(values - wanted) / np.linalg.norm(wanted)
                if not error < 5e-3:
                    failures.append(f"{name}: {error:.1e} for {len(rows)} crops")

    runtime.run({name: value[:1] for name, value in golden.inputs.items()})
    before = free_memory()
    threads = [threading.Thread(target=many, args=(seed,)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert before - free_memory() < 2**20

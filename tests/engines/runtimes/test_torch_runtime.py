"""The PyTorch runtime on the CPU, how layers are halved, and its ways on a GPU that is made up."""

import contextlib
import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import dscsnet.engines.runtimes.torch_runtime as module  # noqa: E402
from dscsnet.engines.errors import InferenceError, ModelError  # noqa: E402
from dscsnet.engines.model import load_model, shipped_models  # noqa: E402
from dscsnet.engines.model_engine import open_model_engine  # noqa: E402
from dscsnet.engines.networks.stored import WEIGHTS, load_network  # noqa: E402
from dscsnet.engines.runtimes import DeviceError, RuntimeOptions, Unavailable, open_runtime  # noqa: E402
from dscsnet.engines.runtimes.split import BUCKETS  # noqa: E402
from dscsnet.engines.runtimes.torch_runtime import TOLERANCE, halve_layers, open_torch  # noqa: E402
from tests.engines.runtimes.runtime_contract import RuntimeContract  # noqa: E402
from tests.engines.runtimes.torch_fakes import Gpu  # noqa: E402


@pytest.mark.skipif(torch.cuda.is_available(), reason="would take the GPU")
class TestTorchOnCpu(RuntimeContract):
    """PyTorch on the CPU."""

    kind = "torch"
    alone = 1e-4  # kernels differ by batch size


@pytest.mark.parametrize("name", shipped_models())
def test_half_precision_layers_stay_within_the_tolerance(name: str) -> None:
    model = load_model(name)
    golden = model.golden()
    network = load_network(model.folder)
    halve_layers(network)
    with torch.inference_mode():
        results = network(*(torch.tensor(value) for value in golden.inputs.values()))
    results = (results,) if isinstance(results, torch.Tensor) else results
    for output, values in zip(model.card.outputs, results, strict=True):
        wanted = golden.outputs[output]
        error = np.linalg.norm(values.numpy() - wanted) / np.linalg.norm(wanted)
        assert 2e-6 < error < TOLERANCE["fp16"] / 2, output


def test_auto_wants_a_gpu_of_it() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(Unavailable, match="sees no GPU"):
            open_torch(load_model("csist100k-mlp"), RuntimeOptions(), need_gpu=True)


def test_a_folder_without_weights_says_so() -> None:
    engine = open_model_engine("csist100k-mlp")
    del engine.model.card.files[WEIGHTS]
    with pytest.raises(ModelError, match=r"no weights\.safetensors on its card"):
        open_runtime("torch", engine.model)


def test_closed_is_closed() -> None:
    runtime = open_runtime("torch", load_model("csist100k-mlp"))
    runtime.close()
    with pytest.raises(DeviceError, match="closed"):
        runtime.run(load_model("csist100k-mlp").golden().inputs)


class Watched(dict[int, Any]):
    """Graphs that are only let go while nobody can run them."""

    runtime: Any = None

    def clear(self) -> None:
        assert self.runtime._lock.locked()
        super().clear()


def test_one_thread_at_a_time_executes_and_none_while_it_is_closed() -> None:
    model = load_model("csist100k-mlp")
    runtime = open_torch(model, RuntimeOptions(threads=1))
    held: list[bool] = []
    runtime._network.register_forward_pre_hook(lambda *_: held.append(runtime._lock.locked()))
    inputs = model.golden().inputs
    threads = [threading.Thread(target=runtime.run, args=(inputs,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held == [True] * 3
    runtime._graphs = Watched({1: None})
    runtime._graphs.runtime = runtime
    runtime.close()
    assert runtime._graphs == {}
    assert not runtime._lock.locked()


@pytest.fixture(name="gpu")
def _gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    gpu = Gpu()
    gpu.install(monkeypatch)
    return gpu


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_on_a_gpu_batches_are_cut_to_the_sizes_that_were_captured(precision: Any) -> None:
    model = load_model("field-mlp")
    options = RuntimeOptions(device=1, precision=precision)
    runtime = open_torch(model, options, need_gpu=True)
    assert runtime.name == f"torch {torch.__version__} {precision} on made up cuda:1"
    assert runtime.tolerance == {"fp32": 1e-4, "fp16": 5e-3}[precision]
    assert sorted(runtime._graphs) == list(BUCKETS)
    golden = model.golden()
    for number in (0, 1, 3, max(BUCKETS) + 2):
        rows = np.arange(number) % len(golden.inputs["crops"])
        found = runtime.run({name: value[rows] for name, value in golden.inputs.items()})
        for name, wanted in golden.outputs.items():
            assert found[name].shape == (number, *wanted.shape[1:])
            norm = np.linalg.norm(wanted[rows]) or 1.0
            assert np.linalg.norm(found[name] - wanted[rows]) <= runtime.tolerance * norm
    layers = [v.dtype for k, v in runtime._network.named_parameters() if k.endswith("weight")]
    assert (torch.float16 in layers) == (precision == "fp16")


def test_graphs_share_their_memory_and_let_other_threads_work(gpu: Gpu) -> None:
    runtime = open_torch(load_model("csist100k-mlp"), RuntimeOptions(device=1))
    # The largest first: the others fit in its memory.
    assert list(runtime._graphs) == sorted(BUCKETS, reverse=True)
    assert len(gpu.captures) == len(BUCKETS)
    for name in ("pool", "stream"):
        assert len({id(getattr(capture, name)) for capture in gpu.captures}) == 1, name
    for capture in gpu.captures:
        # Another thread may wait for the engine that this one is to replace, and make memory.
        assert capture.capture_error_mode == "thread_local"
        assert capture.precision == ("ieee", "ieee")
        assert not capture.rounded_sums


def test_a_gpu_without_memory_is_tried_again_and_one_that_failed_is_not(gpu: Gpu) -> None:
    model = load_model("csist100k-mlp")
    runtime, inputs = open_torch(model, RuntimeOptions(device=1)), model.golden().inputs
    gpu.failure = torch.cuda.OutOfMemoryError("no memory\nand so on")
    with pytest.raises(InferenceError, match=r"^torch: no memory$") as caught:
        runtime.run(inputs)
    assert not isinstance(caught.value, DeviceError)
    gpu.failure = None
    assert len(runtime.run(inputs)["count"]) == len(inputs["crops"])
    gpu.failure = RuntimeError("illegal address\nand so on")
    with pytest.raises(DeviceError, match=r"^the GPU failed: illegal address$"):
        runtime.run(inputs)
    gpu.failure = None
    runtime.close()
    with pytest.raises(DeviceError, match=r"^the GPU failed: illegal address$"):
        runtime.run(inputs)


@pytest.mark.parametrize("lost", [False, True])
def test_what_lies_on_a_lost_gpu_is_never_freed(gpu: Gpu, lost: bool) -> None:
    """Else PyTorch would end the process."""

    def graph_of_a_closed_engine() -> Any:
        runtime = open_torch(load_model("csist100k-mlp"), RuntimeOptions(device=1))
        if lost:
            gpu.failure = RuntimeError("illegal address")
            with contextlib.suppress(DeviceError):
                runtime.run(load_model("csist100k-mlp").golden().inputs)
            gpu.failure = None
        graph = weakref.ref(runtime._graphs[1])
        runtime.close()
        return graph

    graph = graph_of_a_closed_engine()
    gc.collect()
    assert (graph() is not None) == lost


@pytest.mark.usefixtures("gpu")
def test_a_gpu_that_refuses_or_is_not_there_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = load_model("csist100k-mlp")
    for number in (-1, 2):
        with pytest.raises(Unavailable, match=f"^no GPU {number}: PyTorch sees 2") as caught:
            open_torch(model, RuntimeOptions(device=number))
        assert caught.value.cause == "no_driver"

    def refuse(*_: object) -> None:
        raise RuntimeError("no kernel image\nand so on")

    monkeypatch.setattr(module, "_Captured", refuse)
    with pytest.raises(Unavailable, match=r"^cuda:1: no kernel image$") as caught:
        open_torch(model, RuntimeOptions(device=1))
    assert caught.value.cause == "refused"


def test_an_error_of_the_cpu_is_one_of_the_batch() -> None:
    model = load_model("csist100k-mlp")
    runtime = open_torch(model, RuntimeOptions(threads=1))

    def fails(*_: object) -> None:
        raise RuntimeError

    hook = runtime._network.register_forward_pre_hook(fails)
    with pytest.raises(InferenceError, match=r"^torch: RuntimeError$") as caught:
        runtime.run(model.golden().inputs)
    assert not isinstance(caught.value, DeviceError)
    hook.remove()
    runtime.run(model.golden().inputs)


def test_threads_are_set_where_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    for threads in (0, 3):
        open_torch(load_model("csist100k-mlp"), RuntimeOptions(threads=threads))
    assert told == [3]

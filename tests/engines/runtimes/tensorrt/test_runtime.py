"""The TensorRT runtime against fakes: right numbers, overlap, no leaks, one clear error."""

import threading
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dscsnet.engines.errors import InferenceError
from dscsnet.engines.model import load_model
from dscsnet.engines.runtimes import DeviceError, RuntimeOptions, Unavailable, open_runtime
from dscsnet.engines.runtimes.split import SMALL, split
from dscsnet.engines.runtimes.tensorrt import BuildSettings, TensorRtRuntime
from tests.engines.runtimes.tensorrt.fakes import Engine, Event, ExecutionContext, FakeDriver
from tests.engines.runtimes.tensorrt.rig import BUCKETS, MODEL, Rig


@pytest.fixture(name="rig")
def _rig() -> Rig:
    return Rig()


@pytest.fixture(name="runtime")
def _runtime(rig: Rig) -> Iterator[TensorRtRuntime]:
    runtime = rig.open()
    yield runtime
    runtime.close()
    rig.assert_all_freed()


def crops(number: int, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        "crops": generator.normal(0, 100, (number, 11, 11)).astype(np.float32),
        "noise": generator.uniform(1, 9, number).astype(np.float32),
        "psf_sigma": generator.uniform(0.45, 0.6, (number, 2)).astype(np.float32),
    }


def reference(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    runtime = open_runtime("onnxruntime", load_model(MODEL), RuntimeOptions(threads=1))
    return runtime.run(inputs)


def assert_right(outputs: dict[str, np.ndarray], inputs: dict[str, np.ndarray]) -> None:
    expected = reference(inputs)
    assert sorted(outputs) == sorted(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(outputs[name], values, rtol=1e-4, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("number", [1, 2, 8, 9, 64, 65, 150])
def test_any_number_of_crops(runtime: TensorRtRuntime, number: int) -> None:
    inputs = crops(number)
    assert_right(runtime.run(inputs), inputs)


def test_without_graphs_the_same() -> None:
    rig = Rig(graphs=False)
    runtime = rig.open()
    inputs = crops(70)
    assert_right(runtime.run(inputs), inputs)
    assert rig.cuda.calls["launch"] == 0
    runtime.close()
    rig.assert_all_freed()


def test_what_cannot_be_recorded_runs_without(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(refuse=True)
    runtime = rig.open()
    assert "batches of 64 run without a CUDA graph: cuStreamEndCapture" in caplog.text
    inputs = crops(3)
    assert_right(runtime.run(inputs), inputs)
    runtime.close()
    rig.assert_all_freed()


def test_no_crops_no_work(rig: Rig, runtime: TensorRtRuntime) -> None:
    before = rig.cuda.calls["launch"]
    assert runtime.run(crops(0))["position"].shape == (0, 5, 2)
    assert rig.cuda.calls["launch"] == before


def test_the_copies_of_one_piece_overlap_the_next(rig: Rig, runtime: TensorRtRuntime) -> None:
    rig.cuda.order.clear()
    runtime.run(crops(3 * 64))
    steps = [step for step in rig.cuda.order if step in ("launch", "finish")]
    assert steps == ["launch", "launch", "finish", "launch", "finish", "finish"]


def test_batches_of_many_threads_do_not_mix(runtime: TensorRtRuntime) -> None:
    failures: list[BaseException] = []

    def many(seed: int) -> None:
        generator = np.random.default_rng(seed)
        try:
            for index in range(12):
                inputs = crops(int(generator.integers(1, 150)), 100 * seed + index)
                assert_right(runtime.run(inputs), inputs)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=many, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_nothing_is_allocated_once_it_runs(rig: Rig, runtime: TensorRtRuntime) -> None:
    setup = ("alloc", "pagelocked", "stream", "event", "record")
    before = [rig.cuda.calls[name] for name in setup]
    contexts = rig.trt.engines[0].contexts
    for number in (1, 64, 7, 130):
        runtime.run(crops(number))
    assert [rig.cuda.calls[name] for name in setup] == before
    assert rig.trt.engines[0].contexts == contexts == 2 * len(BUCKETS)


def test_the_callers_thread_never_holds_a_context(rig: Rig, runtime: TensorRtRuntime) -> None:
    runtime.run(crops(1))
    assert rig.cuda.stacks[threading.get_ident()] == 0
    assert rig.cuda.retained == 1


def test_a_failed_batch_leaves_the_next_alone() -> None:
    rig = Rig(graphs=False)
    runtime = rig.open()
    rig.trt.engines[0].refusals = 1
    with pytest.raises(InferenceError, match="could not start a batch of 8"):
        runtime.run(crops(3))
    inputs = crops(3)
    assert_right(runtime.run(inputs), inputs)
    runtime.close()
    rig.assert_all_freed()


def test_a_dead_gpu_is_one_clear_error(rig: Rig, runtime: TensorRtRuntime) -> None:
    launch = FakeDriver.cuGraphLaunch

    def dies(driver: FakeDriver, executable: object, stream: object) -> int:
        launch(driver, executable, stream)
        rig.cuda.broken = "cuEventSynchronize failed:\nan illegal memory access"
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeDriver, "cuGraphLaunch", dies)
        patch.setattr(Event, "record", Event.noted)
        with pytest.raises(
            DeviceError, match=r"^the GPU failed: cuEventSynchronize failed: an illegal"
        ):
            runtime.run(crops(200))
    with pytest.raises(DeviceError, match="illegal"):
        runtime.run(crops(1))
    rig.cuda.broken = ""  # so that the fixture can see everything freed


def test_a_gpu_lost_between_batches_is_noticed_at_the_first(
    rig: Rig, runtime: TensorRtRuntime
) -> None:
    """What fails then is the launch of a graph, which goes past pycuda."""
    rig.cuda.broken = "gone"
    with pytest.raises(
        DeviceError, match=r"^the GPU failed: cuGraphLaunch: CUDA_ERROR_ILLEGAL_ADDRESS$"
    ):
        runtime.run(crops(1))
    calls = rig.cuda.calls.total()
    with pytest.raises(DeviceError, match="ILLEGAL_ADDRESS"):
        runtime.run(crops(1))
    assert rig.cuda.calls.total() == calls  # it is not even asked
    rig.cuda.broken = ""


def test_a_gpu_lost_while_a_batch_is_started_is_told_from_a_refused_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TensorRT answers both with False."""
    rig = Rig(graphs=False)
    runtime = rig.open()

    def dies(*_: object) -> bool:
        rig.cuda.broken = "cuStreamSynchronize failed: gone"
        return False

    monkeypatch.setattr(ExecutionContext, "execute_async_v3", dies)
    with pytest.raises(DeviceError, match=r"^the GPU failed: cuStreamSynchronize failed: gone$"):
        runtime.run(crops(1))
    rig.cuda.broken = ""
    runtime.close()
    rig.assert_all_freed()


def test_a_gpu_lost_while_a_graph_is_recorded_refuses_the_engine(
    monkeypatch: pytest.MonkeyPatch, rig: Rig
) -> None:
    def dies(*_: object) -> int:
        rig.cuda.broken = "cuStreamSynchronize failed: gone"
        return rig.cuda.code

    monkeypatch.setattr(FakeDriver, "cuGraphInstantiateWithFlags", dies)
    with pytest.raises(Unavailable, match=r"^Fake GPU: cuStreamSynchronize failed: gone$"):
        rig.open()
    assert +rig.cuda.stacks == Counter()


def test_a_dead_gpu_does_not_hinder_closing(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    runtime = rig.open()
    rig.cuda.broken = "gone"
    runtime.close()
    assert "the GPU's memory could not be freed: gone" in caplog.text
    assert +rig.cuda.stacks == Counter()


def test_wrong_inputs_are_named(runtime: TensorRtRuntime) -> None:
    with pytest.raises(
        InferenceError, match=r"inputs must be crops \(n, 11, 11\).*got crops \(1, 4"
    ):
        runtime.run({"crops": np.zeros((1, 4, 4), np.float32)})
    uneven = {**crops(3), "noise": np.ones(2, np.float32)}
    with pytest.raises(InferenceError, match=r"got crops \(3, 11, 11\), noise \(2,\)"):
        runtime.run(uneven)


def test_closed_is_closed(rig: Rig) -> None:
    runtime = rig.open()
    runtime.close()
    runtime.close()
    with pytest.raises(DeviceError, match="closed"):
        runtime.run(crops(1))
    rig.assert_all_freed()


def test_a_refused_engine_says_why() -> None:
    rig = Rig(plan=b"")
    with pytest.raises(Unavailable, match="engine is refused: magic tag does not match") as error:
        rig.open()
    assert error.value.cause == "refused"
    rig.assert_all_freed()


@pytest.mark.parametrize(
    ("step", "answer", "words"),
    [
        ("set_optimization_profile_async", False, "the engine has no profile 0 for batches of 1"),
        ("set_tensor_address", False, "no address accepted for crops"),
        ("set_input_shape", False, "crops does not take batches of 1"),
        ("infer_shapes", ["crops", "noise"], "shapes of crops, noise are not settled"),
    ],
)
def test_a_context_that_cannot_be_set_up_says_why(
    monkeypatch: pytest.MonkeyPatch, rig: Rig, step: str, answer: object, words: str
) -> None:
    monkeypatch.setattr(ExecutionContext, step, lambda *_: answer)
    with pytest.raises(Unavailable, match=rf"^tensorrt_fake 1\.0: {words}: no reason") as caught:
        rig.open()
    assert caught.value.cause == "refused"
    rig.assert_all_freed()


def test_an_engine_without_contexts_says_so(monkeypatch: pytest.MonkeyPatch, rig: Rig) -> None:
    monkeypatch.setattr(Engine, "create_execution_context", lambda *_: None)
    with pytest.raises(Unavailable, match="no execution context for batches of 1: "):
        rig.open()


@pytest.mark.parametrize("enough_for", [0, 1, 2, 7, 12, 16, 17, 25])
def test_too_little_memory_says_so_and_frees_what_it_had(rig: Rig, enough_for: int) -> None:
    rig.cuda.memory_left = enough_for
    with pytest.raises(
        Unavailable, match=r"Fake GPU: cuMem(Host)?Alloc failed: out of memory"
    ) as caught:
        rig.open()
    # At once, on the thread and in the context that it belongs to; no garbage collector has to.
    rig.assert_all_freed()
    assert caught.value.cause == "refused"


@given(number=st.integers(0, 5000), sizes=st.sets(st.integers(2, 1200), max_size=5))
def test_a_batch_is_split_without_gaps(number: int, sizes: set[int]) -> None:
    buckets = tuple(sorted({1, *sizes}))
    pieces = split(number, buckets)
    assert [row for first, last, _ in pieces for row in range(first, last)] == list(range(number))
    for first, last, bucket in pieces:
        assert bucket in buckets
        assert last - first <= bucket
        assert bucket <= SMALL or bucket <= 2 * (last - first)


@pytest.mark.parametrize(
    ("number", "sizes"),
    [
        (1, [1]),
        (2, [8]),
        (9, [64]),
        (65, [64, 1]),
        (130, [256]),
        (300, [256, 64]),
        (1100, [1024, 64, 64]),
    ],
)
def test_pieces_of_the_real_buckets(number: int, sizes: list[int]) -> None:
    pieces = split(number, BuildSettings().buckets)
    assert [bucket for _, _, bucket in pieces] == sizes


def test_the_name_says_library_precision_and_device(runtime: TensorRtRuntime) -> None:
    assert runtime.name == "tensorrt_fake 1.0 fp32 on Fake GPU"

"""Contexts of TensorRT-RTX: its kernels are made before a graph is, kept, and checked."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dscsnet.engines.model import load_model
from dscsnet.engines.runtimes import Unavailable
from dscsnet.engines.runtimes.tensorrt import EngineCache, opening
from dscsnet.engines.runtimes.tensorrt.cache import EngineKey
from dscsnet.engines.runtimes.tensorrt.opening import KernelFile
from tests.engines.runtimes.tensorrt.fakes import (
    Engine,
    ExecutionContext,
    FakeRtx,
    RuntimeCache,
    RuntimeConfig,
)
from tests.engines.runtimes.tensorrt.rig import BUCKETS, MODEL, Rig

KEY = EngineKey("a model", "ab" * 32, "tensorrt_rtx 1.7", "GPU 8.6", "fp16", BUCKETS, "kernels")


class Shelf:
    """Keeps kernels in memory, and how often it was written to."""

    def __init__(self, content: bytes | None = None) -> None:
        self.content, self.written = content, 0

    def load(self) -> bytes | None:
        return self.content

    def store(self, content: bytes) -> None:
        self.content, self.written = content, self.written + 1


@pytest.fixture(name="rig")
def _rig() -> Rig:
    rig = Rig()
    rig.trt = FakeRtx(rig.cuda, BUCKETS)
    return rig


def run(rig: Rig, shelf: Shelf | KernelFile | None) -> RuntimeConfig:
    """Open the model, run the golden crops, close; how its contexts were configured."""
    runtime = rig.open(shelf)
    golden = load_model(MODEL).golden()
    outputs = runtime.run(golden.inputs)
    for name, wanted in golden.outputs.items():
        np.testing.assert_allclose(outputs[name], wanted, rtol=1e-3, atol=1e-3)
    config = rig.trt.engines[-1].config
    runtime.close()
    rig.assert_all_freed()
    return config


def test_kernels_are_made_before_a_graph_is_recorded(rig: Rig) -> None:
    config = run(rig, None)
    assert config.dynamic_shapes_kernel_specialization_strategy == "eager"
    assert config.strategy == "user"
    assert rig.trt.engines[0].contexts == 2 * len(BUCKETS)


def test_full_tensorrt_is_told_nothing_of_kernels() -> None:
    rig, shelf = Rig(), Shelf()
    assert run(rig, shelf) is None
    assert shelf.written == 0


def test_kernels_are_kept_once(rig: Rig) -> None:
    shelf = Shelf()
    assert run(rig, shelf).cache.content == b"kernels"
    assert run(rig, shelf).cache.content == b"kernels"
    assert (shelf.content, shelf.written) == (b"kernels", 1)


def test_kernels_of_another_driver_give_way(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf(b"of an older driver")
    with caplog.at_level("INFO"):
        run(rig, shelf)
    assert "compiled again" in caplog.text
    assert (shelf.content, shelf.written) == (b"kernels", 1)


@pytest.mark.parametrize(
    ("step", "answer"), [("set_runtime_cache", False), ("create_runtime_cache", None)]
)
def test_a_library_without_a_cache_works_all_the_same(
    rig: Rig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    step: str,
    answer: object,
) -> None:
    monkeypatch.setattr(RuntimeConfig, step, lambda *_: answer)
    shelf = Shelf()
    run(rig, shelf)
    assert "takes no cache" in caplog.text
    assert shelf.written == 0


def test_a_library_without_a_configuration_is_refused(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "create_runtime_config", lambda _: None)
    with pytest.raises(Unavailable, match="no runtime configuration"):
        rig.open()
    rig.assert_all_freed()


def test_nothing_is_kept_that_cannot_be_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RuntimeCache, "serialize", lambda _: None)
    shelf = Shelf()
    run(rig, shelf)
    assert shelf.written == 0


@pytest.mark.parametrize("answer", [True, False])
def test_the_library_is_asked_whether_it_can_be_recorded(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, answer: bool
) -> None:
    asked: list[int] = []

    def ask(context: ExecutionContext, stream: int) -> bool:
        asked.append(stream)
        return answer

    monkeypatch.setattr(ExecutionContext, "is_stream_capturable", ask, raising=False)
    run(rig, None)
    assert set(asked) == set(rig.cuda.streams)
    assert rig.cuda.calls["record"] == (2 * len(BUCKETS) if answer else 0)
    assert ("batches of 64 run without a CUDA graph: TensorRT cannot" in caplog.text) != answer


@pytest.mark.parametrize("broken", [False, True])
def test_a_failed_opening_ends_the_engine_before_the_devices_context(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    """The fake asserts it; the failed calls that refer to the engine are part of the error."""

    def fails(context: ExecutionContext) -> list[str]:
        if len(rig.cuda.contexts) < 4:
            return []
        rig.cuda.broken = "gone" if broken else ""
        return ["crops"]

    monkeypatch.setattr(ExecutionContext, "infer_shapes", fails)
    with pytest.raises(Unavailable, match="shapes of crops are not settled"):
        rig.open()
    assert rig.cuda.retained == 0


def test_an_engine_of_rtx_without_contexts_says_so(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "create_execution_context", lambda *_: None)
    with pytest.raises(Unavailable, match="no execution context for batches of 1: "):
        rig.open()


def test_kernels_lie_beside_the_engines(rig: Rig, tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "engines")
    assert run(rig, KernelFile(cache, KEY)).cache.content == b"kernels"
    assert KernelFile(cache, KEY).load() == b"kernels"
    assert cache.entries() == []


def spoil(cache: EngineCache) -> None:
    next(cache.folder.glob("*.kernels")).write_bytes(b"kernels of somebody else")


def open_to_all(cache: EngineCache) -> None:
    cache.folder.chmod(0o777)


@pytest.mark.parametrize("harm", [spoil, open_to_all])
def test_kernels_that_cannot_be_trusted_are_not_loaded(
    rig: Rig, tmp_path: Path, harm: Callable[[EngineCache], None]
) -> None:
    cache = EngineCache(tmp_path / "engines")
    KernelFile(cache, KEY).store(b"kernels")
    harm(cache)
    assert KernelFile(cache, KEY).load() is None
    run(rig, KernelFile(cache, KEY))


def test_where_nothing_can_be_written_a_node_starts_all_the_same(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    run(rig, KernelFile(EngineCache(tmp_path / "file" / "engines"), KEY))
    assert "kernels are not kept: " in caplog.text


def test_opening_keeps_the_kernels_of_this_gpu_and_engine(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[KernelFile] = []
    monkeypatch.setattr(opening, "load_library", lambda: rig.trt)
    monkeypatch.setattr(opening, "load_pycuda", lambda: rig.cuda)
    monkeypatch.setattr(opening, "capabilities", lambda trt: ("8.6",))
    monkeypatch.setattr(opening, "Graphs", lambda: rig.graphs)
    monkeypatch.setattr(opening, "TensorRtRuntime", lambda *each: given.append(each[-1]))
    plans = iter((b"one", b"another"))
    monkeypatch.setattr(opening, "compiled_engine", lambda *_: next(plans))
    options = SimpleNamespace(device=0, precision="fp16", cache=tmp_path)
    for _ in range(2):
        opening.open_tensorrt(load_model(MODEL), options)  # type: ignore[arg-type]
    one, another = (each.key for each in given)
    assert (one.kind, one.device, one.model) == ("kernels", "Fake GPU 8.6", MODEL)
    assert one.library == "tensorrt_rtx_fake 1.0"
    assert one.network != another.network

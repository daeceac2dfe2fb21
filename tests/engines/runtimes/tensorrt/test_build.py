"""Compiling ahead of time, without a GPU, every model that is shipped."""

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dscsnet.engines.errors import ModelError
from dscsnet.engines.model import load_model, shipped_models
from dscsnet.engines.runtimes import Unavailable
from dscsnet.engines.runtimes.split import BUCKETS
from dscsnet.engines.runtimes.tensorrt import (
    BuildSettings,
    Target,
    capabilities,
    compile_network,
    library_name,
    load_library,
    network_bytes,
)
from dscsnet.engines.runtimes.tensorrt import library as library_module
from dscsnet.engines.runtimes.tensorrt.build import _monitor
from dscsnet.engines.runtimes.tensorrt.library import prepare

trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is for x86-64 Linux only")
onnx = pytest.importorskip("onnx")


@pytest.mark.parametrize("name", shipped_models())
def test_every_shipped_model_compiles(name: str) -> None:
    model = load_model(name)
    # All profiles for what the node runs by default; one is enough to see the others compile.
    buckets = BUCKETS if name.startswith("field") else (64,)
    settings = BuildSettings("fp16", buckets, capability="8.6")
    compiled = compile_network(trt, network_bytes(model, "fp16"), settings)
    assert len(compiled.plan) > model.network_path.stat().st_size / 2
    assert tuple(tensor.name for tensor in compiled.inputs) == model.card.inputs
    assert tuple(tensor.name for tensor in compiled.outputs) == model.card.outputs
    golden = model.golden()
    for tensor in (*compiled.inputs, *compiled.outputs):
        assert tensor.type == "FLOAT"
        stored = {**golden.inputs, **golden.outputs}[tensor.name]
        assert tensor.shape == (-1, *stored.shape[1:])
    assert compiled.profiles == tuple((bucket, bucket, bucket) for bucket in buckets)


def test_single_precision_for_the_default_gpus(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    with caplog.at_level(logging.INFO):
        compiled = compile_network(
            trt,
            network_bytes(load_model("csist100k-mlp"), "fp32"),
            BuildSettings("fp32", (1, 16)),
            told.append,
        )
    assert compiled.profiles == ((1, 1, 1), (16, 16, 16))
    assert told[0] == f"{library_name(trt)}: compiling {compiled.layers} layers, fp32"
    assert any("steps)" in line for line in told[1:])


def network(operator: str, **attributes: object) -> bytes:
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"], "the node", **attributes)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    opset = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


def test_a_refused_operator_is_named() -> None:
    with pytest.raises(ModelError, match=r"refuses the network: Det \(the node\)"):
        compile_network(trt, network("Det"), BuildSettings("fp32", (1,)))


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ModelError, match="refuses the network"):
        compile_network(trt, b"no network", BuildSettings("fp32", (1,)))


def test_only_the_outermost_phases_are_told_and_none_is_cancelled() -> None:
    told: list[str] = []
    phases = _monitor(trt, told.append)
    phases.phase_start("outer", None, 3)
    phases.phase_start("inner", "outer", 2)
    assert phases.step_complete("outer", 0)
    phases.phase_finish("outer")
    assert told == ["outer (3 steps)"]


class Refusing:
    """The library, or its builder, that adds no profile but is real otherwise."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def Builder(self, messages: Any) -> "Refusing":
        return Refusing(self._real.Builder(messages))

    def create_builder_config(self) -> SimpleNamespace:
        return SimpleNamespace(
            clear_flag=lambda flag: None,
            set_flag=lambda flag: None,
            add_optimization_profile=lambda profile: -1,
        )


def test_a_refused_batch_size_is_named() -> None:
    with pytest.raises(ModelError, match="no profile for batches of 3"):
        compile_network(Refusing(trt), network("Relu"), BuildSettings("fp32", (3, 4)))


@pytest.mark.parametrize("content", [network("If"), network("Relu", wrong=1)])
def test_a_network_that_onnx_refuses_is_no_model(content: bytes, tmp_path: Path) -> None:
    model = replace(load_model("csist100k-mlp"), folder=tmp_path)
    model.network_path.write_bytes(content)
    assert network_bytes(model, "fp32") == content
    with pytest.raises(ModelError, match=r"model\.onnx: cannot be made fp16: "):
        network_bytes(model, "fp16")


@pytest.mark.parametrize("capability", ["9.0", "eight"])
def test_a_capability_that_is_not_compiled_for(capability: str) -> None:
    settings = BuildSettings("fp32", (1,), capability)
    with pytest.raises(ModelError, match=rf"not compile for .* {capability}; it does for .*8\.6"):
        compile_network(trt, network("Relu"), settings)


def test_capabilities_are_told() -> None:
    assert {"8.0", "8.6", "8.9", "12.0"} <= set(capabilities(trt))


class Device:
    """A GPU at hand."""

    def __init__(self, capability: tuple[int, int]) -> None:
        self._capability = capability

    def name(self) -> str:
        return "Some GPU"

    def compute_capability(self) -> tuple[int, int]:
        return self._capability


def test_an_engine_made_ahead_is_the_one_that_the_gpu_looks_for() -> None:
    assert Target.of_device(trt, Device((8, 6))) == Target.of_capability("8.6")
    # Not compiled for by name: the library decides, and the engine serves this GPU alone.
    assert Target.of_device(trt, Device((9, 0))) == Target("Some GPU 9.0", None)


def test_full_tensorrt_compiles_for_gpus_like_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "is_rtx", lambda trt: False)
    assert capabilities(trt) == ()
    # So an image that was built on one card serves the others of its compute capability.
    assert Target.of_device(trt, Device((8, 6))) == Target("8.6", None)
    ignored = {"clear_flag": lambda flag: None, "set_flag": lambda flag: None}
    config = SimpleNamespace(**ignored)  # TensorRT-RTX's own refuses the level without a word
    prepare(trt, config)
    level = trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY
    assert config.hardware_compatibility_level == level
    with pytest.raises(ModelError, match="only for this machine's GPU"):
        compile_network(trt, network("Relu"), BuildSettings("fp32", (1,), "8.6"))


def test_older_tensorrt_compiles_for_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "is_rtx", lambda trt: False)
    levels = SimpleNamespace(HardwareCompatibilityLevel=SimpleNamespace(NONE=0))
    assert Target.of_device(levels, Device((8, 6))) == Target("Some GPU 8.6", None)


def test_what_the_builder_is_told() -> None:
    config = trt.Builder(library_module.make_logger(trt)).create_builder_config()
    assert config.get_flag(trt.BuilderFlag.TF32)
    prepare(trt, config)
    assert not config.get_flag(trt.BuilderFlag.TF32)
    assert config.get_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    assert config.hardware_compatibility_level == trt.HardwareCompatibilityLevel.NONE
    # Full TensorRT has no such flag.
    told: list[str] = []
    flags = SimpleNamespace(BuilderFlag=SimpleNamespace(TF32="TF32"), ComputeCapability=None)
    prepare(flags, SimpleNamespace(clear_flag=told.append))
    assert told == ["TF32"]


def test_full_tensorrt_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def find(name: str) -> object:
        asked.append(name)
        if name == "tensorrt":
            raise ModuleNotFoundError(name=name)
        raise OSError("libcudart.so: cannot open")

    monkeypatch.setattr(library_module.importlib, "import_module", find)
    with pytest.raises(Unavailable, match=r"tensorrt is not installed, tensorrt_rtx: libcudart"):
        load_library()
    assert asked == ["tensorrt", "tensorrt_rtx"]

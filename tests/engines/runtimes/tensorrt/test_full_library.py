"""What we call exists in full TensorRT, too, whose library cannot be installed without a GPU.

Its bindings come as a small wheel of their own; three empty libraries let Python import them.
"""

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import dscsnet.engines.runtimes.tensorrt

rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is for x86-64 Linux only")
if importlib.util.find_spec("tensorrt_bindings") is None:
    pytest.skip("the bindings of full TensorRT are not installed", allow_module_level=True)
COMPILER = shutil.which("cc") or shutil.which("gcc")

#: Libraries that the bindings are linked with, and what they take from each.
LIBRARIES = {
    "nvinfer": (
        "createInferBuilder_INTERNAL",
        "createInferRefitter_INTERNAL",
        "createInferRuntime_INTERNAL",
        "getBuilderPluginRegistry",
        "getPluginRegistry",
    ),
    "nvinfer_plugin": ("initLibNvInferPlugins",),
    "nvonnxparser": (
        "createNvOnnxParserRefitter_INTERNAL",
        "createNvOnnxParser_INTERNAL",
        "getNvOnnxParserVersion",
    ),
}
#: Asked for only where `is_rtx` or `hasattr` says that they are there.
RTX_ONLY = {
    *("ComputeCapability", "num_compute_capabilities", "set_compute_capability"),
    *("DynamicShapesKernelSpecializationStrategy", "EAGER", "REQUIRE_USER_ALLOCATION"),
    *("dynamic_shapes_kernel_specialization_strategy", "create_runtime_cache"),
    "set_runtime_cache",
}
#: Class by class, and enumeration by enumeration, what a module offers.
OFFERED = """
import json, tensorrt_bindings as trt
print(json.dumps({name: dir(value) for name, value in vars(trt).items()}))
"""


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Attributes of the full library's module, each with its own."""
    if COMPILER is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("libraries")
    for name, symbols in LIBRARIES.items():
        source = folder / f"{name}.c"
        source.write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in symbols))
        library = f"lib{name}.so.11"
        subprocess.run(
            [
                COMPILER,
                "-shared",
                "-fPIC",
                f"-Wl,-soname,{library}",
                "-o",
                folder / library,
                source,
            ],
            check=True,
        )
    printed = subprocess.run(
        [sys.executable, "-c", OFFERED],
        env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(printed.stdout)


def used_names() -> set[str]:
    """All names that stand after a dot in our sources."""
    folder = Path(dscsnet.engines.runtimes.tensorrt.__file__).parent
    trees = (ast.parse(path.read_text()) for path in folder.glob("*.py"))
    return {n.attr for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Attribute)}


def offered(trt: ModuleType) -> dict[str, list[str]]:
    return {name: dir(value) for name, value in vars(trt).items()}


def test_what_we_use_of_rtx_is_in_the_full_library(full: dict[str, list[str]]) -> None:
    used, compared = used_names() - RTX_ONLY, 0
    for name, attributes in offered(rtx).items():
        if name not in used and not name.startswith("I"):
            continue
        if name in used:
            assert name in full, f"the full library has no {name}"
        for attribute in used & set(attributes):
            if name in full and not attribute.startswith("_"):
                assert attribute in full[name], f"the full library has no {name}.{attribute}"
                compared += 1
    assert compared > 30


@pytest.mark.parametrize(
    "name",
    [
        *(
            "Builder.build_serialized_network",
            "OnnxParser.parse",
            "Runtime.deserialize_cuda_engine",
        ),
        *("IExecutionContext.execute_async_v3", "IExecutionContext.set_device_memory"),
        *("ICudaEngine.get_device_memory_size_for_profile_v2", "IBuilderConfig.progress_monitor"),
        *("NetworkDefinitionCreationFlag.STRONGLY_TYPED", "BuilderFlag.TF32"),
        "ExecutionContextAllocationStrategy.USER_MANAGED",
        "HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY",
    ],
)
def test_the_calls_that_carry_the_rest_are_there(full: dict[str, list[str]], name: str) -> None:
    group, _, attribute = name.partition(".")
    assert attribute in full[group]
    assert attribute in used_names()


@pytest.mark.parametrize(
    "name",
    [
        *("IRuntimeConfig.create_runtime_cache", "IRuntimeConfig.set_runtime_cache"),
        "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
        "IRuntimeConfig.set_execution_context_allocation_strategy",
        "DynamicShapesKernelSpecializationStrategy.EAGER",
        *("IRuntimeCache.serialize", "IRuntimeCache.deserialize"),
        *("ICudaEngine.create_runtime_config", "IExecutionContext.is_stream_capturable"),
    ],
)
def test_what_is_called_of_rtx_alone_is_there(name: str) -> None:
    """Nothing of it can be called without a GPU."""
    group, _, attribute = name.partition(".")
    assert hasattr(getattr(rtx, group), attribute)
    assert attribute in used_names() | {"is_stream_capturable"}  # this one is asked for by name


def test_full_tensorrt_is_told_from_rtx(full: dict[str, list[str]]) -> None:
    assert "ComputeCapability" not in full
    assert hasattr(rtx, "ComputeCapability")

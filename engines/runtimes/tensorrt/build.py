"""From a model's ONNX file to a compiled TensorRT engine."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from dscsnet.engines.errors import ModelError
from dscsnet.engines.model import Model
from dscsnet.engines.runtime_names import Precision
from dscsnet.engines.runtimes.split import BUCKETS
from dscsnet.engines.runtimes.tensorrt.library import (
    library_name,
    make_logger,
    prepare,
    set_capability,
    strongly_typed,
)

Tell = Callable[[str], None]


@dataclass(frozen=True)
class BuildSettings:
    """How a network is compiled.

    Attributes:
        buckets: batch sizes, rising; each has its own optimisation profile.
        capability: compute capability to compile for, like `8.6`, which needs no such GPU; None:
            the library's own choice, which is the GPU at hand.
    """

    precision: Precision = "fp16"
    buckets: tuple[int, ...] = BUCKETS
    capability: str | None = None


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a network; -1 is the batch."""

    name: str
    type: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Compiled:
    """A compiled engine and what is known of it.

    Attributes:
        plan: the engine as the library serialised it.
        profiles: for each bucket (least, best, greatest) batch.
        layers: number of layers before the library fuses them.
    """

    plan: bytes
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    profiles: tuple[tuple[int, int, int], ...]
    layers: int
    seconds: float


def network_bytes(model: Model, precision: Precision) -> bytes:
    """The ONNX file that is compiled; the cache's key is made from it, and tests execute it."""
    single = model.network_path.read_bytes()
    if precision == "fp32":
        return single
    try:
        import onnx
    except ModuleNotFoundError:
        raise ModelError(
            'fp16 engines need the package onnx: install "dscsnet[gpu]", or set precision fp32'
        ) from None
    from dscsnet.engines.runtimes.tensorrt.half import to_half

    refusals = (ValueError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
    try:
        return to_half(onnx.load_model_from_string(single)).SerializeToString()
    except refusals as error:
        raise ModelError(f"{model.network_path}: cannot be made fp16: {error}") from None


def compile_network(
    trt: ModuleType, network: bytes, settings: BuildSettings, tell: Tell = lambda line: None
) -> Compiled:
    """Compile ONNX bytes.

    Args:
        tell: takes lines on the progress.

    Raises:
        ModelError: an operator is refused, or the library cannot build.
    """
    started = time.monotonic()
    messages = make_logger(trt)
    builder = trt.Builder(messages)
    if builder is None:
        raise ModelError(f"{library_name(trt)}: no builder: {messages.last_error()}")
    definition = builder.create_network(strongly_typed(trt))
    # The parser refers to the network without holding it: it must outlive the parser.
    parser = trt.OnnxParser(definition, messages)
    if not parser.parse(network):
        raise ModelError(f"{library_name(trt)} refuses the network: {_refusals(parser)}")
    config = builder.create_builder_config()
    prepare(trt, config)
    if settings.capability:
        set_capability(trt, config, settings.capability)
    inputs = _tensors(definition.get_input, definition.num_inputs)
    profiles = tuple(_add_profile(builder, config, inputs, b, messages) for b in settings.buckets)
    # It must live as long as the configuration refers to it.
    monitor = config.progress_monitor = _monitor(trt, tell)
    tell(f"{library_name(trt)}: compiling {definition.num_layers} layers, {settings.precision}")
    plan = builder.build_serialized_network(definition, config)
    del monitor
    if plan is None:
        raise ModelError(f"{library_name(trt)} cannot compile: {messages.last_error()}")
    return Compiled(
        plan=bytes(plan),
        inputs=inputs,
        outputs=_tensors(definition.get_output, definition.num_outputs),
        profiles=profiles,
        layers=definition.num_layers,
        seconds=time.monotonic() - started,
    )


def _refusals(parser: Any) -> str:
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    return "; ".join(f"{e.node_operator()} ({e.node_name()}): {e.desc()}" for e in errors)


def _tensors(get: Callable[[int], Any], number: int) -> tuple[TensorInfo, ...]:
    found = [get(index) for index in range(number)]
    return tuple(TensorInfo(t.name, t.dtype.name, tuple(t.shape)) for t in found)


def _add_profile(
    builder: Any, config: Any, inputs: tuple[TensorInfo, ...], bucket: int, messages: Any
) -> tuple[int, int, int]:
    profile = builder.create_optimization_profile()
    for tensor in inputs:
        shape = (bucket, *tensor.shape[1:])
        profile.set_shape(tensor.name, shape, shape, shape)
    if config.add_optimization_profile(profile) < 0:
        raise ModelError(f"no profile for batches of {bucket}: {messages.last_error()}")
    return bucket, bucket, bucket


def _monitor(trt: ModuleType, tell: Tell) -> Any:
    """Tells each outermost phase of the build; the library calls it from its own threads."""

    class Phases(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            if parent is None:
                tell(f"{phase} ({steps} steps)")

        def step_complete(self, phase: str, step: int) -> bool:
            return True

        def phase_finish(self, phase: str) -> None:
            pass

    return Phases()

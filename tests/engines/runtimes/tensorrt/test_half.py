"""Mixed precision: what is half, what stays single, and what it costs on every shipped model."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from dscsnet.engines.model import load_model, shipped_models  # noqa: E402
from dscsnet.engines.runtimes.tensorrt import network_bytes  # noqa: E402
from dscsnet.engines.runtimes.tensorrt.half import LAYERS, to_half  # noqa: E402
from dscsnet.engines.runtimes.tensorrt.runtime import TOLERANCE  # noqa: E402

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def half_of(name: str) -> onnx.ModelProto:
    return onnx.load_model_from_string(network_bytes(load_model(name), "fp16"))


def types_of(network: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(network, strict_mode=True)
    graph = inferred.graph
    values = [*graph.input, *graph.value_info, *graph.output]
    known = {value.name: value.type.tensor_type.elem_type for value in values}
    return known | {tensor.name: tensor.data_type for tensor in graph.initializer}


@pytest.mark.parametrize("name", shipped_models())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's sigmoid overflows on its way
def test_half_precision_arithmetic_stays_within_the_tolerance(name: str) -> None:
    """Executed by ONNX's own evaluator, which computes in half precision where the file says so."""
    golden = load_model(name).golden()
    network = half_of(name)
    outputs = ReferenceEvaluator(network).run(None, golden.inputs)
    for output, values in zip(network.graph.output, outputs, strict=True):
        wanted = golden.outputs[output.name]
        assert values.dtype == np.float32
        error = np.linalg.norm(values - wanted) / np.linalg.norm(wanted)
        assert error < TOLERANCE["fp16"] / 2, output.name
        # Not by chance the float32 network.
        assert error > 2e-6, output.name


@pytest.mark.parametrize("name", shipped_models())
def test_layers_are_half_and_products_of_the_data_term_single(name: str) -> None:
    network = half_of(name)
    types = types_of(network)
    layers = [node for node in network.graph.node if node.op_type in LAYERS]
    in_half = [types[node.output[0]] == HALF for node in layers]
    # All but those behind which only sums and x-updates come.
    assert len(layers) >= 10
    assert np.mean(in_half) >= 0.8
    for node in network.graph.node:
        if node.op_type in ("MatMul", "LayerNormalization", "Log", "Exp", "Div", "Asinh"):
            assert types[node.output[0]] == FLOAT, node.name


def test_inputs_and_outputs_are_those_of_the_card() -> None:
    for name in shipped_models():
        card, network = load_model(name).card, half_of(name)
        assert tuple(value.name for value in network.graph.input) == card.inputs
        assert tuple(value.name for value in network.graph.output) == card.outputs
        types = types_of(network)
        assert {types[n] for n in (*card.inputs, *card.outputs)} == {FLOAT}


def chain(*nodes: onnx.NodeProto, **weights: np.ndarray) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "chain",
        [helper.make_tensor_value_info("x", FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", FLOAT, ["n", 2])],
        [numpy_helper.from_array(value.astype(np.float32), key) for key, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_one_conversion_in_and_one_out() -> None:
    """x is used twice and converted once; between two layers nothing is converted."""
    network = chain(
        helper.make_node("Gemm", ["x", "w"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["b"]),
        helper.make_node("Gemm", ["x", "w"], ["c"]),
        helper.make_node("Mul", ["b", "c"], ["d"]),
        helper.make_node("Add", ["d", "x"], ["e"]),
        helper.make_node("Gemm", ["e", "w"], ["y"]),
        w=np.eye(2) * 1e6,
    )
    half = to_half(network)
    kinds = [node.op_type for node in half.graph.node]
    assert kinds.count("Cast") == 2
    types = types_of(half)
    assert [types[name] for name in "abcdey"] == [HALF, HALF, HALF, HALF, FLOAT, FLOAT]
    weights = {t.name: numpy_helper.to_array(t) for t in half.graph.initializer}
    assert weights["w"].dtype == np.float32  # the last layer's
    assert weights["w/half"][0, 0] == np.finfo(np.float16).max  # not infinite


def test_weights_that_nothing_uses_any_more_are_dropped() -> None:
    network = chain(
        helper.make_node("Gemm", ["x", "w"], ["a"]),
        helper.make_node("Gemm", ["a", "v"], ["y"]),
        w=np.eye(2),
        v=np.eye(2),
    )
    assert {t.name for t in to_half(network).graph.initializer} == {"w/half", "v"}


def test_control_flow_is_refused() -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])],
        "body",
        [],
        [helper.make_tensor_value_info("z", FLOAT, ["n", 2])],
    )
    network = chain(
        helper.make_node("If", ["c"], ["y"], "choice", then_branch=body, else_branch=body)
    )
    network.graph.initializer.append(numpy_helper.from_array(np.array(True), "c"))
    with pytest.raises(ValueError, match="If choice: control flow"):
        to_half(network)


def test_what_onnx_calls_no_network_is_refused() -> None:
    """Two nodes of one result: types can be inferred, yet no runtime could execute it."""
    network = chain(
        helper.make_node("Gemm", ["x", "w"], ["a"]),
        helper.make_node("Gemm", ["x", "w"], ["a"]),
        helper.make_node("Gemm", ["a", "w"], ["y"]),
        w=np.eye(2),
    )
    with pytest.raises(onnx.checker.ValidationError):
        to_half(network)

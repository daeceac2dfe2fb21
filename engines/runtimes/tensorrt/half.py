"""Mixed precision is written into the network: half where it does no harm, single where it would.

TensorRT from version 11 on is always strongly typed: an engine computes in the types that its ONNX
file states. So the file is rewritten before it is compiled, and the very same file runs on ONNX
Runtime, which tells what the precision costs without a GPU.
"""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Layers with weights, where nearly all arithmetic is: in half precision.
LAYERS = frozenset({"Conv", "Gemm"})
#: Follow the precision of what they are given, so that no conversion stands between two layers.
FOLLOWERS = frozenset(
    {"Add", "Concat", "MaxPool", "Mul", "Pad", "Relu", "Reshape", "Sigmoid",
     "Slice", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze"}
)  # fmt: skip


def to_half(network: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with its layers in half precision; inputs and outputs stay float32.

    In float32 remain: the x-update (products of matrices that no training made, whose division by
    small singular values magnifies rounding), normalisation and logarithms (their range exceeds
    half precision's), and a layer that directly makes an output (positions of several px would be
    rounded to thousandths).

    Raises:
        ValueError: the network holds control flow, or types that cannot be inferred.
    """
    inferred = onnx.shape_inference.infer_shapes(network, strict_mode=True, data_prop=True)
    result = onnx.ModelProto()
    result.CopyFrom(network)
    del result.graph.node[:], result.graph.value_info[:]
    rewriter = _Rewriter(inferred, result)
    for node in network.graph.node:
        rewriter.add(node)
    rewriter.finish()
    onnx.checker.check_model(result, full_check=True)
    return result


class _Rewriter:
    """Copies nodes one by one, with conversions where the precision changes."""

    def __init__(self, inferred: onnx.ModelProto, result: onnx.ModelProto) -> None:
        self._graph = result.graph
        self._weights = {tensor.name: tensor for tensor in inferred.graph.initializer}
        self._float = _float_tensors(inferred)
        self._outputs = {output.name for output in inferred.graph.output}
        self._final = _layers_of_outputs(inferred, LAYERS)
        self._half: set[str] = set()
        self._made: set[str] = set()

    def add(self, node: onnx.NodeProto) -> None:
        if any(a.type in (a.GRAPH, a.GRAPHS) for a in node.attribute):
            raise ValueError(f"{node.op_type} {node.name}: control flow cannot be converted")
        half = self._in_half(node)
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for i, name in enumerate(node.input):
            if name in self._float:
                copy.input[i] = self._as_half(name) if half else self._as_single(name)
        if half:
            self._half.update(name for name in node.output if name in self._float)
            for i, name in enumerate(node.output):
                if name in self._outputs:
                    copy.output[i] = f"{name}/half"
        self._graph.node.append(copy)
        if half:
            for name in set(node.output) & self._outputs:
                self._convert(f"{name}/half", name, TensorProto.FLOAT)
                self._half.discard(name)

    def finish(self) -> None:
        """Drop weights of which only the half-precision copy is used."""
        used = {name for node in self._graph.node for name in node.input}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)

    def _in_half(self, node: onnx.NodeProto) -> bool:
        if node.op_type in LAYERS:
            return node.output[0] not in self._final
        if node.op_type not in FOLLOWERS:
            return False
        given = [n for n in node.input if n in self._float and n not in self._weights]
        return bool(given) and all(name in self._half for name in given)

    def _as_half(self, name: str) -> str:
        if name in self._half:
            return name
        copy = f"{name}/half"
        if copy not in self._made:
            self._made.add(copy)
            if name in self._weights:
                values = numpy_helper.to_array(self._weights[name])
                rounded = np.clip(values, *_HALF_RANGE).astype(np.float16)
                self._graph.initializer.append(numpy_helper.from_array(rounded, copy))
            else:
                self._convert(name, copy, TensorProto.FLOAT16)
        return copy

    def _as_single(self, name: str) -> str:
        if name not in self._half:
            return name
        copy = f"{name}/single"
        if copy not in self._made:
            self._made.add(copy)
            self._convert(name, copy, TensorProto.FLOAT)
        return copy

    def _convert(self, source: str, target: str, kind: int) -> None:
        self._graph.node.append(helper.make_node("Cast", [source], [target], target, to=kind))


_HALF_RANGE = (float(np.finfo(np.float16).min), float(np.finfo(np.float16).max))


def _float_tensors(inferred: onnx.ModelProto) -> set[str]:
    graph = inferred.graph
    values = [*graph.input, *graph.value_info, *graph.output]
    known = {v.name: v.type.tensor_type.elem_type for v in values}
    known |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    unknown = [name for node in graph.node for name in node.output if name and not known.get(name)]
    if unknown:
        raise ValueError(f"the type of {unknown[0]} cannot be inferred")
    return {name for name, kind in known.items() if kind == TensorProto.FLOAT}


def _layers_of_outputs(inferred: onnx.ModelProto, layers: Iterable[str]) -> set[str]:
    """Results of the layers behind which no other layer comes."""
    maker = {name: node for node in inferred.graph.node for name in node.output}
    waiting = [output.name for output in inferred.graph.output]
    seen, found = set(waiting), set()
    while waiting:
        node = maker.get(waiting.pop())
        if node is None:
            continue
        if node.op_type in layers:
            found.add(node.output[0])
            continue
        for name in node.input:
            if name not in seen:
                seen.add(name)
                waiting.append(name)
    return found

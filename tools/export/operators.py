"""How the exporter is to write functions that runtimes compute value by value.

ONNX Runtime has vectors for Exp and Log, and none for Softplus and Asinh. These forms err by some
units in the last place of 1, and overflow nowhere.
"""

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset20 as op

#: e^80 is a float still.
LARGEST_EXPONENT = 80.0


def softplus(value: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """max(v, ln(1 + e^v)); where the exponent is held, v is the greater. `beta` must be 1."""
    return op.Max(value, op.Log(op.Add(op.Exp(op.Min(value, LARGEST_EXPONENT)), 1.0)))


def asinh(value: Any) -> Any:
    """sign(v) ln(|v| + sqrt(v² + 1)); v² must be a float still."""
    root = op.Sqrt(op.Add(op.Mul(value, value), 1.0))
    return op.Mul(op.Sign(value), op.Log(op.Add(op.Abs(value), root)))


#: By the operators that they replace.
VECTORISED: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.softplus.default: softplus,
    torch.ops.aten.asinh.default: asinh,
}

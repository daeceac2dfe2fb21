"""By what runtimes and precisions are asked for; apart, so that reading it loads nothing."""

from typing import Literal

#: `auto`: the fastest that works.
RuntimeName = Literal["auto", "onnxruntime", "openvino", "tensorrt", "torch"]
Precision = Literal["fp16", "fp32"]

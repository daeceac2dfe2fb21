"""Crops in, targets out: imaging model, networks, runtimes and readouts."""

import os

# ONNX Runtime's official builds (1.29 and later, Linux too) report to their maker over the network
# what runs and which models are loaded. Read when its library is loaded, so set before that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

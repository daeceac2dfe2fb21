"""From a finished run to a model folder: ONNX, selection, calibration of sigmas and scores."""

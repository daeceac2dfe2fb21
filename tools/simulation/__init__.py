"""Crops with known truth, as tensors: the CSIST-100K protocol and the field protocol."""

"""Crops in, targets out: imaging model, networks, runtimes and readouts."""

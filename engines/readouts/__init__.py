"""Readouts turn a network's outputs into targets; they know no runtime."""

from engines.readouts.grid import read_grid

__all__ = ["read_grid"]

"""Readouts turn a network's outputs into targets; they know no runtime."""

from engines.readouts.grid import read_grid
from engines.readouts.gridless import read_gridless

__all__ = ["read_grid", "read_gridless"]

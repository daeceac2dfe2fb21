"""Readouts turn a network's outputs into targets; they know no runtime."""

from dscsnet.engines.readouts.grid import read_grid
from dscsnet.engines.readouts.gridless import read_gridless

__all__ = ["read_grid", "read_gridless"]

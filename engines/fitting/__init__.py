"""Least-squares fits of point targets to crops, compiled."""

from dscsnet.engines.fitting.refinement import Refined, RefineSettings, Slots, refine
from dscsnet.engines.fitting.selection import NO_SELECTION, Selection, selection_of

__all__ = [
    "NO_SELECTION",
    "RefineSettings",
    "Refined",
    "Selection",
    "Slots",
    "refine",
    "selection_of",
]

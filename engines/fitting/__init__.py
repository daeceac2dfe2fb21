"""Least-squares fits of point targets to crops, compiled."""

from engines.fitting.refine import Refined, RefineSettings, Slots, refine

__all__ = ["RefineSettings", "Refined", "Slots", "refine"]

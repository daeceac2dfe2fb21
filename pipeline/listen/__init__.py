"""Showing what a node publishes: statistics, lines, a live table, the loop."""

from dscsnet.pipeline.listen.display import Display, json_display, json_line, text_display
from dscsnet.pipeline.listen.live_table import LiveTable
from dscsnet.pipeline.listen.loop import run_listen
from dscsnet.pipeline.listen.statistics import Statistics

__all__ = [
    "Display",
    "LiveTable",
    "Statistics",
    "json_display",
    "json_line",
    "run_listen",
    "text_display",
]

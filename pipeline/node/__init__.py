"""The node: intake, outlet, and the wiring of all rooms."""

from dscsnet.pipeline.node.node import Node

__all__ = ["Node"]

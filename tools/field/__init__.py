"""The field benchmark: real frames, implanted clusters, the node's own chain, the report."""

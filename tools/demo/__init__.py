"""The demo: simulator, detector, node and listener as processes, scored against the truth."""

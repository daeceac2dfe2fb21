"""Long and hard trials of a running node: peers that fail, overload, and hours of work."""

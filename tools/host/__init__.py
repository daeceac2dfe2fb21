"""This machine and its processes: children that stand and fall together, what the kernel says."""

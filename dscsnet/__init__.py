"""Unmixes closely spaced infrared point targets, in a streaming node or in a program of yours."""

"""Frames from files: image folders, TIFF, arrays, videos and recordings, as one iterator."""

from dscsnet.pipeline.sources.source import IMAGE_SUFFIXES, Source, SourceFrame, open_source

__all__ = ["IMAGE_SUFFIXES", "Source", "SourceFrame", "open_source"]

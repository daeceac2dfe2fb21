"""Pixels of pictures (OpenCV) and the style of figures (matplotlib); knows nothing of targets."""

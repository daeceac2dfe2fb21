"""One training run: configuration, objectives, trainer, checkpoint, curves."""

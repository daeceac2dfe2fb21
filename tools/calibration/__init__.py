"""Measures a sensor's PSF, gain and noise from a recording; `calibration.calibrate` composes it."""

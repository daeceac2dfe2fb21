"""The robustness battery: what a sensor may give beyond the field benchmark, drawn on its own."""

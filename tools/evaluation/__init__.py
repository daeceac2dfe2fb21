"""A model, or many, measured on simulated crops; what half precision costs."""
